import { setImmediate } from 'node:timers/promises'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import type { Binding } from './binding.ts'
import { createRedisStates, lastEnd, type SharedState } from './redis-states.ts'
import type { LocationStore } from './store.ts'
import { createTable } from './table.ts'
import { createWriteBack } from './write-back.ts'

export interface SharedStoreDeps {
  link: RedisLink
  /** Prefix of all Redis keys. */
  prefix: string
  /** Name of this process, unlike that of any other. */
  life: string
  log: Logger
  now(): number
  /** How many addresses may wait for a Redis that is away. */
  mostWaiting?: number
  /** How often memory is compared with Redis without a reason: a Cluster may lose what it tells, in ms. */
  compareMs?: number
}

/** The store of a node that shares registrations with others. */
export type SharedStore = Required<LocationStore>

const pageSize = 200
const retryMs = 1000
// So many addresses without bindings are remembered, longer than an answer of Redis can be late.
const mostGone = 10_000

/**
 * The store that nodes share. All registrations are in memory on every node and Redis is the truth: what is read comes
 * from memory, and what is saved goes to Redis if nobody has saved in between, in one step and one round trip; others
 * follow what is published. While Redis is away the node goes on in memory, and what has changed is joined with what
 * other nodes have written as soon as Redis is back.
 */
