import { mkdir, open, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Refusal } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { LegEvent, Media, Playing, RecordedFile } from '../media.ts'
import { createTelling } from './telling.ts'
import type { Json, PlayTo, Tellings, Work, WorkName } from './wire.ts'

export interface SessionDeps {
  id: string
  media: Media
  directory: string
  tell(tellings: Tellings): Promise<unknown>
  /** The other side takes in nothing any more. */
  onDeaf(): void
  log: Logger
}

/** All that one other node has on this one. */
export interface Session {
  /** What comes again under a number, by another way, gets the same answer. */
  work(number: number, verb: string, ask: object): Promise<Json>
  legs(): number
  close(): Promise<void>
}

type Steps = { [N in WorkName]: (ask: Work[N]['ask']) => Promise<Work[N]['answer']> }

interface Recorded {
  stop(): Promise<RecordedFile[]>
  directory: string
}

const pieceBytes = 256 * 1024
const mostAnswers = 500

export function createSession(deps: SessionDeps): Session {
  const { media, log } = deps
  /** By the names of who asked; '' is one that is being made. */
  const legs = new Map<string, string>()
  const names = new Map<string, string>()
  const rooms = new Map<string, string>()
  const playings = new Map<string, Playing>()
  const recordings = new Map<string, Recorded>()
  const telling = createTelling({ session: deps.id, tell: deps.tell, onDeaf: deps.onDeaf })
  const answers = new Map<number, Promise<Json>>()
  let newest = 0
  let closed = false

  const legOf = (name: string) => {
    const leg = legs.get(name)
    if (!leg) throw new Refusal('no-such-call', 'There is no such leg')
    return leg
  }
  const roomOf = (name: string) => {
    const room = rooms.get(name)
    if (room === undefined) throw new Refusal('not-found', 'There is no such room')
    return room
  }
  const recordingOf = (name: string) => {
    const recording = recordings.get(name)
    if (recording === undefined) throw new Refusal('not-found', 'There is no such recording')
    return recording
  }
  const place = (to: PlayTo) => ('leg' in to ? { leg: legOf(to.leg) } : { room: roomOf(to.room) })

  function tellOf(name: string, event: LegEvent): void {
    const shows = event.type === 'tile' || event.type === 'slot'
    const seen = shows && event.leg !== undefined ? { ...event, leg: names.get(event.leg) } : event
    telling.add({ leg: name, event: seen })
  }

  async function release(name: string): Promise<null> {
    const leg = legs.get(name)
    legs.delete(name)
    if (leg) {
      await media.release(leg)
      names.delete(leg)
    }
    return null
  }

  const steps: Steps = {
    async allocate({ leg: name, wish }) {
      legs.set(name, '')
      try {
        const { leg, sdp } = await media.allocate({ ...wish, onEvent: event => tellOf(name, event) })
        if (!legs.has(name) || closed) {
          await media.release(leg)
          throw new Refusal('request-terminated')
        }
        legs.set(name, leg)
        names.set(leg, name)
        return { sdp, streams: media.streams(leg) }
      } catch (error) {
        legs.delete(name)
        throw error
      }
    },
    async answer({ leg, sdp }) {
      await media.answer(legOf(leg), sdp)
      return { streams: media.streams(legOf(leg)) }
    },
    offer: async ({ leg, change }) => ({ sdp: await media.offer(legOf(leg), change) }),
    async accept({ leg, offer, streams }) {
      const sdp = await media.accept(legOf(leg), offer, streams)
      return { sdp, streams: media.streams(legOf(leg)) }
    },
    async join({ leg, room, as }) {
      await media.join(legOf(leg), roomOf(room), as)
      return null
    },
    async leave({ leg }) {
      await media.leave(legOf(leg))
      return null
    },
    release: ({ leg }) => release(leg),
    async migrate({ leg }) {
      await media.migrate(legOf(leg))
      return null
    },
    async open({ room: name, wish }) {
      const onSpeaker = (leg: string | undefined) =>
        telling.add({ room: name, speaker: (leg === undefined ? undefined : names.get(leg)) ?? null })
      rooms.set(name, await media.open({ ...wish, onSpeaker }))
      return null
    },
    async shut({ room: name }) {
      const room = rooms.get(name)
      rooms.delete(name)
      if (room !== undefined) await media.shut(room)
      return null
    },
    async play({ playing: name, to, prompt, loop }) {
      const playing = await media.play(place(to), prompt, loop ? { loop } : {})
      playings.set(name, playing)
      void playing.done.then(() => {
        if (playings.delete(name)) telling.add({ playing: name })
      })
      return null
    },
    async hush({ playing: name }) {
      const playing = playings.get(name)
      playings.delete(name)
      playing?.stop()
      return null
    },
    async record({ recording: name, room, name: files, perSpeaker }) {
      const directory = join(deps.directory, basename(name))
      await mkdir(directory, { recursive: true, mode: 0o700 })
      const stop = await media.record(roomOf(room), { directory, name: basename(files), perSpeaker })
      recordings.set(name, { stop, directory })
      return null
    },
    async stopRecord({ recording }) {
      const files = await recordingOf(recording).stop()
      return { files: files.map(one => ({ ...one, file: basename(one.file) })) }
    },
    fetch: ({ recording, file, offset }) => readPiece(join(recordingOf(recording).directory, basename(file)), offset),
    async drop({ recording: name }) {
      const { directory } = recordingOf(name)
      recordings.delete(name)
      await rm(directory, { recursive: true, force: true })
      return null
    },
  }

  async function step(verb: string, ask: object): Promise<Json> {
    if (!Object.hasOwn(steps, verb)) throw new Refusal('bad-request', `media nodes know no '${verb}'`)
    const how = steps[verb as WorkName] as (ask: object) => Promise<unknown>
    return (await how(ask)) as Json
  }

  async function closeAll(): Promise<void> {
    telling.close()
    for (const playing of playings.values()) playing.stop()
    const failed = (error: unknown) => log.warn({ err: error }, 'what another node had here did not end well')
    await Promise.all([...recordings.values()].map(one => one.stop().catch(failed)))
    await Promise.all([...legs.keys()].map(name => release(name).catch(failed)))
    await Promise.all([...rooms.values()].map(room => media.shut(room).catch(failed)))
    await rm(deps.directory, { recursive: true, force: true }).catch(failed)
  }

  return {
    work(number, verb, ask) {
      // A piece of a file is large, and may be read twice.
      if (verb === 'fetch') return step(verb, ask)
      const known = answers.get(number)
      if (known !== undefined) return known
      if (number <= newest - mostAnswers) return Promise.reject(new Refusal('bad-request', 'it was asked too long ago'))
      const answer = step(verb, ask)
      answers.set(number, answer)
      newest = Math.max(newest, number)
      if (answers.size > mostAnswers) answers.delete(answers.keys().next().value!)
      return answer
    },
    legs: () => legs.size,
    async close() {
      if (closed) return
      closed = true
      await closeAll()
    },
  }
}

async function readPiece(path: string, offset: number): Promise<{ piece: string; done: boolean }> {
  const file = await open(path)
  try {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(pieceBytes), 0, pieceBytes, offset)
    return { piece: buffer.toString('base64', 0, bytesRead), done: bytesRead < pieceBytes }
  } finally {
    await file.close()
  }
}
