import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { type CallRows, createCallRows, createRows } from './rows.ts'
import { compareVersions, type Entry, isNewer, type Kind, kinds, type Version } from './version.ts'

/** A version as this database has it. `partial`: not all that it names is known here. */
export interface Held extends Version {
  readonly id: string
  readonly gone: boolean
  readonly waiting: boolean
  readonly partial: boolean
}

/** A state that the others have not seen. `base` is the stamp of the one that it came after. */
export interface Waiting extends Entry {
  readonly base: number
}

/** A row that was changed on two nodes before they heard of each other; `winner` is the node whose state holds. */
export interface Conflict {
  kind: Kind
  id: string
  winner: string
}

export interface Applied {
  taken: number
  accounts: number
  conflicts: Conflict[]
  /** What names a person who is not known here (yet), or whose name is taken by a newer row of another kind. */
  later: Entry[]
  /** What the database would not take, which none of our releases has written. */
  failed: { kind: Kind; id: string; error: unknown }[]
  /** Recordings that another node has removed, as JSON texts. */
  removed: string[]
}

/** This node's side of what all share: its own database, over a connection of its own. */
export interface Replica {
  /** True when anybody else has written to the database since the last time it was asked. */
  changed(): boolean
  waiting(most: number): Waiting[]
  waitingCount(): number
  /** Stamp of what has waited longest. */
  oldestWaiting(): number | undefined
  /** The others have these states. */
  settle(entries: readonly Entry[]): void
  /** Takes what is newer than what is here. */
  apply(entries: readonly Entry[]): Applied
  find(kind: Kind, id: string): Held | undefined
  /** Versions in the order of their ids, those after `after`. */
  page(kind: Kind, after: string, most: number): Held[]
  /** Has them told (anew). */
  tell(kind: Kind, ids: readonly string[]): void
  /** Takes rows away that all others have forgotten. */
  drop(kind: Kind, ids: readonly string[]): void
  /** Ids of groups with members that were not known when they came. */
  partialGroups(): string[]
  /** Forgets what went before a time, in ms since 1970. */
  forget(before: number): void
  synced(): { epoch: string; at: number }
  setSynced(epoch: string, at: number): void
  readonly calls: Pick<CallRows, 'read' | 'count' | 'ids'>
  waitingCalls(most: number): string[]
  settleCalls(ids: readonly string[]): void
  tellCalls(ids: readonly string[]): void
  addCalls(docs: readonly string[]): void
  close(): void
}

/**
 * Opens it and, the first time, has all that the database holds told to the others. A step that writes is one turn of
 * the event loop and throws what `isBusy` knows while somebody else is writing: it is then to be tried again.
 */
