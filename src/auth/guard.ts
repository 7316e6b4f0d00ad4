import type { Events } from '../events.ts'

export interface Guard {
  banned(source: string): boolean
  /** True when this user, or anybody when none is named, has proved himself from this address and has not failed since. */
  knows(source: string, user?: string): boolean
  /** Counts a wrong answer and bans the address when there were too many. */
  failed(source: string, user?: string): void
  /** Remembers that this user has proved himself from this address. */
  proved(source: string, user: string): void
}

interface Entry {
  count: number
  since: number
  bannedUntil: number
  /** Who has proved himself from here, with the wrong answers under that name since. */
  known: Map<string, number>
}

/**
 * Counts wrong answers per source address. A right answer takes nothing off the count: whoever has one account could
 * otherwise guess at the others for ever. A ban does not touch those who proved themselves from that address before: one
 * phone with a wrong password must not silence a whole family behind one NAT. Who then guesses under a known name
 * has as many tries as led to the ban.
 */
export function createGuard(deps: {
  config: { readonly failures: number; readonly failureSeconds: number; readonly banSeconds: number }
  events: Events
  now: () => number
  most?: number
}): Guard {
  const { config, events, now, most = 10_000 } = deps
  const entries = new Map<string, Entry>()

  function entryOf(source: string): Entry {
    const key = keyOf(source)
    const entry = entries.get(key) ?? { count: 0, since: now(), bannedUntil: 0, known: new Map() }
    // The one seen last stands at the end; when the table is full, the one quiet for longest goes.
    entries.delete(key)
    entries.set(key, entry)
    if (entries.size > most) entries.delete(entries.keys().next().value ?? '')
    return entry
  }

  return {
    banned(source) {
      const entry = entries.size === 0 ? undefined : entries.get(keyOf(source))
      return entry !== undefined && entry.bannedUntil > now()
    },
    knows(source, user) {
      const known = entries.get(keyOf(source))?.known
      return known !== undefined && (user === undefined ? known.size > 0 : known.has(user))
    },
    proved(source, user) {
      const present = entries.get(keyOf(source))?.known
      if (present?.get(user) === 0) return
      const { known } = entryOf(source)
      known.set(user, 0)
      if (known.size > mostKnown) known.delete(known.keys().next().value ?? '')
    },
    failed(source, user = '') {
      const time = now()
      const entry = entryOf(source)
      if (time - entry.since >= config.failureSeconds * 1000) {
        entry.count = 0
        entry.since = time
      }
      entry.count++
      const tries = entry.known.get(user)
      if (tries !== undefined && tries + 1 >= config.failures) entry.known.delete(user)
      else if (tries !== undefined) entry.known.set(user, tries + 1)
      if (entry.count >= config.failures && entry.bannedUntil <= time) {
        entry.bannedUntil = time + config.banSeconds * 1000
        entry.count = 0
        events.emit('banned', { source, seconds: config.banSeconds })
      }
    },
  }
}

// As many people as may share one address.
const mostKnown = 1000

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
