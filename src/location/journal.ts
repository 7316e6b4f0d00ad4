import { closeSync, openSync, readSync } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import { type Binding, isBinding } from './binding.ts'

// The file that lets registrations survive the process. One line is one whole state, `["sip:a@b",[binding, …]]`, and
// the last line of an address counts; an empty list means none. Changes are gathered for some ms and written in one
// piece, so a killed process loses at most that (phones register again by themselves), and a killed machine what the
// kernel had not written yet: fdatasync is called at compaction and at close only, which spares SD cards.

/** The states that the journal writes down. It reads them when it writes, so an address in haste is written once. */
export interface States {
  get(aor: string): readonly Binding[]
  aors(): Iterable<string>
  count(): number
}

export interface Journal {
  /** Reads the file synchronously, hands out what it holds in order, and from then on writes `states`. */
  open(states: States, restore: (aor: string, bindings: Binding[]) => void): void
  /** The state of this address is other than before. Costs one entry in a set. */
  changed(aor: string): void
  /** Resolves when every change so far is in the file, or when writing failed. */
  flush(): Promise<void>
  /** False from a failed write until the file is whole again. Registrations go on meanwhile, in memory. */
  healthy(): boolean
  /** Writes what is left and closes the file; idempotent. */
  close(): Promise<void>
}

export interface JournalOptions {
  path: string
  log: Logger
  events: Events
  /** How long changes are gathered, in ms. */
  gatherMs?: number
  /** How long after a failure the file is tried again, in ms. */
  retryMs?: number
  /** How files are opened; a test passes a file that fails. */
  openFile?: (path: string, flags: string, mode: number) => Promise<Pick<FileHandle, 'write' | 'datasync' | 'close'>>
}

const linesPerWrite = 500
// A file with fewer lines than this is not worth the work, however many of them are dead.
const fewLines = 2000

export function createJournal(options: JournalOptions): Journal {
  return new FileJournal(options)
}

type File = Awaited<ReturnType<NonNullable<JournalOptions['openFile']>>>

class FileJournal implements Journal {
  readonly #options: Required<JournalOptions>
  #states: States = { get: () => [], aors: () => [], count: () => 0 }
  readonly #dirty = new Set<string>()
  #file: File | undefined
  #lines = 0
  #timer: NodeJS.Timeout | undefined
  #work: Promise<void> | undefined
  #failed = false
  #closed: Promise<void> | undefined

  constructor(options: JournalOptions) {
    this.#options = { gatherMs: 50, retryMs: 5000, openFile: open, ...options }
  }

  open(states: States, restore: (aor: string, bindings: Binding[]) => void): void {
    this.#states = states
    const { path, log } = this.#options
    const last = new Map<string, number>()
    this.#lines = readLines(path, (line, number) => last.set(nameIn(line), number))
    let broken = 0
    const read = (line: Buffer) => {
      const parsed = parseLine(line.toString('utf8'))
      if (parsed === undefined) broken++
      else restore(...parsed)
    }
    // Only the lines that count are parsed, which is most of the work.
    const live = new Set(last.values())
    readLines(path, (line, number) => live.has(number) && read(line))
    if (broken === 0) return
    // One that cannot be read counts for nothing: the one before it does. In order, each line replaces those before.
    broken = 0
    readLines(path, read)
    log.warn({ lines: broken }, 'registration journal holds unreadable lines, left out')
    this.#lines = Number.POSITIVE_INFINITY
  }

