import { open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Database } from '../database/database.ts'
import type { RecordingsTable } from '../database/migrations.ts'
import type { Logger } from '../log.ts'
import type { RecordedFile } from '../media/media.ts'

// A recording that nobody ended, because its node died: a note beside its files says what it is, and the next start of the
// node closes the files and lists it.

/** What is known of a recording while it goes on. `started` is ISO 8601, UTC. */
export interface Begun {
  id: string
  meeting: string
  address: string
  started: string
}

export interface Note {
  /** It was ended as it should be. */
  remove(): Promise<void>
}

const ending = '.begun'
// Who comes later is noted within this time.
const renewMs = 5000
// A page holds a second at most (media/mix/ogg.ts).
const tailBytes = 131_072
const headBytes = 4096
const rate = 48_000

/** Notes a recording that begins; `people` may grow until it ends. */
export async function noteBegun(
  directory: string,
  begun: Begun,
  people: ReadonlySet<string>,
  log?: Logger,
): Promise<Note> {
  const file = join(directory, begun.id + ending)
  let noted = -1
  const write = async () => {
    if (noted === people.size) return
    noted = people.size
    await writeFile(`${file}~`, JSON.stringify({ ...begun, people: [...people] }), { mode: 0o600 })
    await rename(`${file}~`, file)
  }
  await write()
  let turn = Promise.resolve()
  const renewal = setInterval(() => {
    turn = turn.then(write).catch((error: unknown) => log?.warn({ err: error }, 'a recording could not be noted'))
  }, renewMs)
  renewal.unref()
  return {
    async remove() {
      clearInterval(renewal)
      await turn
      await rm(file, { force: true })
    },
  }
}

/** Closes and lists what an earlier run of this node has left; how many recordings. Run before anything is recorded. */
export async function closeUnfinished(deps: { database: Database; directory: string; log: Logger }): Promise<number> {
  const { database, directory, log } = deps
  const all = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  let count = 0
  for (const note of all.filter(name => name.endsWith(ending))) {
    try {
      const row = await rowOf(directory, note, all)
      if (row)
        await database.query
          .insertInto('recordings')
          .values(row)
          .onConflict(known => known.doNothing())
          .execute()
      if (row) count++
      await rm(join(directory, note))
    } catch (error) {
      log.error({ err: error, note }, 'a recording that was not ended could not be closed')
    }
  }
  if (count > 0) log.warn({ recordings: count }, 'recordings that an earlier run had not ended are closed and listed')
  return count
}

async function rowOf(directory: string, note: string, all: readonly string[]): Promise<RecordingsTable | undefined> {
  const text = await readFile(join(directory, note), 'utf8')
  const { id, meeting, address, started, people } = JSON.parse(text) as Begun & { people: string[] }
  const own = all.filter(name => name.endsWith('.opus') && (name === `${id}.opus` || name.startsWith(`${id}-`)))
  const closed = await Promise.all(own.map(name => closeFile(directory, name)))
  const files = closed.filter(file => file !== undefined).toSorted((a, b) => (a.speaker < b.speaker ? -1 : 1))
  if (files.length === 0) return undefined
  const seconds = Math.max(...files.map(file => file.seconds))
  const ended = new Date(Date.parse(started) + seconds * 1000).toISOString()
  const common = { id, meeting, address, started, ended, seconds: Math.round(seconds), node: '' }
  return { ...common, people: JSON.stringify(people), files: JSON.stringify(files) }
}

/** Cuts off a page that was only half written (RFC 3533); undefined when there is no sound in it. */
async function closeFile(directory: string, name: string): Promise<RecordedFile | undefined> {
  const handle = await open(join(directory, name), 'r+')
  try {
    const { size } = await handle.stat()
    const from = Math.max(0, size - tailBytes)
    const tail = Buffer.alloc(size - from)
    await handle.read(tail, 0, tail.length, from)
    const last = lastPage(tail)
    if (last === undefined || last.samples === 0) return undefined
    const bytes = from + last.end
    if (bytes < size) await handle.truncate(bytes)
    const head = Buffer.alloc(Math.min(headBytes, size))
    await handle.read(head, 0, head.length, 0)
    return { file: name, speaker: artistIn(head), seconds: last.samples / rate, bytes }
  } finally {
    await handle.close()
  }
}

/** The last whole page: where it ends, and how many samples there are until then. */
function lastPage(bytes: Buffer): { end: number; samples: number } | undefined {
  for (let at = bytes.lastIndexOf('OggS'); at >= 0; at = at === 0 ? -1 : bytes.lastIndexOf('OggS', at - 1)) {
    const segments = bytes[at + 26]
    if (segments === undefined || at + 27 + segments > bytes.length) continue
    const end = bytes.subarray(at + 27, at + 27 + segments).reduce((sum, length) => sum + length, at + 27 + segments)
    if (end <= bytes.length) return { end, samples: Number(bytes.readBigInt64LE(at + 6)) }
  }
  return undefined
}

/** Who speaks, as the comment header says (RFC 7845 section 5.2); '' for the mix. */
function artistIn(head: Buffer): string {
  const tag = 'ARTIST='
  const at = head.indexOf(tag)
  if (at < 4) return ''
  return head.toString('utf8', at + tag.length, at + head.readUInt32LE(at - 4))
}
