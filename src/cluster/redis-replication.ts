import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import { createKeptStore, ended, nameOf, nobody, renewMs } from './kept-store.ts'
import type { Members } from './members.ts'
import type { Kept, Replication, Strategy } from './replication.ts'
import { createTakeover } from './takeover.ts'

export interface RedisReplicationDeps {
  strategy: Exclude<Strategy, 'none'>
  redis: RedisLink
  config: { prefix: string; timeoutMs: number; leaseMs: number }
  members: Pick<Members, 'life' | 'self' | 'find' | 'holdsLease' | 'onReturn'>
  log: Logger
  /** Milliseconds of a clock that only grows. */
  clock?(): number
}

export interface ReplicationStats {
  held: number
  /** Whose newest state Redis does not have yet. */
  waiting: number
  /** Writes that were refused because another node had taken over. */
  refused: number
  taken: number
}

export interface RedisReplication extends Replication {
  stats(): ReplicationStats
  /** Takes away what a crash between two writes has left; for the leader. */
  sweep(signal: AbortSignal): Promise<void>
}

/** One that is ours. */
interface Held {
  readonly name: string
  strategy: Strategy
  newest: Kept
  /** What Redis has. */
  stored?: Kept
  fence: number
  writing?: Promise<void> | undefined
  /** Whether it is still ours is being asked after a pause. */
  asking: boolean
  ending: boolean
  /** Whoever ended it knows that it was ours. */
  told?: boolean
  renewedAt: number
}

// A lazy one is written so long after its change: what changes again in that time is written once.
const lazyMs = 100
const retryMs = 1000
// Commands on their way at once, when all that is held is gone through.
const width = 250
const mostLost = 10_000
const mostLength = 65_536

/**
 * Keeps calls and meetings in Redis. A newer owner's fence is greater, and Redis refuses a write with an older one, so
 * that an owner which was away too long learns that it is none any more.
 */
