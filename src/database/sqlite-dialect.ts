import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { type SqliteDatabase, SqliteDialect } from 'kysely'

/** Kysely on Node's own SQLite. Kysely asks for a better-sqlite3; this gives it the four calls that it makes. */
export function createSqliteDialect(connection: DatabaseSync): SqliteDialect {
  const database: SqliteDatabase = {
    close: () => connection.close(),
    prepare(sql) {
      const statement = connection.prepare(sql)
      return {
        reader: statement.columns().length > 0,
        all: parameters => statement.all(...bind(parameters)),
        run: parameters => statement.run(...bind(parameters)),
        iterate: parameters => statement.iterate(...bind(parameters)),
      }
    },
  }
  return new SqliteDialect({ database })
}

// SQLite has no booleans, and node:sqlite refuses them instead of writing 0 and 1.
function bind(parameters: readonly unknown[]): SQLInputValue[] {
  return parameters.map(value => (typeof value === 'boolean' ? Number(value) : (value as SQLInputValue)))
}
