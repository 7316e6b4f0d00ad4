import type { DatabaseSync } from 'node:sqlite'
import type { Kind } from './version.ts'

// How each kind of row is read as JSON text and written from it, by SQLite itself. The columns stand here by name: what a
// newer release adds to a text is left alone, and the same row gives the same text on every node.

const accountColumns = [
  'domain', 'user', 'display_name', 'enabled', 'roles', 'created', 'ha1_sha256', 'ha1_md5', 'ha1b_sha256', 'ha1b_md5',
] // biome-ignore format: one list
const groupColumns = [
  'domain', 'name', 'display_name', 'ring', 'record', 'announce', 'pin', 'most', 'created', 'replication',
] // biome-ignore format: one list
const memberColumns = ['user', 'position', 'member', 'moderator']
const invitationColumns = ['token', 'domain', 'user', 'ends']
const recordingColumns = [
  'id', 'meeting', 'address', 'started', 'ended', 'seconds', 'people', 'files', 'node',
] // biome-ignore format: one list
const callColumns = [
  'id', 'from_aor', 'to_aor', 'started', 'answered', 'ended', 'seconds', 'result', 'status', 'reason', 'legs',
] // biome-ignore format: one list

const asJson = (columns: readonly string[]) => columns.map(column => `'${column}', ${column}`).join(', ')
const fromJson = (columns: readonly string[], doc = 'doc') => columns.map(column => `${doc} ->> '${column}'`).join(', ')
const upsert = (table: string, columns: readonly string[], keys: readonly string[], more = '') => `
  insert into ${table} (${columns.join(', ')}${more && `, ${more}`})
  select ${fromJson(columns)}${more && ', 0'} from (select ? as doc) where true
  on conflict (${keys.join(', ')}) do update set
  ${columns
    .filter(column => !keys.includes(column))
    .map(column => `${column} = excluded.${column}`)
    .join(', ')}`

/** What can be done with rows of one kind. `write` says whether all that the text names is known here by now. */
export interface Rows {
  read(id: string): string | undefined
  write(id: string, doc: string): 'done' | 'partial' | 'later'
  remove(id: string): void
}

/** `name@domain` as two; neither holds a second @. */
function partsOf(id: string): [name: string, domain: string] {
  const at = id.indexOf('@')
  return [id.slice(0, at), id.slice(at + 1)]
}

/** The rows of each kind in one database, with statements that are prepared once. */
export function createRows(connection: DatabaseSync): Record<Kind, Rows> {
  const text = (sql: string, split: boolean) => {
    const statement = connection.prepare(sql)
    return (id: string) => statement.get(...(split ? partsOf(id) : [id]))?.['doc'] as string | undefined
  }
  const run = (sql: string, split: boolean) => {
    const statement = connection.prepare(sql)
    return (id: string) => void statement.run(...(split ? partsOf(id) : [id]))
  }
  const hasAccount = connection.prepare(`select 1 from accounts where user = ? ->> 'user' and domain = ? ->> 'domain'`)

  const writeAccount = connection.prepare(upsert('accounts', accountColumns, ['domain', 'user'], 'md5_seen'))
  const markGroups = connection.prepare(`
    update shared_rows set partial = 1 where kind = 'group'
    and id in (select name || '@' || domain from group_members where user = ? and domain = ?)`)
  const removeAccount = run('delete from accounts where user = ? and domain = ?', true)

  const writeGroup = connection.prepare(upsert('groups', groupColumns, ['domain', 'name']))
  const clearGroup = run('delete from group_members where name = ? and domain = ?', true)
  const fillGroup = connection.prepare(`
    insert into group_members (name, domain, ${memberColumns.join(', ')})
    select ?1, ?2, ${fromJson(memberColumns, 'value')} from json_each(?3, '$.members')
    where exists (select 1 from accounts where domain = ?2 and user = value ->> 'user')`)
  const countMembers = connection.prepare(`select json_array_length(?, '$.members') as count`)

  const writeInvitation = connection.prepare(upsert('invitations', invitationColumns, ['token']))
  const writeRecording = connection.prepare(upsert('recordings', recordingColumns, ['id']))

  return {
    account: {
      read: text(
        `select json_object(${asJson(accountColumns)}) as doc from accounts where user = ? and domain = ?`,
        true,
      ),
      write(_, doc) {
        writeAccount.run(doc)
        return 'done'
      },
      remove(id) {
        // Its places in groups go with it here, but the groups name it as long as nobody says otherwise.
        markGroups.run(...partsOf(id))
        removeAccount(id)
      },
    },
    group: {
      read: text(
        `select json_object(${asJson(groupColumns)}, 'members', (
           select json_group_array(json_object(${asJson(memberColumns)}) order by position) from group_members
           where name = one.name and domain = one.domain)) as doc
         from groups as one where name = ? and domain = ?`,
        true,
      ),
      write(id, doc) {
        writeGroup.run(doc)
        clearGroup(id)
        const { changes } = fillGroup.run(...partsOf(id), doc)
        return Number(changes) < Number(countMembers.get(doc)?.['count']) ? 'partial' : 'done'
      },
      remove: run('delete from groups where name = ? and domain = ?', true),
    },
    invitation: {
      read: text(`select json_object(${asJson(invitationColumns)}) as doc from invitations where token = ?`, false),
      write(_, doc) {
        if (hasAccount.get(doc, doc) === undefined) return 'later'
        writeInvitation.run(doc)
        return 'done'
      },
      remove: run('delete from invitations where token = ?', false),
    },
    recording: {
      read: text(`select json_object(${asJson(recordingColumns)}) as doc from recordings where id = ?`, false),
      write(_, doc) {
        writeRecording.run(doc)
        return 'done'
      },
      remove: run('delete from recordings where id = ?', false),
    },
  }
}

/** Call records by the day (`2026-01-31`, UTC) that they began on. */
export interface CallRows {
  read(id: string): { day: string; doc: string } | undefined
  /** Adds what is not there. */
  add(doc: string): void
  count(day: string): number
  ids(day: string): string[]
}

export function createCallRows(connection: DatabaseSync): CallRows {
  const read = connection.prepare(
    `select substr(started, 1, 10) as day, json_object(${asJson(callColumns)}) as doc from calls where id = ?`,
  )
  const add = connection.prepare(`
    insert or ignore into calls (${callColumns.join(', ')}) select ${fromJson(callColumns)} from (select ? as doc)`)
  const ids = connection.prepare(`select id from calls where started >= ? and started < ? || '~'`)
  const count = connection.prepare(`select count(*) as count from calls where started >= ? and started < ? || '~'`)
  return {
    read: id => read.get(id) as { day: string; doc: string } | undefined,
    add: doc => void add.run(doc),
    count: day => Number(count.get(day, day)?.['count']),
    ids: day => ids.all(day, day).map(row => String(row['id'])),
  }
}