  changed(aor: string): void {
    this.#dirty.add(aor)
    if (this.#timer !== undefined || this.#work !== undefined || this.#failed || this.#closed) return
    this.#schedule(this.#options.gatherMs)
  }

  async flush(): Promise<void> {
    await this.#work
    if (this.#dirty.size > 0 && !this.#failed) await this.#run()
  }

  healthy(): boolean {
    return !this.#failed
  }

  close(): Promise<void> {
    this.#closed ??= this.#finish()
    return this.#closed
  }

  async #finish(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#work
    // After a failure this is the last chance to write all.
    if (this.#dirty.size > 0 || this.#failed) await this.#run()
    clearTimeout(this.#timer)
    await this.#file?.datasync().catch((error: unknown) => this.#fail('sync', error))
    await this.#file?.close()
    this.#file = undefined
  }

  #schedule(ms: number): void {
    this.#timer = setTimeout(() => void this.#run(), ms)
    this.#timer.unref()
  }

  /** One round of writing; only one runs at a time. */
  #run(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#work ??= this.#round().finally(() => {
      this.#work = undefined
      if (this.#closed) return
      if (this.#failed) this.#schedule(this.#options.retryMs)
      else if (this.#dirty.size > 0) this.#schedule(this.#options.gatherMs)
    })
    return this.#work
  }

  async #round(): Promise<void> {
    try {
      const dead = this.#lines > fewLines + 2 * this.#states.count()
      if (this.#failed || dead) await this.#rewrite()
      else await this.#append()
      if (!this.#failed) return
      this.#failed = false
      this.#options.log.info({}, 'registration journal is written again')
      this.#options.events.emit('storeRecovered', { store: 'location' })
    } catch (error) {
      this.#fail('write', error)
    }
  }

  #fail(operation: string, error: unknown): void {
    if (this.#failed) return
    this.#failed = true
    const message = error instanceof Error ? error.message : String(error)
    this.#options.log.error({ err: error }, 'registration journal cannot be written, going on in memory')
    this.#options.events.emit('storeFailed', { store: 'location', operation: `journal ${operation}`, message })
  }

  async #append(): Promise<void> {
    this.#file ??= await this.#options.openFile(this.#options.path, 'a', 0o600)
    this.#lines += await this.#write(this.#file, this.#takeDirty())
  }

  #takeDirty(): string[] {
    const aors = [...this.#dirty]
    this.#dirty.clear()
    return aors
  }

  // The new file takes a walk over all states, many turns of the event loop long. What changes meanwhile is written
  // after it, and only then the new file takes the old one's place, so at every moment one of them is whole.
  async #rewrite(): Promise<void> {
    const { path, openFile } = this.#options
    const next = `${path}.new`
    await rm(next, { force: true })
    const file = await openFile(next, 'a', 0o600)
    try {
      let lines = 0
      this.#dirty.clear()
      for (const aors of inChunks(this.#states.aors())) lines += await this.#write(file, aors)
      lines += await this.#write(file, this.#takeDirty())
      await file.datasync()
      await rename(next, path)
      this.#lines = lines
    } catch (error) {
      await file.close()
      await rm(next, { force: true })
      throw error
    }
    const old = this.#file
    this.#file = file
    await old?.close()
  }

  async #write(file: File, aors: readonly string[]): Promise<number> {
    for (let at = 0; at < aors.length; at += linesPerWrite) {
      let text = ''
      for (const aor of aors.slice(at, at + linesPerWrite)) text += formatLine(aor, this.#states.get(aor))
      const bytes = Buffer.from(text)
      for (let sent = 0; sent < bytes.length; ) sent += (await file.write(bytes, sent)).bytesWritten
    }
    return aors.length
  }
}

function* inChunks(aors: Iterable<string>): Generator<string[]> {
  let chunk: string[] = []
  for (const aor of aors) {
    chunk.push(aor)
    if (chunk.length < linesPerWrite) continue
    yield chunk
    chunk = []
  }
  if (chunk.length > 0) yield chunk
}

function formatLine(aor: string, bindings: readonly Binding[]): string {
  return `${JSON.stringify([aor, bindings])}\n`
}

/** The address of a line as it is written, escapes and all. */
function nameIn(line: Buffer): string {
  return line.toString('latin1', 2, line.indexOf('",['))
}

function parseLine(line: string): [aor: string, bindings: Binding[]] | undefined {
  try {
    const value: unknown = JSON.parse(line)
    if (!Array.isArray(value) || typeof value[0] !== 'string' || !Array.isArray(value[1])) return undefined
    return value[1].every(isBinding) ? [value[0], value[1]] : undefined
  } catch {
    return undefined
  }
}

// Reads in pieces, because a file of a million registrations is longer than the longest string. Returns how many
// lines there were, the last one without its end included.
function readLines(path: string, each: (line: Buffer, number: number) => void): number {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
  let lines = 0
  try {
    const piece = Buffer.allocUnsafe(1 << 18)
    let rest: Buffer = Buffer.alloc(0)
    for (let got = readSync(file, piece); got > 0; got = readSync(file, piece)) {
      const bytes = rest.length > 0 ? Buffer.concat([rest, piece.subarray(0, got)]) : piece.subarray(0, got)
      let start = 0
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
        each(bytes.subarray(start, end), lines++)
        start = end + 1
      }
      rest = Buffer.from(bytes.subarray(start))
    }
    if (rest.length === 0) return lines
    each(rest, lines)
    // No end of line: cut while it was written. It may parse by chance, but the next append would be glued to it.
    return Number.POSITIVE_INFINITY
  } finally {
    closeSync(file)
  }
}
