import { threadId } from 'node:worker_threads'
import { Refusal } from '../../errors.ts'
import type { AudioEngine, AudioStats, TrunkEnd } from './audio.ts'
import { createEcho } from './echo.ts'
import type { End, Route } from './end.ts'
import { createHub, type Hub, type HubOptions } from './hub.ts'
import type { Inbound } from './inbound.ts'
import { createLink, type Link } from './link.ts'
import { createMeeting, type Meeting } from './meeting.ts'
import type { Mixing } from './mixing.ts'
import { openPort, type Port } from './port.ts'
import { createPorts, type PortRange } from './sockets.ts'
import { openTrunk, type Trunk, type TrunkStream } from './trunk.ts'

// Everything that lives in the audio thread, by id. It is the engine without the thread around it.

export type AudioHost = Omit<AudioEngine, 'on'>

export interface AudioHostOptions extends HubOptions {
  rtpPorts: PortRange
  trunkPorts: PortRange
  /** CPU seconds used so far, for `stats`. */
  cpuSeconds(): number
  /** Between two looks at what is silent or due for a report; 1 s. */
  lookMs?: number
}

// Far above what two cores can carry: only a mistake of ours could reach it.
const mostEnds = 20_000
const usualLookMs = 1000

export function createAudioHost(options: AudioHostOptions): AudioHost {
  const hub: Hub = createHub({
    ...options,
    emit(event) {
      if (event.type === 'played') playing.delete(event.playing)
      options.emit(event)
    },
  })
  const rtpPorts = createPorts(options.rtpPorts, options)
  const trunkPorts = createPorts(options.trunkPorts, options)
  const ports = new Map<string, Port>()
  const streams = new Map<string, { stream: TrunkStream; trunk: string }>()
  const trunks = new Map<string, Trunk>()
  const meetings = new Map<string, Meeting>()
  const playing = new Map<string, Mixing>()
  const recordings = new Map<string, { mixing: Mixing; stopped?: ReturnType<Mixing['stopRecord']> }>()
  let last = 0
  // Ids of a thread that has died must not mean something else in the next one.
  const nextId = (letter: string) => `${letter}${threadId}-${++last}`
  const timer = setInterval(() => {
    const now = hub.now()
    for (const port of ports.values()) port.tick(now)
    for (const trunk of trunks.values()) trunk.tick(now)
  }, options.lookMs ?? usualLookMs).unref()

  const endOf = (id: string): End => ports.get(id) ?? streams.get(id)?.stream ?? missing('end', id)
  const meetingOf = (id: string): Meeting => meetings.get(id) ?? missing('mix', id)
  const trunkOf = (id: string): Trunk => trunks.get(id) ?? missing('trunk', id)
  const linkOf = (end: End): Link => (isLink(end.route) ? end.route : free(end, () => createLink(hub, end, undefined)))
  const bound = () => {
    if (ports.size + streams.size >= mostEnds) throw new Refusal('media-unavailable', 'too many ends')
  }
  const openStream = (trunk: string, wish: TrunkEnd): TrunkStream => {
    bound()
    const stream = trunkOf(trunk).open(nextId('e'), wish)
    streams.set(stream.id, { stream, trunk })
    return stream
  }
  const closeEnd = async (id: string) => {
    const end = ports.get(id) ?? streams.get(id)?.stream
    ports.delete(id)
    streams.delete(id)
    await end?.close()
  }
  const closeTrunk = async (id: string) => {
    const trunk = trunks.get(id)
    trunks.delete(id)
    for (const [end, stream] of streams) if (stream.trunk === id) streams.delete(end)
    await trunk?.close()
  }
  const stopRecord = (id: string) => {
    const recording = recordings.get(id) ?? missing('recording', id)
    recording.stopped ??= recording.mixing.stopRecord(id)
    return recording.stopped
  }
  const closeMix = async (id: string) => {
    const meeting = meetings.get(id)
    if (!meeting) return
    meetings.delete(id)
    // What was written is told to who asks later.
    await Promise.all([...recordings].map(([one, { mixing }]) => mixing === meeting.mixing && stopRecord(one)))
    await meeting.close()
  }

  return {
    async openPort(address) {
      bound()
      const port = await openPort(hub, rtpPorts, nextId('e'), address)
      ports.set(port.id, port)
      return { end: port.id, rtpPort: port.rtpPort, rtcpPort: port.rtcpPort }
    },
    async setPort(end, remote) {
      const port = ports.get(end) ?? missing('port', end)
      port.set(remote)
    },
    async openTrunk(address) {
      const trunk = await openTrunk(hub, trunkPorts, nextId('t'), address)
      trunks.set(trunk.id, trunk)
      return { trunk: trunk.id, port: trunk.port }
    },
    setTrunk: async (trunk, remote) => trunkOf(trunk).connect(remote.address, remote.port),
    closeTrunk,
    openEnd: async (trunk, wish) => openStream(trunk, wish).id,
    closeEnd,
    async link(one, other) {
      const [first, second] = [endOf(one), endOf(other)]
      free(first, () => free(second, () => createLink(hub, first, first === second ? undefined : second)))
    },
    async echo(end, delayMs) {
      const found = endOf(end)
      free(found, () => createEcho(hub, found, delayMs))
    },
    async unlink(end) {
      const found = endOf(end)
      found.route?.leave(found)
    },
    async openMix({ speakers }) {
      const mixery = await hub.loadMixery()
      const meeting = createMeeting(hub, mixery, nextId('m'), speakers)
      meetings.set(meeting.id, meeting)
      return meeting.id
    },
    closeMix,
    async join(end, mix, { muted, slots }) {
      const [found, meeting] = [endOf(end), meetingOf(mix)]
      if (muted !== undefined) found.muted = muted
      if (found.route !== meeting) found.route?.leave(found)
      meeting.join(found, slots ?? false)
    },
    async mute(end, muted) {
      const found = endOf(end)
      found.muted = muted
      found.route?.muted(found)
    },
    async openSlot(mix, slot, trunk, send) {
      const meeting = meetingOf(mix)
      const stream = openStream(trunk, { send })
      meeting.openSlot(slot, send.codec, stream)
      return stream.id
    },
    async play(to, tone) {
      await hub.loadMixery()
      const started = 'mix' in to ? meetingOf(to.mix).play(undefined, tone) : playTo(endOf(to.end), tone, linkOf)
      playing.set(started.playing, started.mixing)
      return started.playing
    },
    async stop(id) {
      playing.get(id)?.stop(id)
    },
    async record(mix, files) {
      const { mixing } = meetingOf(mix)
      const recording = mixing.record(files)
      recordings.set(recording, { mixing })
      return recording
    },
    async stopRecord(recording) {
      const files = await stopRecord(recording)
      recordings.delete(recording)
      return files
    },
    async name(end, name) {
      const found = endOf(end)
      found.name = name
      if (isMeeting(found.route)) found.route.mixing.rename(found)
    },
    async stats() {
      const perEnd: AudioStats['perEnd'] = {}
      for (const [id, port] of ports) perEnd[id] = statsOf(port)
      for (const [id, { stream }] of streams) perEnd[id] = statsOf(stream)
      return {
        ports: ports.size,
        mixes: meetings.size,
        ends: ports.size + streams.size,
        cpuSeconds: options.cpuSeconds(),
        perEnd,
        packets: { ...hub.packets },
      }
    },
    async close() {
      clearInterval(timer)
      await Promise.all([...meetings.keys()].map(closeMix))
      await Promise.all([...ports.keys(), ...streams.keys()].map(closeEnd))
      await Promise.all([...trunks.keys()].map(closeTrunk))
    },
  }
}

function missing(what: string, id: string): never {
  throw new Refusal('not-found', `no ${what} ${id}`)
}

/** Takes an end out of what it is in, then puts it into something else. */
function free<T>(end: End, then: () => T): T {
  end.route?.leave(end)
  return then()
}

function playTo(end: End, tone: Parameters<AudioEngine['play']>[1], linkOf: (end: End) => Link) {
  return isMeeting(end.route) ? end.route.play(end, tone) : linkOf(end).play(end, tone)
}

function isLink(route: Route | undefined): route is Link {
  return route !== undefined && 'play' in route && !('join' in route)
}

function isMeeting(route: Route | undefined): route is Meeting {
  return route !== undefined && 'join' in route
}

function statsOf(end: End & { inbound: Inbound }): AudioStats['perEnd'][string] {
  const { inbound, out, route } = end
  const { reception } = inbound
  return {
    packetsIn: inbound.packets,
    packetsOut: out.packets,
    lost: reception?.lost() ?? 0,
    jitterMs: Math.round(reception?.jitterMs() ?? 0),
    level: (isMeeting(route) ? route.mixing.level(end) : undefined) ?? inbound.level,
  }
}
