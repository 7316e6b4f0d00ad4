import type { types } from 'mediasoup'
import type { AudioEngine } from '../audio/audio.ts'
import type { Pool, PooledWorker } from '../worker/pool.ts'
import { openTrunk, prepareRouter, type Trunk } from './trunk.ts'

/** The router of one worker, its trunk to the audio thread, and how much it carries. */
export interface Place {
  readonly worker: PooledWorker
  readonly router: types.Router
  /** What descriptions may hold: the router itself knows telephone events by another name. */
  readonly capabilities: types.RtpCapabilities
  /** Made on first use, and anew after the audio thread has died. */
  trunk(): Promise<Trunk>
  /** A producer of another place on this one's router. */
  pipe(producer: types.Producer, from: Place): Promise<types.Producer | undefined>
  /** Consumers that legs have here now. */
  consumers: number
  legs: number
}

export interface Placement {
  /** A place for a leg: where the others of its call or meeting are while there is room, else on the least loaded worker. */
  take(near?: string): Promise<Place>
  /** The leg that was given the place is gone, or moves. */
  give(place: Place, near?: string): void
  /** The audio thread has died: trunks must be made anew. */
  reset(): void
  /** The worker has died. */
  drop(worker: PooledWorker): void
  close(): Promise<void>
}

export interface PlacementDeps {
  pool: Pool
  audio: AudioEngine
  trunkPorts: { min: number; max: number }
  /** Consumers after which a call's or meeting's next leg goes to another worker. */
  most: number
}

export function createPlacement(deps: PlacementDeps): Placement {
  const places = new Map<PooledWorker, Promise<Place>>()
  const made = new Map<PooledWorker, OpenPlace>()
  const near = new Map<string, { place: Place; legs: number }>()

  const placeOf = (worker: PooledWorker): Promise<Place> => {
    let place = places.get(worker)
    if (place === undefined) {
      place = makePlace(deps, worker).then(one => {
        made.set(worker, one)
        return one
      })
      places.set(worker, place)
      place.catch(() => places.delete(worker))
    }
    return place
  }

  return {
    async take(word) {
      const known = word === undefined ? undefined : near.get(word)
      const roomy = known !== undefined && !known.place.router.closed && known.place.consumers < deps.most
      const place = roomy ? known.place : await placeOf(await deps.pool.take())
      place.legs += 1
      if (word !== undefined) near.set(word, { place, legs: (near.get(word)?.legs ?? 0) + 1 })
      return place
    },
    give(place, word) {
      place.legs -= 1
      const known = word === undefined ? undefined : near.get(word)
      if (known === undefined || word === undefined) return
      known.legs -= 1
      if (known.legs <= 0) near.delete(word)
    },
    reset() {
      for (const place of made.values()) place.reset()
    },
    drop(worker) {
      const place = made.get(worker)
      places.delete(worker)
      made.delete(worker)
      for (const [word, one] of near) if (one.place === place) near.delete(word)
      void place?.close()
    },
    async close() {
      const open = [...made.values()]
      places.clear()
      made.clear()
      await Promise.all(open.map(place => place.close()))
    },
  }
}

interface OpenPlace extends Place {
  reset(): void
  close(): Promise<void>
}

async function makePlace(deps: PlacementDeps, worker: PooledWorker): Promise<OpenPlace> {
  const router = await worker.router()
  const capabilities = structuredClone(router.rtpCapabilities)
  prepareRouter(router)
  const piped = new WeakMap<types.Producer, Promise<types.Producer | undefined>>()
  let trunk: Promise<Trunk> | undefined
  return {
    worker,
    router,
    capabilities,
    consumers: 0,
    legs: 0,
    trunk() {
      if (trunk === undefined) {
        const opening = openTrunk(router, deps.audio, deps.trunkPorts)
        trunk = opening
        opening.catch(() => {
          if (trunk === opening) trunk = undefined
        })
      }
      return trunk
    },
    pipe(producer, from) {
      let there = piped.get(producer)
      if (there === undefined) {
        there = from.router
          .pipeToRouter({ producerId: producer.id, router, enableRtx: producer.kind === 'video', enableSctp: false })
          .then(result => result.pipeProducer)
        piped.set(producer, there)
        there.catch(() => piped.delete(producer))
      }
      return there
    },
    reset() {
      // The thread took its sockets with it, so only the worker's half is left to close.
      void trunk?.then(one => one.close()).catch(() => undefined)
      trunk = undefined
    },
    async close() {
      const open = await trunk?.catch(() => undefined)
      trunk = undefined
      await open?.close()
    },
  }
}