export function openReplica(options: { file: string; node: string; callsSince: string }): Replica {
  const connection = new DatabaseSync(options.file)
  // Waiting for the lock would hold up the whole process, and with it perhaps who has the lock.
  connection.exec('pragma journal_mode = wal; pragma synchronous = normal; pragma foreign_keys = on')
  connection.exec('pragma busy_timeout = 5000')
  begin(connection, options.node, options.callsSince)
  connection.exec('pragma busy_timeout = 0')
  const rows = createRows(connection)
  const calls = createCallRows(connection)
  const prepare = (sql: string) => {
    const statement = connection.prepare(sql)
    return {
      run: (...values: SQLInputValue[]) => void statement.run(...values),
      get: (...values: SQLInputValue[]) => statement.get(...values),
      all: (...values: SQLInputValue[]) => statement.all(...values),
    }
  }
  const version = prepare('pragma data_version')
  const listWaiting = prepare(`
    select kind, id, stamp, node, base from shared_rows where waiting = 1 and kind <> 'call' order by stamp limit ?`)
  const countWaiting = prepare('select count(*) as count, min(stamp) as oldest from shared_rows where waiting = 1')
  const settled = prepare(`
    update shared_rows set waiting = 0, base = stamp, gone = ? where kind = ? and id = ? and stamp = ? and node = ?`)
  const find = prepare('select * from shared_rows where kind = ? and id = ?')
  const page = prepare('select * from shared_rows where kind = ? and id > ? order by id limit ?')
  const keep = prepare(`
    insert into shared_rows (kind, id, stamp, node, gone, base, waiting, partial) values (?1, ?2, ?3, ?4, ?5, ?3, 0, ?6)
    on conflict (kind, id) do update set stamp = ?3, node = ?4, gone = ?5, base = ?3, waiting = 0, partial = ?6`)
  const tell = prepare('update shared_rows set waiting = 1 where kind = ? and id = ?')
  const lose = prepare('delete from shared_rows where kind = ? and id = ?')
  const partial = prepare(`select id from shared_rows where kind = 'group' and partial = 1`)
  const forget = prepare('delete from shared_rows where gone = 1 and waiting = 0 and stamp < ?')
  const mute = prepare('update sharing set muted = 1')
  const unmute = prepare('update sharing set muted = 0, stamp = max(stamp, ?)')
  const uninvite = prepare('delete from invitations where user = ? and domain = ?')
  const listCalls = prepare(`select id from shared_rows where waiting = 1 and kind = 'call' order by stamp limit ?`)
  const tellCall = prepare(`
    insert or ignore into shared_rows (kind, id, stamp, node, gone, base, waiting, partial)
    select 'call', ?, stamp, node, 0, 0, 1, 0 from sharing`)
  const getSynced = prepare('select epoch, synced as at from sharing')
  const setSynced = prepare('update sharing set epoch = ?, synced = ?')
  let seen = Number.NaN

  function write<T>(work: () => T): T {
    connection.exec('begin immediate')
    try {
      const result = work()
      connection.exec('commit')
      return result
    } catch (error) {
      connection.exec('rollback')
      throw error
    }
  }

  function each(ids: readonly string[], work: (id: string) => void): void {
    write(() => {
      for (const id of ids) work(id)
    })
  }

  function held(kind: Kind, id: string): Held | undefined {
    const row = find.get(kind, id)
    return row && toHeld(row)
  }

  /** Runs what is a change of our own, after all that has been seen, while changes of others are written. */
  function asOurs(after: number, work: () => void) {
    unmute.run(after)
    work()
    mute.run()
  }

  /** A name is an account or a group: of two that came to be on two nodes the newer one stays. False when that is the other. */
  function takesName(entry: Entry, result: Applied): boolean {
    if (entry.kind !== 'account' && entry.kind !== 'group') return true
    const kind = entry.kind === 'account' ? 'group' : 'account'
    if (rows[kind].read(entry.id) === undefined) return true
    const other = held(kind, entry.id)
    if (other !== undefined && !isNewer(entry, other)) return false
    asOurs(entry.stamp, () => rows[kind].remove(entry.id))
    result.conflicts.push({ kind, id: entry.id, winner: entry.node })
    return true
  }

  function applyOne(entry: Entry, result: Applied): void {
    const { kind, id, stamp, node, doc } = entry
    const mine = held(kind, id)
    if (!isNewer(entry, mine) && !(mine?.partial && compareVersions(entry, mine) === 0)) return
    const before = mine === undefined || mine.waiting || kind === 'recording' ? rows[kind].read(id) : undefined
    let outcome: 'done' | 'partial' | 'later' = 'done'
    if (doc === undefined) {
      const [user = '', domain = ''] = id.split('@')
      if (kind === 'account') asOurs(stamp, () => uninvite.run(user, domain))
      rows[kind].remove(id)
      if (kind === 'recording' && before !== undefined) result.removed.push(before)
    } else {
      outcome = takesName(entry, result) ? rows[kind].write(id, doc) : 'later'
    }
    if (outcome === 'later') {
      result.later.push(entry)
      return
    }
    keep.run(kind, id, stamp, node, Number(doc === undefined), Number(outcome === 'partial'))
    result.taken++
    if (kind === 'account' && doc !== undefined) result.accounts++
    if (mine?.waiting && before !== doc) result.conflicts.push({ kind, id, winner: node })
  }

  return {
    changed() {
      const now = Number(version.get()?.['data_version'])
      const differs = now !== seen
      seen = now
      return differs
    },
    waiting: most =>
      listWaiting.all(most).map(row => {
        const [kind, id] = [row['kind'] as Kind, String(row['id'])]
        const [stamp, base] = [Number(row['stamp']), Number(row['base'])]
        return { kind, id, stamp, base, node: String(row['node']), doc: rows[kind].read(id) }
      }),
    waitingCount: () => Number(countWaiting.get()?.['count']),
    oldestWaiting() {
      const oldest = countWaiting.get()?.['oldest']
      return oldest === null ? undefined : Number(oldest)
    },
    settle: entries =>
      write(() => {
        for (const { kind, id, stamp, node, doc } of entries)
          settled.run(Number(doc === undefined), kind, id, stamp, node)
      }),
    apply: entries =>
      write(() => {
        const result: Applied = { taken: 0, accounts: 0, conflicts: [], later: [], failed: [], removed: [] }
        mute.run()
        let newest = 0
        for (const entry of entries.toSorted(compareVersions)) {
          newest = entry.stamp
          connection.exec('savepoint one')
          try {
            applyOne(entry, result)
          } catch (error) {
            connection.exec('rollback to one')
            result.failed.push({ kind: entry.kind, id: entry.id, error })
          }
          connection.exec('release one')
        }
        unmute.run(newest)
        return result
      }),
    find: held,
    page: (kind, after, most) => page.all(kind, after, most).map(toHeld),
    tell: (kind, ids) => each(ids, id => tell.run(kind, id)),
    drop: (kind, ids) =>
      write(() => {
        mute.run()
        for (const id of ids) {
          rows[kind].remove(id)
          lose.run(kind, id)
        }
        unmute.run(0)
      }),
    partialGroups: () => partial.all().map(row => String(row['id'])),
    forget: before => write(() => forget.run(before * 1000)),
    synced: () => getSynced.get() as { epoch: string; at: number },
    setSynced: (epoch, at) => write(() => setSynced.run(epoch, at)),
    calls,
    waitingCalls: most => listCalls.all(most).map(row => String(row['id'])),
    settleCalls: ids => each(ids, id => lose.run('call', id)),
    tellCalls: ids => each(ids, id => tellCall.run(id)),
    addCalls: docs =>
      write(() => {
        mute.run()
        for (const doc of docs) calls.add(doc)
        unmute.run(0)
      }),
    close() {
      if (connection.isOpen) connection.close()
    },
  }
}

