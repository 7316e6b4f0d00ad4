import { setTimeout as wait } from 'node:timers/promises'
import type { Logger } from '../../log.ts'
import { type Applied, type Conflict, isBusy, type Replica } from './replica.ts'
import type { Shelf } from './shelf.ts'
import { type Entry, isNewer, type Kind, kinds } from './version.ts'

/** A row by name; of a call the id is `day/id`. */
export type Named = [kind: Kind | 'call', id: string]

export interface Exchange {
  /** Tells all that waits; `tell` hears which rows the store has by now. */
  push(tell: (rows: Named[]) => Promise<void>): Promise<void>
  /** Takes these rows from the store, as far as they are newer there. */
  take(rows: readonly Named[]): Promise<void>
  /** Compares all versions on both sides, takes what is newer there and marks as waiting what is newer here. */
  compare(): Promise<void>
  /** The same for the calls of the last days, by their number each day; to be done when none waits. */
  compareCalls(): Promise<void>
  counts(): { taken: number; told: number; conflicts: number; failed: number; lagMs: number }
}

export interface ExchangeDeps {
  replica: Replica
  shelf: Shelf
  log: Logger
  now(): number
  /** Days whose calls are shared. */
  callDays: number
  /** How long what is gone is remembered, in ms. */
  keepMs: number
  onRemoved(recording: string): void
}

// Rows in one turn of the event loop, and in one command.
const step = 100
const page = 500
const busyMs = 20
const mostLater = 1000

