import { DatabaseSync } from 'node:sqlite'

/**
 * Takes the lock that `file` stands for; undefined while somebody else has it. The lock is the kernel's (SQLite takes
 * it on an empty database), not the file's being there: it ends with the process that holds it, however that ends, so
 * that no dead owner has to be found out and two who find one out cannot both win.
 */
export function takeLock(file: string): { release(): void } | undefined {
  const database = new DatabaseSync(file)
  try {
    // Nothing is ever written, so nothing is to be undone.
    database.exec('pragma journal_mode = off; begin exclusive')
  } catch (error) {
    database.close()
    if ((error as { errcode?: number }).errcode === sqliteBusy) return undefined
    throw error
  }
  return { release: () => database.close() }
}

const sqliteBusy = 5
