import { randomBytes } from 'node:crypto'
import type { Config } from '../../config/schema.ts'
import { Refusal } from '../../errors.ts'
import type { Events } from '../../events.ts'
import type { Logger } from '../../log.ts'
import type { AddressWatch } from '../../network/interfaces.ts'
import type { AudioEvent, AudioStats } from '../audio/audio.ts'
import { createAudioEngine } from '../audio/engine.ts'
import { parseRange } from '../audio/sockets.ts'
import type { FreeSwitch } from '../freeswitch.ts'
import type { LegEvent, LegWish, Media, MediaState } from '../media.ts'
import { createEmbeddedMixer } from '../mixer-embedded.ts'
import { createFreeSwitchMixer } from '../mixer-freeswitch.ts'
import type { Pool, PooledWorker } from '../worker/pool.ts'
import type { Leg } from './leg.ts'
import { addressTowards } from './local-address.ts'
import { createPlacement, type Placement } from './place.ts'
import { PlainLeg } from './plain-leg.ts'
import { createPlayer } from './playing.ts'
import { createRooms } from './rooms.ts'
import { WebRtcLeg } from './webrtc-leg.ts'

// A worker sends some 500 streams a core; some are left for those who come back.
const mostConsumers = 400
const mostLegs = 20_000
const statsMs = 1000

export interface LegsDeps {
  config: Config['media']
  addresses: AddressWatch
  publicAddress: string
  /** The way of the SFU worker onto this machine. */
  arrival: { state(): MediaState; binary(): Promise<string> }
  /** What mixes meetings, unless the audio thread does. */
  freeswitch: FreeSwitch | undefined
  events: Events
  log: Logger
  now: () => number
}

interface Kept {
  leg: PlainLeg | WebRtcLeg
  near: string | undefined
}

