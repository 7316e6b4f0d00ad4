import type { DatabaseSync } from 'node:sqlite'
import { Refusal } from '../errors.ts'

// The tables, as SQL and as types, side by side. A step that has been released is never changed: a new one is added.

/** One person. `roles` is a comma-separated list; `created` is ISO 8601; flags are 0 or 1; hashes are lower-case hex. */
export interface AccountsTable {
  domain: string
  user: string
  display_name: string
  enabled: number
  roles: string
  created: string
  md5_seen: number
  ha1_sha256: string
  ha1_md5: string
  /** The same with `user@domain` as the user name, which some phones send. */
  ha1b_sha256: string
  ha1b_md5: string
}

/** One ended call. Times are ISO 8601 in UTC, so that their text order is their order in time. */
export interface CallsTable {
  id: string
  from_aor: string
  to_aor: string
  started: string
  answered: string | null
  ended: string
  seconds: number
  result: string
  status: number
  reason: string
  legs: string
}

export interface Tables {
  accounts: AccountsTable
  calls: CallsTable
}

const steps = [
  `create table accounts (
     domain text not null, user text not null, display_name text not null, enabled integer not null,
     roles text not null, created text not null, md5_seen integer not null,
     ha1_sha256 text not null, ha1_md5 text not null, ha1b_sha256 text not null, ha1b_md5 text not null,
     primary key (domain, user)) without rowid;
   create table calls (
     id text primary key, from_aor text not null, to_aor text not null, started text not null, answered text,
     ended text not null, seconds real not null, result text not null, status integer not null,
     reason text not null, legs text not null) without rowid;
   create index calls_started on calls (started);
   create index calls_from on calls (from_aor, started);
   create index calls_to on calls (to_aor, started);`,
]

/**
 * Brings the schema up to the newest version and returns that. Refuses (`bad-config`) a file that a newer release has
 * written. The write lock is taken first, so two processes that start at once do not both do it.
 */
export function migrate(connection: DatabaseSync, file: string): number {
  connection.exec('begin immediate')
  try {
    connection.exec('create table if not exists migrations (version integer primary key, applied text not null)')
    const row = connection.prepare('select coalesce(max(version), 0) as version from migrations').get()
    const version = Number(row?.version)
    if (version > steps.length) {
      throw new Refusal(
        'bad-config',
        `${file} was written by a newer release (schema ${version}, this one knows ${steps.length}): update Vaartha`,
      )
    }
    const note = connection.prepare('insert into migrations (version, applied) values (?, ?)')
    steps.slice(version).forEach((step, index) => {
      connection.exec(step)
      note.run(version + index + 1, new Date().toISOString())
    })
    connection.exec('commit')
  } catch (error) {
    if (connection.isTransaction) connection.exec('rollback')
    throw error
  }
  return steps.length
}
