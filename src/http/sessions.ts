import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { SessionTable } from '../cluster/sessions.ts'
import type { Logger } from '../log.ts'

const dayMs = 86_400_000
const codeMs = dayMs
const sessionMs = 30 * dayMs
// Links and browsers of one household; the oldest gives way to the newest.
const mostCodes = 16
const mostSessions = 100
const administrator = 'admin'

/** The administrator's one-time codes and signed-in browsers. */
export interface Sessions {
  /** A code that is good for one sign-in within 24 hours. */
  newCode(): string
  /** Uses a code up and opens a session; undefined for a code that is wrong, used or too old. */
  signIn(code: string): { id: string; seconds: number } | undefined
  knows(id: string | undefined): boolean
  signOut(id: string | undefined): void
}

/**
 * Codes and sessions are random and looked up by their SHA-256, so that neither the time of a look-up nor the file
 * tells anything about them. Sessions outlive a restart in `file` (mode 0600), codes do not. `table` is one that other
 * nodes share.
 */
export function createSessions(deps: {
  file: string
  log: Logger
  now?: () => number
  table?: SessionTable | undefined
}): Sessions {
  const { file, log, now = Date.now, table: sessions = new Map() } = deps
  const codes: SessionTable = new Map()
  for (const [hash, ends] of read(file, log)) {
    if (sessions.get(hash) === undefined) sessions.set(hash, { user: administrator, ends })
  }

  function save(): void {
    const temporary = `${file}.new`
    writeFileSync(temporary, JSON.stringify(Array.from(sessions, ([hash, { ends }]) => [hash, ends])), { mode: 0o600 })
    renameSync(temporary, file)
  }

  function add(table: SessionTable, forMs: number, most: number): string {
    for (const [hash, { ends }] of table) if (ends <= now()) table.delete(hash)
    for (const [hash] of table) if (table.size >= most) table.delete(hash)
    const id = randomBytes(24).toString('base64url')
    table.set(hashOf(id), { user: administrator, ends: now() + forMs })
    return id
  }

  return {
    newCode: () => add(codes, codeMs, mostCodes),
    signIn(code) {
      const hash = hashOf(code)
      const ends = codes.get(hash)?.ends ?? 0
      codes.delete(hash)
      if (ends <= now()) return undefined
      const id = add(sessions, sessionMs, mostSessions)
      save()
      return { id, seconds: sessionMs / 1000 }
    },
    knows: id => id !== undefined && (sessions.get(hashOf(id))?.ends ?? 0) > now(),
    signOut(id) {
      if (id !== undefined && sessions.delete(hashOf(id))) save()
    },
  }
}

function hashOf(id: string): string {
  return createHash('sha256').update(id).digest('base64')
}

function read(file: string, log: Logger): [string, number][] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  try {
    const list: unknown = JSON.parse(text)
    if (Array.isArray(list)) return list.filter(isEntry)
    throw new TypeError('no list')
  } catch (error) {
    // Nothing is lost but that the administrator signs in anew; the next sign-in writes the file again.
    log.warn({ err: error, file }, 'sessions cannot be read; sign in again with a new link')
    return []
  }
}

function isEntry(entry: unknown): entry is [string, number] {
  return Array.isArray(entry) && typeof entry[0] === 'string' && typeof entry[1] === 'number'
}
