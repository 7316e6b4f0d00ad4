import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

// Where the web phone's sources and its built files lie, and whether the one was made of the other.

export const sources = import.meta.dirname
export const target = resolve(sources, '../../dist/web')
const mark = 'made-of.txt'

/** SHA-256 over names and contents of all sources. */
export function hashOfSources() {
  const hash = createHash('sha256')
  const files = readdirSync(sources, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  for (const path of files.map(entry => join(entry.parentPath, entry.name)).sort())
    hash.update(path.slice(sources.length)).update('\0').update(readFileSync(path)).update('\0')
  return hash.digest('hex')
}

/** True when the built files are there and were made of these sources. */
export function isBuilt() {
  const path = join(target, mark)
  return existsSync(path) && readFileSync(path, 'utf8') === hashOfSources()
}

export { mark }
