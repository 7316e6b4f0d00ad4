import { Refusal } from '../errors.ts'
import { createIsDead } from './dead.ts'
import { ended, type KeptStore, nobody, type Seen } from './kept-store.ts'
import type { Members } from './members.ts'
import type { Kept, Replication, Strategy, Taken } from './replication.ts'

export interface TakeoverDeps {
  store: KeptStore
  members: Pick<Members, 'life' | 'self' | 'find'>
  strategy: Strategy
  leaseMs: number
  clock(): number
  owns(name: string): boolean
  /** Waits until Redis answers; false when this node stops. */
  storeIsBack(): Promise<boolean>
  /** From now on it is ours. */
  own(kept: Kept, fence: number, strategy: Strategy): void
}

// So many are taken at once.
const width = 250

/** How things go from a dead life to this one. The order of reading and writing is what makes it safe; see `takePage`. */
export function createTakeover(deps: TakeoverDeps) {
  const { store, members, strategy, leaseMs, clock } = deps
  const { life } = members
  const isDead = createIsDead({ store, members, leaseMs, clock })
  const taking = new Set<string>()

  async function take(seen: Seen, how: Strategy): Promise<Taken | undefined> {
    if (taking.has(seen.name)) return undefined
    taking.add(seen.name)
    try {
      const kept = await store.pass(seen, life)
      if (kept === undefined) return undefined
      const fence = seen.fence + 1
      deps.own(kept, fence, how)
      return { ...kept, fence, from: seen.owner }
    } finally {
      taking.delete(seen.name)
    }
  }

  /** Redis has given it to us, and its answer has not come through. */
  const isForgotten = ({ name, owner }: Seen) => owner === life && !deps.owns(name) && !taking.has(name)

  // The fences are seen first, and only then whether there is a lease. An owner that comes back renews its lease first
  // and then all its fences: either we see the lease, or it fails, or the taking does, because the fence has changed.
  async function takePage(names: string[], owner: string): Promise<Taken[]> {
    const all = await Promise.all(names.map(store.see))
    const seen = all.filter(one => one !== undefined && (one.owner === owner || isForgotten(one))) as Seen[]
    if (!(await isDead(owner))) return []
    let ours: (Taken | undefined)[] = []
    if (seen.length > 0) {
      await store.setFenced(owner)
      // Before the taking: should we die in between, the next one finds them by our name.
      const theirNames = seen.map(one => one.name)
      await store.addOwned(life, theirNames)
      ours = await Promise.all(seen.map(one => take(one, 'hot-standby')))
      await store.removeOwned(
        life,
        theirNames.filter(name => !deps.owns(name)),
      )
    }
    // Whatever the dead one had is somebody's by now.
    await store.removeOwned(owner, names)
    return ours.filter(one => one !== undefined)
  }

  /** Goes on when Redis is back: a node may die together with the Redis that it used. */
  async function* adopt(owner: string, kind: Kept['kind']): AsyncIterable<Taken> {
    for (;;) {
      try {
        return yield* adoptAll(owner, kind)
      } catch (error) {
        if (!(error instanceof Refusal) || !(await deps.storeIsBack())) throw error
      }
    }
  }

  async function* adoptAll(owner: string, kind: Kept['kind']): AsyncGenerator<Taken, void> {
    if (!(await isDead(owner))) return
    for await (const page of store.owned(owner)) {
      const names = page.filter(name => name.startsWith(`${kind}:`))
      for (let at = 0; at < names.length; at += width) yield* await takePage(names.slice(at, at + width), owner)
    }
  }

  const takeOver: Replication['takeOver'] = async dialog => {
    const name = await store.find(dialog)
    const seen = name === null ? undefined : await store.see(name)
    if (seen === undefined || seen.owner === ended) return undefined
    if (!isForgotten(seen) && !(await isDead(seen.owner))) return { owner: seen.owner }
    if (seen.owner !== nobody && seen.owner !== life) await store.setFenced(seen.owner)
    if (strategy === 'hot-standby') await store.addOwned(life, [seen.name])
    const ours = await take(seen, strategy)
    if (ours !== undefined) {
      if (seen.owner !== nobody && seen.owner !== life) await store.removeOwned(seen.owner, [seen.name])
      return ours
    }
    const now = await store.see(seen.name)
    return now === undefined || now.owner === ended ? undefined : { owner: now.owner }
  }

  /** Takes away what a crash between two writes has left: names in the set of a dead life that others own. */
  async function sweep(signal: AbortSignal): Promise<void> {
    for await (const owner of store.owners()) {
      if (signal.aborted) return
      if (!(await isDead(owner))) continue
      for await (const page of store.owned(owner)) {
        if (signal.aborted) return
        const seen = await Promise.all(page.map(store.see))
        await store.removeOwned(
          owner,
          page.filter((_, n) => seen[n]?.owner !== owner),
        )
      }
    }
  }

  return { takeOver, adopt, sweep }
}
