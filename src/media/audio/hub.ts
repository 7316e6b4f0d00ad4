import type { Codecs } from '../codec/codec.ts'
import type { Mixer, MixerOptions } from '../mix/mixer.ts'
import type { AudioEvent } from './audio.ts'
import type { Libc } from './libc.ts'
import { isDirect, type MediaSocket } from './media-socket.ts'
import { mostBytes } from './rtp.ts'
import { createTicker, type Rest, type Ticker } from './ticker.ts'
import { createWatched } from './watched.ts'

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
  /** Says that packets of the socket are awaited; call what it returns when they no longer are. */
  watch(socket: MediaSocket): () => void
  /** Says that packets must be passed on as they come, and not at the next beat; call what it returns when no longer. */
  hurry(): () => void
  /** A buffer to write the next packet into; taken again after many others. */
  buffer(): Buffer
}

export interface HubOptions {
  emit(event: AudioEvent): void
  loadMixery(): Promise<Mixery>
  now?: (() => number) | undefined
  wall?: (() => number) | undefined
  silentMs?: number | undefined
  /** The system's own calls, where they can be made. */
  libc?: Libc | undefined
  /** A thread of its own may sleep between beats: whoever asks it for something counts this up and wakes it. */
  bell?: Int32Array | undefined
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
  let hurried = 0
  let rung = 0
  const { bell, libc } = options
  const watched = libc && createWatched(libc)
  const rest: Rest | undefined = bell && {
    may: () => hurried === 0,
    sleep(ms) {
      if (Atomics.wait(bell, 0, rung, ms) === 'timed-out') return true
      // What is asked for from now on rings again; what was asked before is there for the loop of events.
      rung = Atomics.load(bell, 0)
      return false
    },
    read: () => watched?.read() ?? 0,
  }
  const now = options.now ?? (() => performance.now())
  const hurry = () => {
    hurried++
    let over = false
    return () => {
      if (!over) hurried--
      over = true
    }
  }
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
    ticker: createTicker(now, rest),
    watch(socket) {
      // What can not be read by the way must wake the thread up.
      if (!watched || !isDirect(socket)) return hurry()
      watched.add(socket)
      return () => watched.delete(socket)
    },
    hurry,
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
