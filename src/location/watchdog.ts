import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import { type Binding, isOutbound } from './binding.ts'
import type { Loaded, LocationStore } from './store.ts'

/** A location store that keeps itself clean. */
export interface Watchdog extends LocationStore {
  /** Watches what the store already holds, for example what the journal brought back; later, if it does not answer now. */
  start(): Promise<void>
  /**
   * The engine's flow is gone. Its bindings end at once; one of Outbound stays without a flow until its time runs out,
   * because the phone brings the same registration back over a new flow (RFC 5626 section 4.4).
   */
  flowClosed(flow: string): void
}

interface Watched {
  /** The second at which this address is looked at next. */
  due: number
  /** Flows of this node that its bindings use. */
  flows: readonly string[]
}

export interface WatchdogDeps {
  store: LocationStore
  /** Name of this process; flows of other nodes mean nothing here. */
  node: string
  events: Events
  log: Logger
  now(): number
  /** True on the one node that ends what has expired; without a cluster always. */
  leader?(): boolean
  /** Tells of other nodes' processes that have died: their flows are gone. */
  onDeath?(listener: (dead: { life: string }) => void): () => void
  /** Tells how they are: one that was only cut off or asleep comes back, and phones register there as before. */
  onChange?(listener: (member: { life: string; state: string }) => void): () => void
  /** How long after a store failure an address is tried again, in ms. */
  retryMs?: number
}

const recentlyClosed = 4096
const mostDead = 1000
// How long one that does not lead waits before it looks whether the leader has cleaned up, and how often at most.
const leaderMs = 2000
const leaderTries = 15
const atOnce = 64
const noFlows: readonly string[] = []

/**
 * Puts a watch on a store. Addresses wait in slots of one second and one timer waits for the earliest slot, so the
 * work per registration is one look into a map, and a renewal moves nothing: the slot finds the later end and waits on.
 */
