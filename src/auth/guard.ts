import type { Events } from '../events.ts'

export interface Guard {
  banned(source: string): boolean
  /** Counts a wrong answer and bans the address when there were too many. */
  failed(source: string): void
}

interface Entry {
  count: number
  since: number
  bannedUntil: number
}

/**
 * Counts wrong answers per source address. A right answer takes nothing off the count: whoever has one account could
 * otherwise guess at the others for ever. Phones behind one NAT are forgiven as the window passes.
 */
export function createGuard(deps: {
  config: { readonly failures: number; readonly failureSeconds: number; readonly banSeconds: number }
  events: Events
  now: () => number
  most?: number
}): Guard {
  const { config, events, now, most = 10_000 } = deps
  const entries = new Map<string, Entry>()
  return {
    banned(source) {
      const entry = entries.size === 0 ? undefined : entries.get(keyOf(source))
      return entry !== undefined && entry.bannedUntil > now()
    },
    failed(source) {
      const key = keyOf(source)
      const time = now()
      let entry = entries.get(key)
      if (!entry || time - entry.since >= config.failureSeconds * 1000) {
        entry = { count: 0, since: time, bannedUntil: entry?.bannedUntil ?? 0 }
      }
      entry.count++
      if (entry.count >= config.failures && entry.bannedUntil <= time) {
        entry.bannedUntil = time + config.banSeconds * 1000
        entry.count = 0
        events.emit('banned', { source, seconds: config.banSeconds })
      }
      // The one that failed last stands at the end; when the table is full, the one quiet for longest goes.
      entries.delete(key)
      entries.set(key, entry)
      if (entries.size > most) entries.delete(entries.keys().next().value ?? '')
    },
  }
}

// A host has a whole IPv6 /64 to choose addresses from, so that is what is counted.
function keyOf(source: string): string {
  if (!source.includes(':') || source.includes('.')) return source.slice(source.lastIndexOf(':') + 1)
  const [head = '', tail] = source.split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const behind = tail === '' ? 0 : tail.split(':').length
    while (groups.length + behind < 8) groups.push('0')
  }
  return groups.slice(0, 4).join(':')
}
