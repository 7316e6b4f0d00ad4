import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Binding } from './binding.ts'
import { bindingKey, mergeBindings } from './merge.ts'
import { lastEnd, type RedisStates } from './redis-states.ts'
import type { Table } from './table.ts'

/** Addresses whose state here is not in Redis yet. */
export interface WriteBack {
  has(aor: string): boolean
  size(): number
  /** Saves in memory only, for now; it is in Redis when `settled`. Refuses 'store-unavailable' when too many wait. */
  save(aor: string, bindings: readonly Binding[]): void
  /** The state here and the one in Redis came about apart from each other: join them. */
  add(aor: string): void
  /** Writes all that waits, joined with what others have written meanwhile; gives up while Redis is away. */
  run(): Promise<void>
}

export interface WriteBackDeps {
  table: Table
  states: RedisStates
  log: Logger
  now(): number
  most: number
  /** The last state of an address that Redis is known to have had. */
  stampOf(aor: string): number
  /** The address is in Redis again, with these bindings. */
  settled(aor: string, stamp: number, bindings: readonly Binding[]): void
}

interface Waiting {
  /** Bindings that were taken away here, and when. */
  gone: Map<string, number>
  /** When the last of those ends. */
  endsAt: number
  /** The last state that Redis is known to have had. */
  base: { stamp: number; bindings: readonly Binding[] }
}

const atOnce = 64
// Another node may write the same address in between; so often in a row only if something is wrong.
const mostTries = 20
const mostGone = 32

export function createWriteBack(deps: WriteBackDeps): WriteBack {
  const { table, states, log, now, most, stampOf, settled } = deps
  const waiting = new Map<string, Waiting>()
  let running: Promise<void> | undefined

  function add(aor: string): Waiting {
    const known = waiting.get(aor)
    if (known !== undefined) return known
    const base = { stamp: stampOf(aor), bindings: table.get(aor)?.bindings ?? [] }
    const entry = { gone: new Map<string, number>(), endsAt: 0, base }
    waiting.set(aor, entry)
    return entry
  }

  async function settle(aor: string): Promise<void> {
    for (let tries = 0; tries < mostTries; tries++) {
      const entry = waiting.get(aor)
      if (entry === undefined) return
      const here = table.get(aor)
      const there = await states.read(aor)
      const { base, gone } = entry
      // Others have gone on from the state that we knew, so what they miss they have taken away.
      const continued = base.stamp > 0 && there.stamp > base.stamp && there.parent >= base.stamp
      const common = continued ? base.bindings : []
      const merged = mergeBindings(here?.bindings ?? [], there.bindings, gone, common, now())
      const same = there.stamp > 0 && JSON.stringify(merged) === JSON.stringify(there.bindings)
      const stamp = Math.max(there.stamp, stampOf(aor))
      const outcome = same ? { saved: there.stamp } : await states.save(aor, stamp, merged, entry.endsAt)
      if (!('saved' in outcome) || table.get(aor) !== here) continue
      waiting.delete(aor)
      settled(aor, outcome.saved, merged)
      return
    }
    throw new Error('bindings change too fast to be written back')
  }

  async function settleAll(): Promise<void> {
    while (waiting.size > 0) {
      const aors: string[] = []
      for (const aor of waiting.keys()) if (aors.push(aor) === atOnce) break
      const results = await Promise.allSettled(aors.map(settle))
      for (const [at, result] of results.entries()) {
        if (result.status === 'fulfilled') continue
        if (result.reason instanceof Refusal) return
        // A bug in one address must not hold up the others.
        log.error({ err: result.reason, aor: aors[at] }, 'a registration could not be written back')
        waiting.delete(aors[at]!)
      }
    }
  }

  return {
    has: aor => waiting.has(aor),
    size: () => waiting.size,
    save(aor, bindings) {
      if (waiting.size >= most && !waiting.has(aor)) {
        throw new Refusal('store-unavailable', 'Too many registrations wait for Redis', {
          headers: { 'Retry-After': '30' },
        })
      }
      const entry = add(aor)
      const before = table.get(aor)
      const kept = new Set(bindings.map(bindingKey))
      for (const key of kept) entry.gone.delete(key)
      for (const binding of before?.bindings ?? []) {
        const key = bindingKey(binding)
        if (!kept.has(key) && entry.gone.size < mostGone) entry.gone.set(key, now())
      }
      entry.endsAt = Math.max(entry.endsAt, lastEnd(before?.bindings ?? []))
      table.put(aor, bindings, before?.stamp)
    },
    add: aor => void add(aor),
    run() {
      running ??= settleAll().finally(() => {
        running = undefined
      })
      return running
    },
  }
}