export function createWatchdog(deps: WatchdogDeps): Watchdog {
  const { store, node, events, log, now, retryMs = 5000 } = deps
  const leader = deps.leader ?? (() => true)
  const watched = new Map<string, Watched>()
  const slots = new Map<number, Set<string>>()
  const byFlow = new Map<string, Set<string>>()
  // A flow may close while a REGISTER that came over it is on its way to the store.
  const closedFlows = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let timerDue = Number.POSITIVE_INFINITY
  let startTimer: NodeJS.Timeout | undefined
  let deathTimer: NodeJS.Timeout | undefined
  let closed = false
  /** Processes that have died; what their flows were is known at once, and written down by the leader. */
  const dead = new Set<string>()
  const stopChanges = store.onChanged?.(watch)
  const stopDeaths = deps.onDeath?.(({ life }) => {
    dead.add(life)
    if (dead.size > mostDead) dead.delete(dead.values().next().value!)
    void writeDown(leaderTries)
  })
  const stopReturns = deps.onChange?.(({ life, state }) => {
    if (state !== 'down') dead.delete(life)
  })

  function arm(second: number): void {
    if (closed || second >= timerDue) return
    clearTimeout(timer)
    timerDue = second
    // setTimeout overflows after 24 days; waking early only means to sleep again.
    timer = setTimeout(wake, Math.min(Math.max(0, second * 1000 - now()), 2 ** 31 - 1))
    timer.unref()
  }

  function wake(): void {
    timerDue = Number.POSITIVE_INFINITY
    const present = now() / 1000
    const due: string[] = []
    let next = Number.POSITIVE_INFINITY
    for (const [second, aors] of slots) {
      if (second > present) next = Math.min(next, second)
      else {
        due.push(...aors)
        slots.delete(second)
      }
    }
    if (next < Number.POSITIVE_INFINITY) arm(next)
    for (const aor of due) {
      const entry = watched.get(aor)
      if (entry !== undefined) entry.due = Number.POSITIVE_INFINITY
      void sweep(aor)
    }
  }

  function wait(aor: string, entry: Watched, second: number): void {
    if (second >= entry.due) return
    slots.get(entry.due)?.delete(aor)
    entry.due = second
    const slot = slots.get(second)
    if (slot === undefined) slots.set(second, new Set([aor]))
    else slot.add(aor)
    arm(second)
  }

  /** Takes note of the new state of an address. */
  function watch(aor: string, bindings: readonly Binding[]): void {
    if (closed) return
    let entry = watched.get(aor)
    if (bindings.length === 0) {
      if (entry === undefined) return
      follow(aor, entry, noFlows)
      const slot = slots.get(entry.due)
      slot?.delete(aor)
      if (slot?.size === 0) slots.delete(entry.due)
      watched.delete(aor)
      return
    }
    if (entry === undefined) {
      entry = { due: Number.POSITIVE_INFINITY, flows: noFlows }
      watched.set(aor, entry)
    }
    let first = Number.POSITIVE_INFINITY
    for (const binding of bindings) first = Math.min(first, binding.expiresAt)
    wait(aor, entry, Math.ceil(first / 1000))
    const flows = flowsOf(bindings)
    follow(aor, entry, flows)
    if (closedFlows.size > 0 && flows.some(flow => closedFlows.has(flow))) void sweep(aor)
  }

  function flowsOf(bindings: readonly Binding[]): readonly string[] {
    const flows: string[] = []
    for (const binding of bindings) {
      // A UDP flow never closes, so it need not be found again.
      if (binding.protocol === 'udp' || binding.node !== node || binding.flow === '') continue
      if (!flows.includes(binding.flow)) flows.push(binding.flow)
    }
    return flows
  }

  function follow(aor: string, entry: Watched, flows: readonly string[]): void {
    const before = entry.flows
    if (before.length === 1 && flows.length === 1 && before[0] === flows[0]) return
    entry.flows = flows
    for (const flow of before) {
      if (flows.includes(flow)) continue
      const aors = byFlow.get(flow)
      aors?.delete(aor)
      if (aors?.size === 0) byFlow.delete(flow)
    }
    for (const flow of flows) {
      const aors = byFlow.get(flow)
      if (aors === undefined) byFlow.set(flow, new Set([aor]))
      else aors.add(aor)
    }
  }

  /** Drops what has ended from one address, and says so. Another one's change in between means: look again. */
  async function sweep(aor: string): Promise<void> {
    try {
      for (;;) {
        if (closed) return
        const loaded = await store.load(aor)
        const closedHere = (binding: Binding) => binding.node === node && closedFlows.has(binding.flow)
        const broken = (binding: Binding) => closedHere(binding) || isOrphan(binding)
        const lost = loaded.bindings.filter(binding => closedHere(binding) && !isOutbound(binding))
        const kept = loaded.bindings
          .filter(binding => !lost.includes(binding))
          .map(binding => (broken(binding) ? { ...binding, flow: '' } : binding))
        const changed = (loaded.expired.length > 0 && leader()) || loaded.bindings.some(broken)
        if (!changed && loaded.expired.length > 0) {
          // The leader ends them, and we hear of it; or we lead ourselves by then.
          const entry = watched.get(aor)
          if (entry !== undefined) wait(aor, entry, Math.ceil((now() + leaderMs) / 1000))
          return
        }
        if (changed && !(await store.save(aor, loaded.version, kept))) continue
        for (const { contact } of loaded.expired) events.emit('unregistered', { aor, contact, why: 'expired' })
        for (const { contact } of lost) events.emit('unregistered', { aor, contact, why: 'flow-closed' })
        watch(aor, kept)
        return
      }
    } catch (error) {
      // The store itself says that it fails; here it only means to come again. A bug must not stop the watch either.
      if (!(error instanceof Refusal)) log.error({ err: error }, 'looking after bindings failed')
      const entry = watched.get(aor)
      if (entry !== undefined && !closed) wait(aor, entry, Math.ceil((now() + retryMs) / 1000))
    }
  }

  /** A flow that is not known to be gone, but whose process is. */
  function isOrphan({ node, flow }: Binding): boolean {
    return flow !== '' && dead.has(node)
  }

  function withoutOrphans(loaded: Loaded): Loaded {
    if (dead.size === 0 || !loaded.bindings.some(isOrphan)) return loaded
    const bindings = loaded.bindings.map(binding => (isOrphan(binding) ? { ...binding, flow: '' } : binding))
    return { ...loaded, bindings }
  }

  /**
   * Takes the flows of the dead out of the store, for nodes that come later. One of those that live leads, or will soon:
   * the dead one may have been the leader.
   */
  async function writeDown(tries: number): Promise<void> {
    clearTimeout(deathTimer)
    if (closed || tries === 0) return
    const again = () => {
      deathTimer = setTimeout(() => void writeDown(tries - 1), leaderMs)
      deathTimer.unref()
    }
    if (!leader() || !store.healthy()) {
      again()
      return
    }
    try {
      let cursor: string | undefined
      do {
        const page = await store.list(cursor, 1000)
        const aors = [...new Set(page.bindings.filter(isOrphan).map(({ aor }) => aor))]
        for (let at = 0; at < aors.length; at += atOnce) await Promise.all(aors.slice(at, at + atOnce).map(sweep))
        cursor = page.cursor
      } while (cursor !== undefined && !closed)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      again()
    }
  }

  async function start(): Promise<void> {
    try {
      let cursor: string | undefined
      do {
        const page = await store.list(cursor, 1000)
        const aors = Map.groupBy(page.bindings, binding => binding.aor)
        for (const [aor, bindings] of aors) if (!watched.has(aor)) watch(aor, bindings)
        cursor = page.cursor
      } while (cursor !== undefined && !closed)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (closed) return
      startTimer = setTimeout(() => void start(), retryMs)
      startTimer.unref()
    }
  }

  return {
    load(aor) {
      const loaded = store.load(aor)
      return loaded instanceof Promise ? loaded.then(withoutOrphans) : withoutOrphans(loaded)
    },
    save(aor, version, bindings) {
      const saved = store.save(aor, version, bindings)
      // It tells us itself.
      if (stopChanges !== undefined) return saved
      if (saved === true) watch(aor, bindings)
      if (typeof saved === 'boolean') return saved
      return saved.then(done => {
        if (done) watch(aor, bindings)
        return done
      })
    },
    list: (cursor, limit) => store.list(cursor, limit),
    count: () => store.count(),
    healthy: () => store.healthy(),
    why: () => store.why(),
    start,
    flowClosed(flow) {
      closedFlows.add(flow)
      if (closedFlows.size > recentlyClosed) closedFlows.delete(closedFlows.values().next().value!)
      for (const aor of byFlow.get(flow) ?? []) void sweep(aor)
    },
    async close() {
      closed = true
      clearTimeout(timer)
      clearTimeout(startTimer)
      clearTimeout(deathTimer)
      stopChanges?.()
      stopDeaths?.()
      stopReturns?.()
      await store.close()
    },
  }
}
