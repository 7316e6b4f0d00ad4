import type { Codecs } from '../codec/codec.ts'
import type { Mixer, MixerOptions } from '../mix/mixer.ts'
import type { AudioEvent } from './audio.ts'
import { mostBytes } from './rtp.ts'
import { createTicker, type Ticker } from './ticker.ts'

// What everything in the audio thread shares: the clock, the counters, the way up, and buffers to send from.

/** What decodes, mixes and encodes. It is loaded when first needed: a relay between equal codecs needs none of it. */
export interface Mixery {
  codecs: Codecs
  createMixer(options: MixerOptions): Mixer
}

export interface Hub {
  /** Ms of a clock that never goes back, and ms since 1970 for sender reports. */
  now(): number
  wall(): number
  emit(event: AudioEvent): void
  readonly packets: { in: number; out: number; dropped: number }
  /** Ms without a packet after which an end that should send is `silent`. */
  readonly silentMs: number
  /** Undefined while it is being loaded; asking for it begins that. */
  mixery(): Mixery | undefined
  loadMixery(): Promise<Mixery>
  readonly ticker: Ticker
  /** A buffer to write the next packet into; taken again after many others. */
  buffer(): Buffer
}

export interface HubOptions {
  emit(event: AudioEvent): void
  loadMixery(): Promise<Mixery>
  now?: (() => number) | undefined
  wall?: (() => number) | undefined
  silentMs?: number | undefined
}

// A datagram is nearly always copied by the system before `send` returns; only when the socket's buffer is full does it
// wait. The ring is longer than what may wait then.
const ring = 512
// An SRTP tag, and the index of a control packet.
const tailBytes = 16

export function createHub(options: HubOptions): Hub {
  const buffers: Buffer[] = []
  let next = 0
  let loading: Promise<Mixery> | undefined
  let mixery: Mixery | undefined
  const now = options.now ?? (() => performance.now())
  const loadMixery = () => {
    loading ??= options.loadMixery().then(loaded => (mixery = loaded))
    return loading
  }
  return {
    now,
    wall: options.wall ?? Date.now,
    emit: options.emit,
    packets: { in: 0, out: 0, dropped: 0 },
    silentMs: options.silentMs ?? 20_000,
    ticker: createTicker(now),
    loadMixery,
    mixery() {
      // A failure to load is a broken installation: it ends the thread as an unhandled rejection, and is told so.
      if (!mixery) void loadMixery()
      return mixery
    },
    buffer() {
      next = (next + 1) % ring
      return (buffers[next] ??= Buffer.allocUnsafeSlow(mostBytes + tailBytes))
    },
  }
}
