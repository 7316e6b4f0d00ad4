import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLocalBus } from '../../src/cluster/local-bus.ts'
import { createEvents, type Events } from '../../src/events.ts'
import { createLog } from '../../src/log.ts'
import { createMedia } from '../../src/media/create.ts'
import type { FreeSwitchPlace } from '../../src/media/freeswitch-probe.ts'
import type { LegEvent, Media, MediaLoad } from '../../src/media/media.ts'
import { createEars } from '../../src/media/nodes/ears.ts'
import { createRemoteMedia } from '../../src/media/nodes/remote.ts'
import { serveMedia } from '../../src/media/nodes/serve.ts'
import type { Asking } from '../../src/media/nodes/wire.ts'
import { watchAddresses } from '../../src/network/interfaces.ts'
import { realWorker } from './media-worker.ts'
import { createRtpPhone, type RtpPhone, type RtpPhoneOptions } from './rtp-phone.ts'

export interface TestMedia {
  media: Media
  events: Events
  /** What the room itself carries now, whoever it is asked through. */
  carries(): MediaLoad
  close(): Promise<void>
}

/** The media room on loopback, with the real worker and its own ports. `VAARTHA_TEST_LOG=debug` lets it speak. */
export async function startMedia(
  options: { workers?: number; base?: number; freeswitch?: FreeSwitchPlace; srf?: object } = {},
): Promise<TestMedia> {
  const binary = await realWorker()
  const events = createEvents()
  const addresses = watchAddresses({ listen: ['127.0.0.1'], include: [] })
  const base = options.base ?? 46_100 + (process.pid % 20) * 700
  const media = createMedia({
    config: {
      workers: options.workers ?? 1,
      port: base,
      rtpPorts: `${base + 10}-${base + 349}`,
      trunkPorts: `${base + 350}-${base + 690}`,
      speakers: 3,
      opus: { complexity: 5, bitrate: 32_000 },
      build: 'never',
      mixer: options.freeswitch === undefined ? 'embedded' : 'freeswitch',
      freeswitch: options.freeswitch ?? { host: '127.0.0.1', port: 8021, secret: '' },
    },
    addresses,
    publicAddress: '',
    arrival: { state: () => ({ sfu: 'ready', why: '' }), binary: async () => binary },
    events,
    log: createLog({ level: process.env['VAARTHA_TEST_LOG'] ?? 'silent', format: 'json' }),
    now: Date.now,
    srf: options.srf ?? {},
  })
  return {
    media,
    events,
    carries: () => media.load(),
    async close() {
      await media.close()
      addresses.close()
    },
  }
}

/** The same over a bus: the room serves at one end, and what is given asks for it at the other. */
export async function startMediaOverBus(buses?: { near: Asking; far: Asking; node: string }): Promise<TestMedia> {
  const room = await startMedia()
  const log = createLog({ level: process.env['VAARTHA_TEST_LOG'] ?? 'silent', format: 'json' })
  const own = createLocalBus({ node: 'far', log })
  const { near, far, node } = buses ?? { near: own, far: own, node: 'far' }
  const directory = mkdtempSync(join(tmpdir(), 'vaartha-media-'))
  const addresses = watchAddresses({ listen: ['127.0.0.1'], include: [] })
  const serving = serveMedia({ media: room.media, bus: far, life: 'far-1', addresses, directory, log })
  const ears = createEars(near)
  const media = createRemoteMedia({ node, bus: near, ears, log })
  return {
    ...room,
    media,
    async close() {
      await media.close()
      ears.close()
      await serving.close()
      addresses.close()
      await room.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Collects what happens to a leg, and lets a test wait for it. */
export function createLegEars(): { events: LegEvent[]; onEvent: (event: LegEvent) => void; until: Until } {
  const events: LegEvent[] = []
  const looks = new Set<() => void>()
  return {
    events,
    onEvent(event) {
      events.push(event)
      for (const look of looks) look()
    },
    until(test, ms = 5000) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          looks.delete(look)
          reject(new Error(`waited in vain for an event; there were ${JSON.stringify(events)}`))
        }, ms)
        const look = () => {
          const found = events.find(test)
          if (found === undefined) return
          clearTimeout(timer)
          looks.delete(look)
          resolve(found)
        }
        looks.add(look)
        look()
      })
    },
  }
}

type Until = (test: (event: LegEvent) => boolean, ms?: number) => Promise<LegEvent>

/** A phone of the test with its SDP: PCMU, telephone-event, and SDES keys when it was made with some. */
export interface SdpPhone {
  rtp: RtpPhone
  /** Its offer or answer. */
  sdp(direction?: string): string
  /** Aims at what the server has said. */
  take(sdp: string): void
  /** Sends its tone until the returned function is called. */
  talk(): () => Promise<void>
}

export async function createSdpPhone(options: RtpPhoneOptions = {}): Promise<SdpPhone> {
  const rtp = await createRtpPhone(options)
  let version = 0
  return {
    rtp,
    sdp(direction = 'sendrecv') {
      version += 1
      const lines = [
        'v=0',
        `o=- 77 ${version} IN IP4 127.0.0.1`,
        's=-',
        'c=IN IP4 127.0.0.1',
        't=0 0',
        `m=audio ${rtp.port} RTP/AVP 0 101`,
        'a=rtpmap:0 PCMU/8000',
        'a=rtpmap:101 telephone-event/8000',
        'a=fmtp:101 0-16',
        `a=rtcp:${rtp.rtcpPort}`,
        `a=${direction}`,
      ]
      return `${lines.join('\r\n')}\r\n`
    },
    take(sdp) {
      const rtpPort = Number(/^m=audio (\d+)/m.exec(sdp)?.[1])
      rtp.aim({ rtpPort, rtcpPort: Number(/^a=rtcp:(\d+)/m.exec(sdp)?.[1] ?? rtpPort + 1) })
    },
    talk: () => rtp.chatter(),
  }
}
