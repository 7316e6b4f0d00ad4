import type { Database } from '../database/database.ts'
import type { CallsTable } from '../database/migrations.ts'
import type { CallResult, Events } from '../events.ts'

/** One party's way through a call, as far as it helps to explain the call later. */
export interface RecordedLeg {
  aor: string
  contact?: string
  userAgent?: string
  status?: number
}

/** An ended call. `from` and `to` are AORs, times ISO 8601 in UTC, `seconds` the time from answer to end. */
export interface CallRecord {
  id: string
  from: string
  to: string
  started: string
  answered?: string
  ended: string
  seconds: number
  result: CallResult
  status: number
  reason: string
  legs: readonly RecordedLeg[]
}

export interface Records {
  /** Takes a record at once and writes it a little later; nothing that goes wrong then comes back to the call. */
  add(record: CallRecord): void
  /** Newest first; `before` is a `started` time, `user` an AOR that called or was called. */
  list(filter?: { limit?: number; before?: string; user?: string }): Promise<CallRecord[]>
  /** Removes what ended more than so many days ago and returns how many records that were. */
  prune(historyDays: number): Promise<number>
  /** Writes what still waits. */
  close(): Promise<void>
}

const dayMs = 86_400_000

/**
 * Call records in the SQL database. They are written in batches, `everyMs` after the first that waits; when that
 * fails they wait for the next try, at most `mostWaiting` of them, the oldest being given up first.
 */
export function createRecords(deps: {
  database: Database
  events: Events
  now?: () => number
  everyMs?: number
  mostWaiting?: number
  /** When given, older records are removed every `pruneMs`, a day when left out. */
  historyDays?: number
  pruneMs?: number
}): Records {
  const { database, events, now = Date.now, everyMs = 200, mostWaiting = 10_000, historyDays, pruneMs = dayMs } = deps
  let waiting: CallRecord[] = []
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> | undefined
  let failing = false
  let closed = false

  function schedule(ms: number) {
    if (!closed && waiting.length > 0) timer ??= setTimeout(flush, ms)
  }

  function flush(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    writing ??= writeAll().finally(() => {
      writing = undefined
      schedule(failing ? everyMs * 10 : everyMs)
    })
    return writing
  }

  async function writeAll() {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, 500)
      try {
        // One statement is one transaction. A record that is there already must not hold up the others.
        await database.query
          .insertInto('calls')
          .values(batch.map(toRow))
          .onConflict(conflict => conflict.doNothing())
          .execute()
      } catch (error) {
        waiting = [...batch, ...waiting].slice(-mostWaiting)
        failing = true
        tell('add', error)
        return
      }
      if (failing) events.emit('storeRecovered', { store: 'records' })
      failing = false
    }
  }

  function tell(operation: string, error: unknown) {
    const message = error instanceof Error ? error.message : String(error)
    events.emit('storeFailed', { store: 'records', operation, message })
  }

  async function prune(days: number) {
    const limit = new Date(now() - days * dayMs).toISOString()
    const result = await database.query.deleteFrom('calls').where('ended', '<', limit).executeTakeFirst()
    return Number(result.numDeletedRows)
  }

  const pruning =
    historyDays === undefined
      ? undefined
      : setInterval(() => prune(historyDays).catch(error => tell('prune', error)), pruneMs).unref()

  return {
    prune,
    add(record) {
      if (waiting.length >= mostWaiting) waiting.shift()
      waiting.push(record)
      schedule(everyMs)
    },
    async list({ limit = 100, before, user } = {}) {
      await flush()
      let rows = database.query.selectFrom('calls').selectAll().orderBy('started', 'desc').limit(limit)
      if (before !== undefined) rows = rows.where('started', '<', before)
      if (user !== undefined) rows = rows.where(is => is.or([is('from_aor', '=', user), is('to_aor', '=', user)]))
      return (await rows.execute()).map(toRecord)
    },
    async close() {
      closed = true
      clearInterval(pruning)
      await flush()
    },
  }
}

function toRow(record: CallRecord): CallsTable {
  const { from, to, answered = null, legs, ...rest } = record
  return { ...rest, answered, from_aor: from, to_aor: to, legs: JSON.stringify(legs) }
}

function toRecord(row: CallsTable): CallRecord {
  const { from_aor, to_aor, answered, legs, result, ...rest } = row
  return {
    ...rest,
    from: from_aor,
    to: to_aor,
    result: result as CallResult,
    ...(answered === null ? {} : { answered }),
    legs: JSON.parse(legs) as RecordedLeg[],
  }
}
