import type { Config } from '../config/schema.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { AddressWatch } from '../network/interfaces.ts'
import type { Media, MediaLoad, MediaState } from './media.ts'

export interface MediaDeps {
  config: Config['media']
  addresses: AddressWatch
  publicAddress: string
  /** The way of the SFU worker onto this machine. */
  arrival: { state(): MediaState; binary(): Promise<string> }
  events: Events
  log: Logger
  now: () => number
}

const idle: MediaLoad = {
  workers: [],
  ports: 0,
  rooms: 0,
  audioCpuSeconds: 0,
  packets: { in: 0, out: 0, dropped: 0 },
}

/**
 * The media room. Nothing of it is loaded or started before the first leg or room: neither the audio thread, nor workers,
 * nor mediasoup, for a server whose phones talk to each other directly needs none.
 */
export function createMedia(deps: MediaDeps): Media {
  let loading: Promise<Omit<Media, 'state'>> | undefined
  let loaded: Omit<Media, 'state'> | undefined

  const media = () => {
    loading ??= import('./legs/legs.ts').then(({ createLegs }) => {
      loaded = createLegs(deps)
      return loaded
    })
    return loading
  }

  return {
    state: () => deps.arrival.state(),
    allocate: async wish => (await media()).allocate(wish),
    answer: async (leg, sdp) => (await media()).answer(leg, sdp),
    offer: async (leg, change) => (await media()).offer(leg, change),
    accept: async (leg, offer, streams) => (await media()).accept(leg, offer, streams),
    streams: leg => loaded?.streams(leg) ?? [],
    join: async (leg, room, as) => (await media()).join(leg, room, as),
    leave: async leg => (await media()).leave(leg),
    release: async leg => loaded?.release(leg),
    migrate: async leg => (await media()).migrate(leg),
    load: () => loaded?.load() ?? idle,
    open: async room => (await media()).open(room),
    shut: async room => loaded?.shut(room),
    play: async (to, prompt, options) => (await media()).play(to, prompt, options),
    record: async (room, files) => (await media()).record(room, files),
    async close() {
      await (await loading)?.close()
    },
  }
}
