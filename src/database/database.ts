import { chmodSync, closeSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { Kysely } from 'kysely'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import { migrate, type Tables } from './migrations.ts'
import { createSqliteDialect } from './sqlite-dialect.ts'

export interface Database {
  readonly query: Kysely<Tables>
  /** A number that differs from its last value when somebody else, over another connection, has changed accounts or groups. */
  version(): number
  close(): Promise<void>
}

/**
 * Opens (and makes, and brings up to date) the SQLite file that accounts and call records live in; `:memory:` is for
 * tests. Several processes may have it open. Refuses with `bad-config` what it cannot use, saying why.
 */
export async function openDatabase(file: string, log: Logger): Promise<Database> {
  const connection = open(file)
  let schema: number
  try {
    connection.exec('pragma busy_timeout = 5000; pragma journal_mode = wal; pragma synchronous = normal')
    connection.exec('pragma foreign_keys = on')
    schema = migrate(connection, file)
  } catch (error) {
    connection.close()
    throw explain(error, file)
  }
  log.debug({ file, schema }, 'database open')

  const query = new Kysely<Tables>({ dialect: createSqliteDialect(connection) })
  const anything = connection.prepare('pragma data_version')
  const changes = connection.prepare('select count from changes')
  let seen: unknown
  let version = 0
  let closed: Promise<void> | undefined
  return {
    query,
    version() {
      const now = anything.get()?.['data_version']
      if (now !== seen) {
        seen = now
        version = Number(changes.get()?.['count'])
      }
      return version
    },
    close() {
      // Kysely closes the connection only if it has ever used it.
      closed ??= query.destroy().then(() => {
        if (connection.isOpen) connection.close()
      })
      return closed
    },
  }
}

function open(file: string): DatabaseSync {
  try {
    if (file !== ':memory:') {
      // SQLite gives its -wal and -shm files the mode of the main file, so that one has to be right before it opens.
      closeSync(openSync(file, 'a', 0o600))
      chmodSync(file, 0o600)
    }
    return new DatabaseSync(file)
  } catch (error) {
    throw explain(error, file)
  }
}

// Result codes of SQLite (https://sqlite.org/rescode.html); the low byte is the primary one.
const sqliteBusy = 5
const sqliteCorrupt = 11
const sqliteNotADatabase = 26

function explain(error: unknown, file: string): unknown {
  if (error instanceof Refusal || !(error instanceof Error)) return error
  const cause = { cause: error }
  switch (sqliteCode(error) & 0xff) {
    case sqliteCorrupt:
    case sqliteNotADatabase:
      return new Refusal(
        'bad-config',
        `${file} is damaged or no database: restore it, or move it out of the way`,
        cause,
      )
    case sqliteBusy:
      return new Refusal('bad-config', `${file} is locked by another program`, cause)
  }
  return new Refusal('bad-config', `${file} cannot be opened: ${error.message}`, cause)
}

/** The extended result code of an SQLite error, 0 for any other. */
export function sqliteCode(error: unknown): number {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) : 0
}