/** All legs and rooms, on the audio thread and the workers. The rest of the seam is `createMedia`'s. */
export function createLegs(deps: LegsDeps): Omit<Media, 'state'> {
  const { config, events, log, now } = deps
  const audio = createAudioEngine({ config, log: log.child({ part: 'audio' }) })
  const player = createPlayer(audio)
  const mixer =
    deps.freeswitch === undefined
      ? createEmbeddedMixer(audio)
      : createFreeSwitchMixer({ audio, freeswitch: deps.freeswitch, emit: heard, events, log })
  const rooms = createRooms({ audio, mixer, speakers: config.speakers, log, onMixGone: player.gone })
  const legs = new Map<string, Kept>()
  const byEnd = new Map<string, Leg>()
  let pool: Promise<{ pool: Pool; placement: Placement }> | undefined
  let workers: Pool | undefined
  let closing: Promise<void> | undefined
  let stats: AudioStats | undefined
  let polling: NodeJS.Timeout | undefined

  const workersOnce = () => {
    pool ??= openPool()
    return pool
  }

  async function openPool() {
    const { createPool } = await import('../worker/pool.ts')
    const opened = createPool({
      binary: deps.arrival.binary,
      config,
      addresses: deps.addresses,
      publicAddress: deps.publicAddress,
      log: log.child({ part: 'workers' }),
      events,
      onDied: worker => void died(worker),
    })
    const { first: min, last: max } = parseRange(config.trunkPorts)
    const placement = createPlacement({ pool: opened, audio, trunkPorts: { min, max }, most: mostConsumers })
    workers = opened
    return { pool: opened, placement }
  }

  function kept(id: string): Kept {
    const one = legs.get(id)
    if (one === undefined) throw new Refusal('no-such-call', 'There is no such leg')
    return one
  }

  const onEnd = (leg: () => Leg) => (end: string, open: boolean) => {
    if (open) byEnd.set(end, leg())
    else {
      byEnd.delete(end)
      player.gone(end)
    }
  }

  async function make(wish: LegWish): Promise<Kept> {
    const id = `leg-${randomBytes(6).toString('hex')}`
    const child = log.child({ leg: id, profile: wish.profile, ...wish.label })
    const tell = (event: LegEvent) => wish.onEvent?.(event)
    let leg: PlainLeg | WebRtcLeg
    const common = { id, log: child, now, tell, onEnd: onEnd(() => leg), onAgreed: () => rooms.changed(leg) }
    if (wish.profile === 'plain') {
      const address = addressTowards(wish.towards, deps.addresses.current(), deps.publicAddress)
      if (address === undefined) throw new Refusal('media-unavailable', 'This machine has no address')
      leg = new PlainLeg({ ...common, audio, address }, wish)
      return { leg, near: undefined }
    }
    const state = deps.arrival.state()
    if (state.sfu !== 'ready') throw new Refusal('media-unavailable', state.why)
    const { placement } = await workersOnce()
    leg = new WebRtcLeg({ ...common, place: await placement.take(wish.near) }, wish)
    return { leg, near: wish.near }
  }

  async function release(id: string): Promise<void> {
    const one = legs.get(id)
    if (one === undefined) return
    legs.delete(id)
    const { leg, near } = one
    events.emit('legClosed', { leg: id, profile: leg.profile, ms: now() - leg.born })
    // Whatever has died meanwhile, the rest of it ends.
    const failed = (error: unknown) => leg.log.warn({ err: error }, 'a leg did not end well')
    await rooms.leave(leg).catch(failed)
    await leg.close().catch(failed)
    if (leg instanceof WebRtcLeg) (await pool)?.placement.give(leg.place, near)
    leg.log.debug('released')
    if (legs.size > 0) return
    clearInterval(polling)
    polling = undefined
    await poll()
  }

  async function moveTo(one: Kept, leg: WebRtcLeg, near: string | undefined): Promise<void> {
    const { placement } = await workersOnce()
    const before = leg.place
    const place = await placement.take(near)
    // All transports of a worker have one certificate: a browser that is shown it again begins no DTLS with another.
    if (place === before) return placement.give(place, near)
    placement.give(before, one.near)
    one.near = near
    await leg.rebuild(place)
  }

  async function died(worker: PooledWorker): Promise<void> {
    const { placement } = await workersOnce()
    const lost = [...legs.values()].filter(({ leg }) => leg instanceof WebRtcLeg && leg.place.worker === worker)
    placement.drop(worker)
    log.error({ pid: worker.pid, legs: lost.length }, 'a media worker has died, its legs are rebuilt')
    await Promise.all(lost.map(one => rebuilt(one, () => moveTo(one, one.leg as WebRtcLeg, one.near))))
  }

  async function rebuilt(one: Kept, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!legs.has(one.leg.id)) return
      one.leg.log.error({ err: error }, 'a leg cannot be rebuilt')
      one.leg.tell({ type: 'lost', why: 'what carried it has died and cannot be replaced', carrier: true })
    }
  }

  audio.on(heard)

  function heard(event: AudioEvent): void {
    if (event.type === 'died') void voicesLost()
    else if (event.type === 'played') player.played(event.playing)
    else if ('mix' in event) rooms.heard(event)
    else if ('end' in event) tellLeg(event)
    else log.warn({ recording: event.recording, why: event.why }, 'a recording has ended by itself')
  }

  function tellLeg(event: Extract<AudioEvent, { end: string }>): void {
    const leg = byEnd.get(event.end)
    if (leg === undefined) return
    if (event.type === 'dtmf') leg.tell({ type: 'dtmf', digit: event.digit, ms: event.ms })
    else if (event.type === 'speaking') leg.tell({ type: 'speaking', on: event.on })
    // A browser that sends nothing (it is muted) is there all the same: its consent tells.
    else if (leg.profile === 'plain' && event.type === 'silent') leg.tell({ type: 'silent', ms: event.ms })
    else if (leg.profile === 'plain' && event.type === 'media') leg.tell({ type: 'media' })
  }

  async function voicesLost(): Promise<void> {
    player.reset()
    rooms.reset()
    byEnd.clear()
    ;(await pool?.catch(() => undefined))?.placement.reset()
    await Promise.all([...legs.values()].map(one => rebuilt(one, () => revoice(one.leg))))
  }

  const revoice = (leg: PlainLeg | WebRtcLeg) => (leg instanceof PlainLeg ? leg.rebuild() : leg.revoice())

  async function poll(): Promise<void> {
    // A thread that dies answers nothing, and is asked again.
    stats = await audio.stats().catch(() => stats)
  }

  function pollWhileBusy(): void {
    if (polling !== undefined) return
    polling = setInterval(() => void poll(), statsMs)
    polling.unref()
  }

  async function closeAll(): Promise<void> {
    clearInterval(polling)
    await Promise.all([...legs.keys()].map(release))
    await rooms.close()
    const open = await pool?.catch(() => undefined)
    await open?.placement.close()
    await open?.pool.close()
    await audio.close()
  }

  return {
    async allocate(wish) {
      if (closing !== undefined) throw new Refusal('media-unavailable', 'the server is ending')
      if (legs.size >= mostLegs) throw new Refusal('too-busy', 'There are too many legs')
      const one = await make(wish)
      const { leg } = one
      legs.set(leg.id, one)
      events.emit('legOpened', { leg: leg.id, profile: leg.profile })
      pollWhileBusy()
      try {
        const sdp = wish.offer === undefined ? await leg.offer() : await leg.accept(wish.offer, wish.streams)
        return { leg: leg.id, sdp }
      } catch (error) {
        await release(leg.id)
        throw error
      }
    },
    async answer(id, sdp) {
      await kept(id).leg.answer(sdp)
    },
    async offer(id, change) {
      return kept(id).leg.offer(change)
    },
    async accept(id, offer, streams) {
      return kept(id).leg.accept(offer, streams)
    },
    streams: id => kept(id).leg.streams(),
    async join(id, room, as = {}) {
      await rooms.join(kept(id).leg, room, as)
    },
    async leave(id) {
      await rooms.leave(kept(id).leg)
    },
    release,
    async migrate(id) {
      const one = kept(id)
      if (one.leg instanceof WebRtcLeg) await moveTo(one, one.leg, undefined)
    },
    load: () => ({
      workers: (workers?.list() ?? []).map(worker => ({
        pid: worker.pid,
        legs: [...legs.values()].filter(({ leg }) => leg instanceof WebRtcLeg && leg.place.worker === worker).length,
        cpuSeconds: worker.cpuSeconds(),
      })),
      ports: stats?.ports ?? 0,
      rooms: rooms.count(),
      audioCpuSeconds: stats?.cpuSeconds ?? 0,
      packets: stats?.packets ?? { in: 0, out: 0, dropped: 0 },
    }),
    open: async wish => rooms.open(wish),
    shut: rooms.shut,
    async play(to, prompt, options = {}) {
      return player.play(await targets(to), prompt, options.loop ?? false)
    },
    async record(id, files) {
      const room = rooms.get(id)
      const mix = await room.mix()
      // Of a mix that is made elsewhere there are no single speakers.
      const perSpeaker = files.perSpeaker && (await room.mixed()) === mix
      if (perSpeaker !== files.perSpeaker) log.warn({ room: id }, 'FreeSWITCH mixes: only the mix is recorded')
      const recording = await audio.record(mix, { ...files, perSpeaker }).catch(async error => {
        await room.unmix()
        throw error
      })
      let stopped: ReturnType<typeof audio.stopRecord> | undefined
      return () => {
        stopped ??= audio.stopRecord(recording).finally(() => room.unmix())
        return stopped
      }
    },
    close() {
      closing ??= closeAll()
      return closing
    },
  }

  async function targets(to: { leg: string } | { room: string }) {
    if ('leg' in to) return endsOf([kept(to.leg).leg])
    const room = rooms.get(to.room)
    const mix = await room.mixed()
    return mix === undefined ? endsOf(room.legs()) : [{ mix }]
  }

  function endsOf(all: readonly Leg[]): { end: string }[] {
    return all.flatMap(leg => {
      const voice = leg.voice()
      return voice === undefined ? [] : [{ end: voice.end }]
    })
  }
}
