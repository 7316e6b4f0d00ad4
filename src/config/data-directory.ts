import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Refusal } from '../errors.ts'

/** The one directory that holds everything worth keeping. */
export interface DataDirectory {
  path(name: string): string
  /** A secret of `size` random bytes, made at the first call and the same ever after; kept in a file of mode 0600. */
  secret(name: string, size: number): Buffer
}

/** Opens the directory, made with owner-only rights when it is not there. Refuses `bad-config` when it can't be used. */
export function openDataDirectory(directory: string): DataDirectory {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    chmodSync(directory, 0o700)
  } catch (cause) {
    const text = `data directory ${directory}: ${(cause as Error).message}; set 'data' to a folder that this user may write`
    throw new Refusal('bad-config', text, { cause })
  }
  const path = (name: string) => join(directory, name)
  return {
    path,
    secret(name, size) {
      const file = path(name)
      try {
        // 'wx' lets one of two processes that start together win; the other reads what that one wrote.
        writeFileSync(file, randomBytes(size).toString('hex'), { mode: 0o600, flag: 'wx' })
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EEXIST')
          throw new Refusal('bad-config', (cause as Error).message, { cause })
      }
      const kept = Buffer.from(readFileSync(file, 'utf8').trim(), 'hex')
      if (kept.length !== size) throw new Refusal('bad-config', `${file} is damaged: remove it, and a new one is made`)
      return kept
    },
  }
}