export function createRedisReplication(deps: RedisReplicationDeps): RedisReplication {
  const { redis, config, members, log } = deps
  const clock = deps.clock ?? (() => performance.now())
  const { life } = members
  const store = createKeptStore(redis, config.prefix)
  const held = new Map<string, Held>()
  const waiting = new Set<Held>()
  const lost = new Set<string>()
  const listeners = new Set<(kind: Kept['kind'], id: string, owner: string) => void>()
  let asked = Promise.resolve()
  let later: NodeJS.Timeout | undefined
  let refused = 0
  let taken = 0
  let closed = false

  const takeover = createTakeover({
    store,
    members,
    strategy: deps.strategy,
    leaseMs: config.leaseMs,
    clock,
    owns: name => held.has(name),
    storeIsBack,
    own(kept, fence, strategy) {
      const name = nameOf(kept.kind, kept.id)
      lost.delete(name)
      held.set(name, { ...fresh(kept, strategy), stored: kept, fence })
      taken++
    },
  })
  const stops = [
    members.onReturn(() => {
      for (const one of held.values()) one.asking = true
      askAnew()
    }),
    redis.onChange(healthy => {
      if (healthy) askAnew()
    }),
  ]
  const renewal = setInterval(() => void whileStoreAnswers(renewOld), renewMs / 20)
  renewal.unref()

  function hold(kept: Kept, strategy: Strategy): Held {
    const name = nameOf(kept.kind, kept.id)
    const one = held.get(name)
    if (one !== undefined) return one
    const begun = fresh(kept, strategy)
    held.set(name, begun)
    return begun
  }

  function fresh(kept: Kept, strategy: Strategy): Held {
    const name = nameOf(kept.kind, kept.id)
    return { name, strategy, newest: kept, fence: 1, asking: false, ending: false, renewedAt: clock() }
  }

  function lose(one: Held, owner: string): void {
    if (held.get(one.name) !== one) return
    forget(one)
    note(one.name)
    refused++
    log.warn({ name: one.name, owner }, 'what was ours is owned by another node')
    for (const listener of [...listeners]) listener(one.newest.kind, one.newest.id, owner)
  }

  /** Remembers that it is not ours any more. */
  function note(name: string): void {
    lost.add(name)
    if (lost.size > mostLost) lost.delete(lost.values().next().value!)
  }

  function forget(one: Held): void {
    held.delete(one.name)
    waiting.delete(one)
  }

  /** Writes until Redis has the newest state. What cannot be written waits. Never rejects. */
  function write(one: Held): Promise<void> {
    one.writing ??= writeNewest(one).finally(() => {
      one.writing = undefined
    })
    return one.writing
  }

  async function writeNewest(one: Held): Promise<void> {
    waiting.add(one)
    const written = await whileStoreAnswers(async () => {
      while (one.newest !== one.stored && !one.asking && !one.ending && held.get(one.name) === one) await writeOnce(one)
    })
    if (!written) retryLater()
    else if (one.newest === one.stored) waiting.delete(one)
  }

  async function writeOnce(one: Held): Promise<void> {
    const { newest, stored } = one
    const known = new Set(stored?.dialogs)
    const added = newest.dialogs.filter(dialog => !known.delete(dialog))
    const owned = stored === undefined && one.strategy === 'hot-standby'
    const owner = await store.write(one.name, life, one.fence, newest, { added, removed: [...known], owned })
    if (owner !== '') return void (await stillOurs(one, owner))
    one.stored = newest
    one.renewedAt = clock()
  }

  /** Redis knows another fence than ours. It is ours all the same when only an answer of Redis has not come through. */
  async function stillOurs(one: Held, owner: string): Promise<boolean> {
    const seen = owner === life || owner === nobody ? await store.see(one.name) : undefined
    if (seen?.owner === life) one.fence = seen.fence
    else if (seen?.owner === nobody && (await store.pass(seen, life)) !== undefined) one.fence = seen.fence + 1
    else lose(one, seen?.owner ?? owner)
    return held.get(one.name) === one
  }

  function retryLater(ms = retryMs): void {
    if (later !== undefined || closed) return
    later = setTimeout(() => {
      later = undefined
      void eachOf([...waiting], finishOrWrite)
    }, ms)
    later.unref()
  }

  const finishOrWrite = (one: Held) => (one.ending ? finish(one) : write(one))

  /** After a pause, or when Redis was away: whose are they? One walk after the other. */
  function askAnew(): void {
    asked = asked.then(async () => {
      const done = await whileStoreAnswers(async () => {
        const wasFenced = await store.isFenced(life)
        await eachOf([...held.values()], one => askOwner(one, wasFenced))
        if (wasFenced) await store.clearFenced(life)
      })
      // Redis went again: when it is back, this is done once more.
      if (!done && !closed && redis.healthy()) setTimeout(askAnew, retryMs).unref()
    })
  }

  async function askOwner(one: Held, wasFenced: boolean): Promise<void> {
    if (one.ending) return void (await finish(one))
    if (one.stored !== undefined && held.get(one.name) === one) {
      const seen = await store.see(one.name)
      // Without a takeover nothing but Redis can have lost it.
      if (seen === undefined) {
        if (wasFenced) return lose(one, ended)
        delete one.stored
      } else if (seen.owner !== life) {
        if (!(await stillOurs(one, seen.owner))) return
      } else if (one.asking) {
        // A new fence: who has seen the old one before our lease was there again can take it no more.
        if ((await store.pass(seen, life)) === undefined) return askOwner(one, wasFenced)
        one.fence = seen.fence + 1
      }
    }
    one.asking = false
    if (one.newest !== one.stored) await write(one)
  }

  async function renewOld(): Promise<void> {
    const old = clock() - renewMs
    await eachOf(
      [...held.values()].filter(one => one.stored !== undefined && one.renewedAt < old),
      async one => {
        one.renewedAt = clock()
        if (await store.renew(one.name, one.newest.dialogs)) return
        delete one.stored
        await write(one)
      },
    )
    await store.renewOwned(life)
  }

  async function sure(kind: Kept['kind'], id: string): Promise<boolean> {
    const name = nameOf(kind, id)
    const one = held.get(name)
    if (one === undefined || closed) return !lost.has(name)
    if (members.holdsLease() && !one.asking) return true
    await new Promise<void>(resolve => {
      const look = setInterval(() => {
        if (closed || held.get(name) !== one || (members.holdsLease() && !one.asking)) {
          clearInterval(look)
          resolve()
        }
      }, 5)
    })
    return held.get(name) === one && !closed
  }

  /** Leaves a tombstone. True when it was ours; while Redis is away our lease says so, and the tombstone is left later. */
  async function finish(one: Held): Promise<boolean> {
    let ours = true
    const answered = await whileStoreAnswers(async () => {
      const end = () => store.end(one.name, life, one.fence, one.newest.dialogs)
      const owner = await end()
      // Told as ended already, it may have been ended by what was not answered.
      if (owner === '' || one.told) return
      ours = await stillOurs(one, owner)
      if (ours) await end()
    })
    one.told = true
    if (!answered) retryLater()
    else if (ours) forget(one)
    return ours
  }

  /** Stops further writes; true while it is ours. */
  async function settle(kind: Kept['kind'], id: string): Promise<Held | undefined> {
    const one = held.get(nameOf(kind, id))
    if (one === undefined || one.ending || !(await sure(kind, id))) return undefined
    one.ending = true
    await one.writing
    return held.get(one.name) === one ? one : undefined
  }

  async function release(kind: Kept['kind'], id: string): Promise<boolean> {
    const one = held.get(nameOf(kind, id))
    if (one === undefined || !(await sure(kind, id))) return false
    await write(one)
    if (one.newest !== one.stored || one.ending || held.get(one.name) !== one) return false
    one.ending = true
    const given = await whileStoreAnswers(async () => {
      if ((await store.pass({ name: one.name, owner: life, fence: one.fence }, nobody)) === undefined) return
      forget(one)
      note(one.name)
      await store.removeOwned(life, [one.name])
    })
    one.ending = false
    return given && held.get(one.name) !== one
  }

  /** Resolves with true when Redis answers, now or later; with false when this node stops. */
  function storeIsBack(): Promise<boolean> {
    return new Promise(resolve => {
      const look = setInterval(() => {
        if (!closed && !redis.healthy()) return
        clearInterval(look)
        resolve(!closed)
      }, 50)
      look.unref()
    })
  }

  /** Runs commands; false when Redis did not answer. What else goes wrong is a bug, and is logged as one. */
  async function whileStoreAnswers(commands: () => Promise<unknown>): Promise<boolean> {
    try {
      await commands()
      return true
    } catch (error) {
      if (!(error instanceof Refusal)) log.error({ err: error }, 'failed to keep calls in Redis')
      return false
    }
  }

  return {
    strategy: deps.strategy,
    async save(kept, { must = false, strategy = deps.strategy } = {}) {
      if (strategy === 'none' || closed) return
      if (lost.has(nameOf(kept.kind, kept.id))) return
      if (kept.snapshot.length > mostLength) {
        log.error({ kind: kept.kind, id: kept.id, length: kept.snapshot.length }, 'too large to be kept')
        return
      }
      const one = hold(kept, strategy)
      one.newest = kept
      if (one.ending) return
      if (one.strategy === 'lazy') {
        waiting.add(one)
        retryLater(lazyMs)
        return
      }
      const written = write(one)
      if (must) await atMost(config.timeoutMs, written)
    },
    async end(kind, id) {
      const name = nameOf(kind, id)
      if (!held.has(name)) return !lost.has(name)
      const one = await settle(kind, id)
      if (one === undefined) return false
      waiting.add(one)
      return finish(one)
    },
    owns(kind, id) {
      const name = nameOf(kind, id)
      const one = held.get(name)
      return one === undefined ? !lost.has(name) : !one.asking && members.holdsLease()
    },
    sure,
    release,
    takeOver: takeover.takeOver,
    adopt: takeover.adopt,
    sweep: takeover.sweep,
    onLost(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    healthy: () => redis.healthy(),
    stats: () => ({ held: held.size, waiting: waiting.size, refused, taken }),
    async close() {
      if (closed) return
      // What a stopping node has not written yet is tried once more; the rest waits for nobody.
      await atMost(config.timeoutMs, eachOf([...waiting], finishOrWrite))
      closed = true
      clearTimeout(later)
      clearInterval(renewal)
      for (const stop of stops) stop()
    },
  }
}

/** Does `work` for each, so many at once as Redis has answered before it is asked for more. */
async function eachOf<T>(all: readonly T[], work: (one: T) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < all.length; at += width) await Promise.all(all.slice(at, at + width).map(work))
}

async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<void>(resolve => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([work, limit])
  clearTimeout(timer)
}
