import { randomBytes } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { sql } from 'kysely'
import type { RecordingWish, Tape } from '../calls/taping.ts'
import type { Database } from '../database/database.ts'
import type { RecordingsTable } from '../database/migrations.ts'
import { Refusal } from '../errors.ts'
import type { Media, RecordedFile } from '../media/media.ts'
import { noteBegun } from './unfinished.ts'

/** A recording that is over. Times are ISO 8601, UTC; file names are without directory. */
export interface Recording {
  id: string
  /** Id of the meeting or call. */
  meeting: string
  /** URI of the meeting, or of who was called. */
  address: string
  started: string
  ended: string
  seconds: number
  /** AORs that may hear it. */
  people: readonly string[]
  files: readonly RecordedFile[]
  /** The node of a cluster that has the files; '' for this one, by itself. */
  node: string
}

export interface Recordings {
  begin(wish: RecordingWish): Promise<Tape>
  /** Newest first; `user` is an AOR that was in the meeting. */
  list(filter?: { user?: string; limit?: number }): Promise<Recording[]>
  get(id: string): Promise<Recording | undefined>
  /** Where a file of it lies. */
  path(file: string): string
  /** Removes a recording and its files. Refuses `not-found`. */
  remove(id: string): Promise<void>
}

/** Recordings of meetings and calls: sound in a directory that only the server reads, the rest in the database. */
export function createRecordings(deps: {
  database: Database
  media: Pick<Media, 'record'>
  directory: string
  now(): number
}): Recordings {
  const { media, directory, now } = deps
  const { query } = deps.database
  const path = (file: string) => join(directory, basename(file))

  async function get(id: string): Promise<Recording | undefined> {
    const row = await query.selectFrom('recordings').selectAll().where('id', '=', id).executeTakeFirst()
    return row && toRecording(row)
  }

  return {
    async begin({ room, meeting, address, people }) {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      const id = randomBytes(8).toString('hex')
      const began = now()
      const started = new Date(began).toISOString()
      const finish = await media.record(room, { directory, name: id, perSpeaker: true })
      const note = await noteBegun(directory, { id, meeting, address, started }, people)
      let stopped: Promise<void> | undefined
      const stop = async () => {
        const files = await finish()
        const ended = now()
        const row: RecordingsTable = {
          id,
          meeting,
          address,
          started,
          ended: new Date(ended).toISOString(),
          seconds: Math.round((ended - began) / 1000),
          people: JSON.stringify([...people]),
          files: JSON.stringify(files.map(one => ({ ...one, file: basename(one.file) }))),
          node: '',
        }
        await query.insertInto('recordings').values(row).execute()
        await note.remove()
      }
      return { stop: () => (stopped ??= stop()) }
    },
    async list({ user, limit = 100 } = {}) {
      let rows = query.selectFrom('recordings').selectAll().orderBy('started', 'desc').limit(limit)
      // An AOR stands in the list between quotes, and holds none itself.
      if (user !== undefined) rows = rows.where(sql<boolean>`instr(people, ${JSON.stringify(user)}) > 0`)
      return (await rows.execute()).map(toRecording)
    },
    get,
    path,
    async remove(id) {
      const found = await get(id)
      if (found === undefined) throw new Refusal('not-found', 'there is no such recording')
      await dropFiles(directory, found.files)
      await query.deleteFrom('recordings').where('id', '=', id).execute()
    },
  }
}

/** Takes away those of a recording's files that are here; `files` may be as in the table. */
export async function dropFiles(directory: string, files: readonly RecordedFile[] | string): Promise<void> {
  const all = typeof files === 'string' ? (JSON.parse(files) as RecordedFile[]) : files
  await Promise.all(all.map(({ file }) => rm(join(directory, basename(file)), { force: true })))
}

function toRecording(row: RecordingsTable): Recording {
  return {
    ...row,
    people: JSON.parse(row.people) as string[],
    files: JSON.parse(row.files) as RecordedFile[],
  }
}