/** Whether somebody else is writing just now. */
export function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === 5
}

function toHeld(row: Record<string, unknown>): Held {
  return {
    id: String(row['id']),
    stamp: Number(row['stamp']),
    node: String(row['node']),
    gone: row['gone'] === 1,
    waiting: row['waiting'] === 1,
    partial: row['partial'] === 1,
  }
}

const createdStamps: Record<Kind, string> = {
  account: `select user || '@' || domain as id, created as since, 0 as ago from accounts`,
  group: `select name || '@' || domain as id, created as since, 0 as ago from groups`,
  invitation: 'select token as id, ends as since, 604800 as ago from invitations',
  recording: 'select id, ended as since, 0 as ago from recordings',
}

/** What was there before this node shared anything counts as of the time it was made. */
function begin(connection: DatabaseSync, node: string, callsSince: string): void {
  connection.exec('begin immediate')
  try {
    const known = connection.prepare('select node from sharing').get()
    if (known === undefined) {
      const all = kinds.map(kind => `select '${kind}' as kind, id, since, ago from (${createdStamps[kind]})`)
      all.push(`select 'call' as kind, id, started as since, 0 as ago from calls where started >= ?2`)
      connection.prepare(`update recordings set node = ? where node = ''`).run(node)
      connection
        .prepare(`
          insert into shared_rows (kind, id, stamp, node, gone, base, waiting, partial)
          select kind, id, cast((unixepoch(since, 'subsec') - ago) * 1000000 as integer), ?1, 0, 0, 1, 0
          from (${all.join(' union all ')})`)
        .run(node, callsSince)
      connection
        .prepare(`
          insert into sharing (one, node, stamp, muted, epoch, synced)
          select 1, ?, coalesce(max(stamp), 0), 0, '', 0 from shared_rows`)
        .run(node)
    } else if (known['node'] !== node) {
      connection.prepare('update sharing set node = ?').run(node)
    }
    connection.exec('commit')
  } catch (error) {
    connection.exec('rollback')
    throw error
  }
}
