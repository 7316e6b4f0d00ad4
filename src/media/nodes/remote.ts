import { randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { Refusal } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { LegWish, Media, MediaLoad, RecordedFile, RoomWish, Stream } from '../media.ts'
import type { Ears } from './ears.ts'
import { createHealth } from './health.ts'
import {
  type Asking,
  type Condition,
  type RecordedPart,
  type Told,
  toJson,
  verbs,
  type Work,
  type WorkName,
} from './wire.ts'

export interface RemoteDeps {
  /** Name of the media node. */
  node: string
  bus: Asking
  ears: Ears
  /** All that was there is gone, and its events with it. Without this, each leg hears `lost`. */
  onLost?: ((why: string) => void) | undefined
  log: Logger
}

export interface RemoteMedia extends Media {
  /** How the node was when it last answered; undefined while it does not. */
  condition(): Condition | undefined
  /** Others say that this life of it has ended. */
  buried(life: string): void
}

// A node that answers at all may take its time: the first leg of all starts its worker.
const workMs = 15_000
const readyMs = 1500

const idle: MediaLoad = {
  workers: [],
  ports: 0,
  rooms: 0,
  audioCpuSeconds: 0,
  packets: { in: 0, out: 0, dropped: 0 },
}

interface Asked {
  reject(error: Refusal): void
}

/** The media room of another node, over the bus. What it is asked for is refused `media-unavailable` once it does not answer. */
export function createRemoteMedia(deps: RemoteDeps): RemoteMedia {
  const { node, bus, log } = deps
  const legs = new Map<string, { onEvent: LegWish['onEvent']; streams: Stream[] }>()
  const rooms = new Map<string, RoomWish['onSpeaker']>()
  const playings = new Map<string, () => void>()
  const pending = new Set<Asked>()
  const waiting = new Set<() => void>()
  let session = randomName('session')
  let deaf = deps.ears.listen(session, hear)
  let condition: Condition | undefined
  let asked = 0
  let closed = false

  const health = createHealth({
    node,
    bus,
    session: () => session,
    inUse: () => legs.size + rooms.size + pending.size > 0,
    onAnswer(answer) {
      condition = answer
      for (const go of [...waiting]) go()
    },
    onLost: lose,
  })

  function hear(told: Told): void {
    if ('leg' in told) {
      const leg = legs.get(told.leg)
      leg?.onEvent?.(told.event)
    } else if ('room' in told) rooms.get(told.room)?.(told.speaker ?? undefined)
    else playings.get(told.playing)?.()
  }

  function lose(why: string): void {
    const refusal = unavailable(why)
    for (const one of [...pending]) one.reject(refusal)
    // One that was not there before is not lost again each time it does not answer.
    if (condition === undefined && legs.size + rooms.size === 0 && !closed) return
    deaf()
    condition = undefined
    const gone = [...legs.values()]
    if (gone.length + rooms.size > 0) log.error({ media: node, legs: gone.length, why }, 'a media node is lost')
    legs.clear()
    rooms.clear()
    for (const ended of [...playings.values()]) ended()
    if (closed) return
    session = randomName('session')
    deaf = deps.ears.listen(session, hear)
    if (deps.onLost !== undefined) return deps.onLost(why)
    for (const { onEvent } of gone) onEvent?.({ type: 'lost', why: `media node ${node}: ${why}` })
  }

  function unavailable(why: string): Refusal {
    return new Refusal('media-unavailable', `media node ${node}: ${why}`)
  }

  /** Asks within this session; what is there no more is not waited for. */
  function work<N extends WorkName>(verb: N, ask: Work[N]['ask'], timeoutMs = workMs): Promise<Work[N]['answer']> {
    if (closed) return Promise.reject(unavailable('this server is ending'))
    const within = session
    return new Promise((resolve, reject) => {
      const one: Asked = { reject }
      pending.add(one)
      health.look()
      bus
        .ask(node, verbs.work, toJson({ session: within, number: ++asked, verb, ...ask }), timeoutMs)
        .then(
          answer => resolve(answer as Work[N]['answer']),
          (error: unknown) => reject(asOurs(error)),
        )
        .finally(() => pending.delete(one))
    })
  }

  function asOurs(error: unknown): unknown {
    return error instanceof Refusal && error.code === 'node-unavailable' ? unavailable(error.message) : error
  }

  /** Resolves when it has answered for the first time, or again. */
  function ready(): Promise<void> {
    if (condition !== undefined) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const settle = (how: () => void) => {
        clearTimeout(timer)
        waiting.delete(go)
        how()
      }
      const go = () => settle(resolve)
      const timer = setTimeout(() => settle(() => reject(unavailable('it does not answer'))), readyMs)
      waiting.add(go)
      health.look()
    })
  }

  function legOf(leg: string) {
    const known = legs.get(leg)
    if (known === undefined) throw new Refusal('no-such-call', 'There is no such leg')
    return known
  }

  async function fetchFile(recording: string, { file }: RecordedPart, to: string): Promise<void> {
    const out = await open(to, 'wx', 0o600)
    try {
      let offset = 0
      for (let done = false; !done; ) {
        const answer = await work('fetch', { recording, file, offset })
        const piece = Buffer.from(answer.piece, 'base64')
        await out.write(piece)
        offset += piece.length
        done = answer.done
      }
    } finally {
      await out.close()
    }
  }

  /** What we do not want any more; a node that is not there has it no more either. */
  function forget(what: Promise<unknown>): Promise<void> {
    return what.then(
      () => undefined,
      (error: unknown) => log.debug({ media: node, err: error }, 'a media node was not told of an end'),
    )
  }

  return {
    condition: () => condition,
    buried(life) {
      if (condition?.life === life) lose('it has died')
    },
    state: () => condition?.state ?? { sfu: 'unavailable', why: `media node ${node} does not answer` },
    load: () => condition?.load ?? idle,
    async allocate(wish) {
      await ready()
      const leg = randomName('leg')
      const { onEvent, ...rest } = wish
      const known = { onEvent, streams: [] as Stream[] }
      legs.set(leg, known)
      try {
        const { sdp, streams } = await work('allocate', { leg, wish: rest })
        known.streams = streams
        return { leg, sdp }
      } catch (error) {
        // Whether it was made is not known.
        if (legs.delete(leg)) void forget(work('release', { leg }))
        throw error
      }
    },
    async answer(leg, sdp) {
      const known = legOf(leg)
      known.streams = (await work('answer', { leg, sdp })).streams
    },
    async offer(leg, change) {
      legOf(leg)
      return (await work('offer', change === undefined ? { leg } : { leg, change })).sdp
    },
    async accept(leg, offer, streams) {
      const known = legOf(leg)
      const answer = await work('accept', streams === undefined ? { leg, offer } : { leg, offer, streams })
      known.streams = answer.streams
      return answer.sdp
    },
    streams: leg => legOf(leg).streams,
    async join(leg, room, as) {
      legOf(leg)
      await work('join', as === undefined ? { leg, room } : { leg, room, as })
    },
    async leave(leg) {
      legOf(leg)
      await work('leave', { leg })
    },
    async release(leg) {
      if (legs.delete(leg)) await forget(work('release', { leg }))
    },
    async migrate(leg) {
      legOf(leg)
      await work('migrate', { leg })
    },
    async open(wish) {
      await ready()
      const room = randomName('room')
      const { onSpeaker, ...rest } = wish
      rooms.set(room, onSpeaker)
      try {
        await work('open', { room, wish: rest })
        return room
      } catch (error) {
        if (rooms.delete(room)) void forget(work('shut', { room }))
        throw error
      }
    },
    async shut(room) {
      if (rooms.delete(room)) await forget(work('shut', { room }))
    },
    async play(to, prompt, options = {}) {
      const playing = randomName('play')
      const done = Promise.withResolvers<void>()
      const ended = () => {
        playings.delete(playing)
        done.resolve()
      }
      playings.set(playing, ended)
      await work('play', { playing, to, prompt, ...options }).catch((error: unknown) => {
        ended()
        throw error
      })
      return {
        done: done.promise,
        stop() {
          if (!playings.has(playing)) return
          ended()
          void forget(work('hush', { playing }))
        },
      }
    },
    async record(room, { directory, name, perSpeaker }) {
      const recording = randomName('recording')
      await work('record', { recording, room, name, perSpeaker })
      let stopped: Promise<RecordedFile[]> | undefined
      const stop = async () => {
        const { files } = await work('stopRecord', { recording })
        for (const one of files) await fetchFile(recording, one, join(directory, one.file))
        void forget(work('drop', { recording }))
        return files.map(one => ({ ...one, file: join(directory, one.file) }))
      }
      return () => (stopped ??= stop())
    },
    async close() {
      if (closed) return
      await Promise.all([...legs.keys()].map(leg => forget(work('release', { leg }, 1000))))
      closed = true
      health.close()
      lose('this server is ending')
    },
  }
}

const randomName = (what: string) => `${what}-${randomBytes(6).toString('hex')}`
