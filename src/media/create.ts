import { createFreeSwitch } from './freeswitch.ts'
import type { LegsDeps } from './legs/legs.ts'
import type { Media, MediaLoad } from './media.ts'

export type MediaDeps = Omit<LegsDeps, 'freeswitch'> & {
  /** The SIP application (drachtio-srf), which calls a FreeSWITCH where one mixes. */
  srf: object
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
 * nor mediasoup, for a server whose phones talk to each other directly needs none. Only a FreeSWITCH that is to mix is
 * connected to at once. Throws a Refusal `bad-config` when that has no secret.
 */
export function createMedia(deps: MediaDeps): Media {
  const freeswitch =
    deps.config.mixer === 'freeswitch' ? createFreeSwitch({ ...deps, ...deps.config.freeswitch }) : undefined
  let loading: Promise<Omit<Media, 'state'>> | undefined
  let loaded: Omit<Media, 'state'> | undefined

  const media = () => {
    loading ??= import('./legs/legs.ts').then(({ createLegs }) => {
      loaded = createLegs({ ...deps, freeswitch })
      return loaded
    })
    return loading
  }

  return {
    state: () => ({ ...deps.arrival.state(), ...(freeswitch && { mixer: freeswitch.state() }) }),
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
      await freeswitch?.close()
    },
  }
}