/** Moves rows between this node's database and the store, some at a time. */
export function createExchange(deps: ExchangeDeps): Exchange {
  const { replica, shelf, log, now, keepMs } = deps
  const counts = { taken: 0, told: 0, conflicts: 0, failed: 0, lagMs: 0 }
  const later = new Map<string, Entry>()

  /** Somebody else in the database is done in some milliseconds. */
  async function attempt<T>(work: () => T): Promise<T> {
    for (;;) {
      try {
        return work()
      } catch (error) {
        if (!isBusy(error)) throw error
      }
      await wait(busyMs, undefined, { ref: false })
    }
  }

  function tellConflict(conflict: Conflict): void {
    counts.conflicts++
    log.warn({ ...conflict }, 'changed on two nodes before they heard of each other; the newer state holds')
  }

  async function apply(entries: readonly Entry[]): Promise<void> {
    const applied = await applyOnce(entries)
    // What named people or a name that were not to be had: perhaps they are by now.
    if (applied.accounts > 0) {
      for (const some of parts(replica.partialGroups())) await applyOnce(await shelf.pull('group', some))
    }
    for (let { taken } = applied; taken > 0 && later.size > 0; ) {
      const again = [...later.values()]
      later.clear()
      taken = 0
      for (const some of parts(again)) taken += (await applyOnce(some)).taken
    }
  }

  async function applyOnce(entries: readonly Entry[]): Promise<Applied> {
    const applied = await attempt(() => replica.apply(entries))
    counts.taken += applied.taken
    counts.failed += applied.failed.length
    for (const conflict of applied.conflicts) tellConflict(conflict)
    for (const { error, ...row } of applied.failed)
      log.error({ err: error, ...row }, 'a row of another node does not fit')
    for (const recording of applied.removed) deps.onRemoved(recording)
    // More than that wait for the next comparison.
    for (const entry of applied.later) if (later.size < mostLater) later.set(`${entry.kind} ${entry.id}`, entry)
    return applied
  }

  async function pushSome(kind: Kind, entries: ReturnType<Replica['waiting']>): Promise<void> {
    const told = await shelf.push(kind, entries)
    const lost: Entry[] = []
    entries.forEach((entry, index) => {
      const { taken, other } = told[index]!
      if (other === undefined) return
      if (!taken) lost.push(other)
      else if (other.doc !== entry.doc) tellConflict({ kind, id: entry.id, winner: entry.node })
    })
    counts.told += entries.length
    if (lost.length > 0) await apply(lost)
  }

  async function pushCalls(tell: (rows: Named[]) => Promise<void>): Promise<void> {
    for (;;) {
      const ids = replica.waitingCalls(step)
      if (ids.length === 0) return
      const days = new Map<string, Map<string, string>>()
      for (const id of ids) {
        const call = replica.calls.read(id)
        if (call === undefined) continue
        if (!days.has(call.day)) days.set(call.day, new Map())
        days.get(call.day)!.set(id, call.doc)
      }
      for (const [day, docs] of days) {
        await shelf.addCalls(day, docs)
        await tell([...docs.keys()].map(id => ['call', `${day}/${id}`]))
      }
      await attempt(() => replica.settleCalls(ids))
      counts.told += ids.length
    }
  }

  async function takeKind(kind: Kind, ids: readonly string[]): Promise<Entry[]> {
    const found: Entry[] = []
    for (const some of parts(ids)) found.push(...(await shelf.pull(kind, some)))
    return found
  }

  async function compareKind(kind: Kind, forgotten: boolean): Promise<void> {
    const oldest = now() - keepMs
    for await (const versions of shelf.versions(kind)) {
      const gone = versions.filter(([, version]) => version.gone && version.stamp < oldest * 1000).map(([id]) => id)
      if (gone.length > 0) await shelf.forget(kind, gone, oldest)
      const wanted = versions.filter(([id, version]) => {
        const held = replica.find(kind, id)
        return (isNewer(version, held) || held?.partial) && !gone.includes(id)
      })
      for (const some of parts(wanted.map(([id]) => id))) await apply(await shelf.pull(kind, some))
    }
    let after = ''
    for (;;) {
      const held = replica.page(kind, after, page)
      if (held.length === 0) return
      after = held.at(-1)!.id
      const there = await shelf.known(
        kind,
        held.map(one => one.id),
      )
      const behind = held.filter((one, index) => isNewer(one, there[index]) && !one.waiting)
      // Who was away for longer than the others remember what went cannot tell an old row from a new one.
      const lost = behind.filter((one, index) => forgotten && there[index] === undefined && !one.gone)
      const untold = behind.filter(one => !lost.includes(one) && !(one.gone && one.stamp < oldest * 1000))
      if (lost.length > 0) {
        log.warn({ kind, rows: lost.length }, 'rows that the other nodes have forgotten are taken away')
        await attempt(() =>
          replica.drop(
            kind,
            lost.map(one => one.id),
          ),
        )
      }
      if (untold.length > 0)
        await attempt(() =>
          replica.tell(
            kind,
            untold.map(one => one.id),
          ),
        )
    }
  }

  return {
    async push(tell) {
      for (;;) {
        const waiting = replica.waiting(step)
        if (waiting.length === 0) break
        for (const kind of kinds) {
          const some = waiting.filter(entry => entry.kind === kind)
          if (some.length > 0) await pushSome(kind, some)
        }
        await tell(waiting.map(({ kind, id }) => [kind, id]))
        await attempt(() => replica.settle(waiting))
      }
      await pushCalls(tell)
    },
    async take(rows) {
      const entries: Entry[] = []
      for (const kind of kinds) {
        const ids = rows.flatMap(([one, id]) => (one === kind ? id : []))
        if (ids.length > 0) entries.push(...(await takeKind(kind, ids)))
      }
      for (const some of parts(entries)) await apply(some)
      const newest = entries.reduce((stamp, entry) => Math.max(stamp, entry.stamp), 0)
      if (newest > 0) counts.lagMs = Math.max(0, now() - newest / 1000)
      const calls = Map.groupBy(
        rows.flatMap(([kind, id]) => (kind === 'call' ? id : [])),
        id => id.slice(0, id.indexOf('/')),
      )
      for (const [day, ids] of calls) {
        for (const some of parts(ids)) {
          const docs = await shelf.pullCalls(
            day,
            some.map(id => id.slice(day.length + 1)),
          )
          await attempt(() => replica.addCalls(docs))
          counts.taken += docs.length
        }
      }
    },
    async compare() {
      const epoch = await shelf.epoch()
      const last = replica.synced()
      const unreadable = shelf.unreadable()
      const forgotten = last.epoch === epoch && now() - last.at > keepMs
      for (const kind of kinds) await compareKind(kind, forgotten)
      const rows = shelf.unreadable() - unreadable
      if (rows > 0) log.error({ rows }, 'what other nodes share does not open: all need the same cluster.secret')
      await attempt(() => replica.forget(now() - keepMs))
      await attempt(() => replica.setSynced(epoch, now()))
    },
    async compareCalls() {
      for (let ago = 0; ago <= deps.callDays; ago++) {
        const day = new Date(now() - ago * 86_400_000).toISOString().slice(0, 10)
        const [here, there] = [replica.calls.count(day), await shelf.countCalls(day)]
        if (here < there) {
          for await (const docs of shelf.calls(day)) {
            for (const some of parts(docs)) await attempt(() => replica.addCalls(some))
          }
        } else if (here > there) {
          await attempt(() => replica.tellCalls(replica.calls.ids(day)))
        }
      }
    },
    counts: () => counts,
  }
}

function parts<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / step) }, (_, n) => all.slice(n * step, (n + 1) * step))
}