export function createSharedStore(deps: SharedStoreDeps): SharedStore {
  const { link, prefix, life, log, now, mostWaiting = 100_000, compareMs = 600_000 } = deps
  const table = createTable(now)
  const states = createRedisStates(link, prefix, life)
  const listeners = new Set<(aor: string, bindings: readonly Binding[]) => void>()
  /** The last state of addresses that are gone, since a late answer may still speak of an earlier one. */
  const gone = new Map<string, number>()
  let complete = false
  /** Who wants all registrations before the first catching up is done. */
  const patient = new Set<PromiseWithResolvers<void>>()
  let catching = 0
  /** Redis went while memory was compared with it. */
  let behind = false
  let closed = false
  let retry: NodeJS.Timeout | undefined

  const stampOf = (aor: string) => table.get(aor)?.stamp ?? gone.get(aor) ?? 0
  const waiting = createWriteBack({ table, states, log, now, most: mostWaiting, stampOf, settled: take })
  const stopListening = states.listen(learn, () => void catchUp())
  const comparing = setInterval(() => {
    if (link.healthy()) void catchUp()
  }, compareMs)
  comparing.unref()
  const stopWatching = link.onChange(healthy => {
    if (healthy && behind) void catchUp()
    else if (healthy) writeBack()
    if (healthy) return
    for (const { reject } of patient) reject(new Refusal('store-unavailable', link.why()))
    patient.clear()
  })

  /** What is left when Redis refuses for a moment is tried again; when Redis comes back, it is tried anyway. */
  function writeBack(): void {
    void waiting.run().then(() => {
      if (closed || retry !== undefined || waiting.size() === 0 || !link.healthy()) return
      retry = setTimeout(() => {
        retry = undefined
        writeBack()
      }, retryMs)
      retry.unref()
    })
  }

  /** From now on this is the state of that address. */
  function take(aor: string, stamp: number, bindings: readonly Binding[]): void {
    table.put(aor, bindings, stamp, catching)
    gone.delete(aor)
    if (bindings.length === 0) remember(aor, stamp)
    tell(aor)
  }

  function remember(aor: string, stamp: number): void {
    gone.set(aor, stamp)
    if (gone.size > mostGone) gone.delete(gone.keys().next().value!)
  }

  function tell(aor: string): void {
    const bindings = table.get(aor)?.bindings ?? []
    for (const listener of listeners) listener(aor, bindings)
  }

  function saveHere(aor: string, bindings: readonly Binding[]): true {
    const stamp = stampOf(aor)
    waiting.save(aor, bindings)
    if (bindings.length === 0) remember(aor, stamp)
    tell(aor)
    if (link.healthy()) writeBack()
    return true
  }

  function learn(state: SharedState): void {
    const { aor, stamp, parent, bindings } = state
    // What waits is joined with whatever is in Redis when its turn comes.
    const known = stampOf(aor)
    if (stamp <= known || waiting.has(aor)) return
    // Written by one who did not know what we know: Redis had lost it.
    if (parent < known && table.get(aor) !== undefined) {
      waiting.add(aor)
      writeBack()
    } else take(aor, stamp, bindings)
  }

  /** Compares memory with Redis, page by page. What Redis has lost is written again. */
  async function catchUp(): Promise<void> {
    const turn = ++catching
    behind = false
    const began = performance.now()
    try {
      await waiting.run()
      for await (const page of states.walk(pageSize)) {
        // The subscription was lost and is back: that walk sees more.
        if (turn !== catching || closed) return
        for (const state of page) {
          learn(state)
          const here = table.get(state.aor)
          if (here === undefined) continue
          here.round = turn
          if (state.stamp < here.stamp) await restore(state.aor)
        }
      }
      // What was not met was there before this walk, or it would bear its number.
      let looked = 0
      for (const aor of table.aors()) {
        if (turn !== catching || closed) return
        if (table.get(aor)!.round !== turn) await restore(aor)
        if (++looked % pageSize === 0) await setImmediate()
      }
      await waiting.run()
      writeBack()
    } catch (error) {
      behind = turn === catching
      if (!(error instanceof Refusal)) log.error({ err: error }, 'reading registrations from Redis failed')
      return
    }
    complete = true
    for (const { resolve } of patient) resolve()
    patient.clear()
    log.debug({ addresses: table.count(), ms: Math.round(performance.now() - began) }, 'registrations caught up')
  }

  async function restore(aor: string): Promise<void> {
    const live = table.load(aor).bindings.length > 0
    if (!live) {
      if (!waiting.has(aor)) take(aor, stampOf(aor), [])
      return
    }
    waiting.add(aor)
    if (waiting.size() >= pageSize) await waiting.run()
  }

  async function loadThere(aor: string) {
    try {
      learn(await states.read(aor))
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
    }
    return table.load(aor)
  }

  async function saveThere(aor: string, version: number, bindings: readonly Binding[]): Promise<boolean> {
    try {
      const before = table.get(aor)
      const outcome = await states.save(aor, before?.stamp ?? 0, bindings, lastEnd(before?.bindings ?? []))
      if ('saved' in outcome) {
        if (outcome.saved > stampOf(aor) && !waiting.has(aor)) take(aor, outcome.saved, bindings)
        return true
      }
      // This is what Redis has now, whatever it had before.
      if (table.get(aor) === undefined) gone.delete(aor)
      learn(outcome.found)
      return false
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      // Redis has gone meanwhile; it may even have saved this. The next state that both know settles it.
      if ((table.get(aor)?.id ?? 0) !== version) return false
      return saveHere(aor, bindings)
    }
  }

  return {
    load: aor => (complete || !link.healthy() ? table.load(aor) : loadThere(aor)),
    save(aor, version, bindings) {
      if ((table.get(aor)?.id ?? 0) !== version) return false
      if (link.healthy() && !waiting.has(aor)) return saveThere(aor, version, bindings)
      return saveHere(aor, bindings)
    },
    async list(cursor, limit) {
      if (!complete) {
        if (!link.healthy()) throw new Refusal('store-unavailable', link.why())
        const wish = Promise.withResolvers<void>()
        patient.add(wish)
        await wish.promise
      }
      return table.list(cursor, limit)
    },
    count: table.size,
    healthy: () => complete && link.healthy(),
    why: () => link.why() || (complete ? '' : 'not all registrations of other nodes have been read yet'),
    onChanged(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    figures: () => ({ healthy: link.healthy(), replica: table.size(), waiting: waiting.size() }),
    async close() {
      if (closed) return
      closed = true
      clearTimeout(retry)
      clearInterval(comparing)
      stopWatching()
      const stop = await stopListening
      stop()
      if (link.healthy()) await waiting.run()
    },
  }
}
