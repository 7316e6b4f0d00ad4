import type { PayloadType } from '../audio/audio.ts'
import type { Codecs, Decoder, MixRate } from '../codec/codec.ts'
import type { LevelMeter } from '../codec/level.ts'
import { opusSamples } from '../codec/opus-packet.ts'
import { createJitterBuffer, type JitterBuffer, type Timed } from './jitter.ts'
import type { MixPacket } from './mix.ts'
import { Queue } from './queue.ts'

// What one member says: packets in, and every tick 20 ms of PCM, or only the passing of 20 ms while nobody listens.

interface Kept extends Timed {
  payload: Uint8Array
}

export interface Incoming {
  /** Takes a packet; gives its level (RFC 6464), or undefined when it was none. */
  put(packet: MixPacket, keep: boolean): number | undefined
  /** The next 20 ms; undefined when the member pauses. Valid until the next call. */
  hear(): Int16Array | undefined
  /** Lets 20 ms pass unheard, which costs next to nothing. */
  pass(): void
  /** Goes on at another rate. */
  retune(rate: MixRate): void
  /** Whether it speaks Opus. */
  readonly opus: boolean
  stats(): { lost: number; jitterMs: number; delayMs: number }
  free(): void
}

/** Packets that are kept after they went by unheard, to warm the decoder up when they are to be heard after all. */
const WARM = 3
/** By how much a stream is shifted at once, in ms, and how far off it must be before it is. */
const SHIFT_MS = 5
const QUIET_OFF_MS = 8
const LOUD_OFF_MS = 40
/** Ticks between two shifts that may be heard. */
const LOUD_EVERY = 10
/** A shift is not heard below this mean amplitude, nor below a quarter of what is usual. */
const QUIET = 100
const FRAME_MS = 20
const NOTHING = new Int16Array(0)

/** Makes what listens to one member. */
export function createIncoming(codecs: Codecs, first: MixRate, now: () => number): Incoming {
  let rate = first
  let frame = new Int16Array((rate / 1000) * FRAME_MS)
  const queue = new Queue(rate)
  let codec: PayloadType | undefined
  let ssrc: number | undefined
  let jitter: JitterBuffer<Kept> | undefined
  let meter: LevelMeter | undefined
  let decoder: Decoder | undefined
  let warm: Uint8Array[] = []
  /** Samples of the last packet that went by unheard whose time has not come yet. */
  let owed = 0
  let quiet = true
  let usual = 0
  let sinceShift = 0
  let lostBefore = 0

  /** Another codec or another stream: nothing of the old one is of use. */
  function change(packet: MixPacket & { codec: PayloadType }): void {
    if (packet.codec.codec !== codec?.codec || packet.codec.clockRate !== codec.clockRate) {
      decoder?.free()
      meter?.free()
      decoder = undefined
      meter = undefined
      lostBefore += jitter?.stats.lost ?? 0
      jitter = createJitterBuffer(packet.codec.clockRate)
      codec = packet.codec
      warm = []
      owed = 0
      queue.clear()
    } else if (packet.ssrc !== ssrc) jitter?.reset()
    ssrc = packet.ssrc
  }

  const samplesOf = (payload: Uint8Array): number => (codec?.codec === 'opus' ? opusSamples(payload) : payload.length)

  function put(packet: MixPacket, keep: boolean): number | undefined {
    if (packet.codec === 'CN') {
      jitter?.rest()
      return 127
    }
    change(packet as MixPacket & { codec: PayloadType })
    const samples = samplesOf(packet.payload)
    if (samples === 0 || samples > 0.12 * codec!.clockRate) return undefined
    if (keep) {
      const { sequence, timestamp } = packet
      jitter!.put({ sequence, timestamp, samples, payload: Buffer.from(packet.payload) }, now())
    }
    if (packet.level !== undefined) return packet.level & 127
    meter ??= codecs.meter(codec!.codec)
    return meter.level(packet.payload)
  }

  const toRate = (samples: number): number => Math.round((samples * rate) / codec!.clockRate)

  function decode(payload: Uint8Array, samples: number): void {
    queue.push(decoder!.decode(payload) ?? NOTHING, toRate(samples))
  }

  /** Brings a new decoder near the state of the sender's encoder by what went by last. */
  function warmUp(): void {
    if (decoder) return
    decoder = codecs.decoder(codec!.codec, rate)
    for (const payload of warm) decode(payload, samplesOf(payload))
    // Rounding between the rates may leave it a little below nothing.
    queue.keepLast(Math.max(0, owed))
    queue.fadeIn()
    warm = []
    owed = 0
  }

  function fill(ms: number): boolean {
    let something = queue.length > 0
    for (const due of jitter!.pull(ms)) {
      const samples = toRate(due.samples)
      if (due.kind === 'packet') decode(due.packet.payload, due.samples)
      else if (due.kind === 'pause') queue.silence(samples)
      else {
        const fec = due.next && decoder!.decodeFec?.(due.next.payload, samples)
        queue.push(fec ?? decoder!.conceal(samples), samples)
      }
      something ||= due.kind !== 'pause'
    }
    return something
  }

  /** By how many ms the stream is to be shifted in this tick: in quiet whenever it is off, else seldom and when far off. */
  function shift(): number {
    sinceShift++
    const off = jitter!.surplus()
    if (quiet) return off > QUIET_OFF_MS ? SHIFT_MS : off < -QUIET_OFF_MS ? -SHIFT_MS : 0
    if (off < LOUD_OFF_MS || sinceShift < LOUD_EVERY) return 0
    sinceShift = 0
    return SHIFT_MS
  }

  function listenFor(pcm: Int16Array): void {
    const mean = meanOf(pcm)
    usual += (mean - usual) / 100
    quiet = mean < Math.max(QUIET, usual / 4)
  }

  return {
    put,
    get opus() {
      return codec?.codec === 'opus'
    },
    hear() {
      if (!jitter) return undefined
      warmUp()
      const by = shift()
      const something = fill(FRAME_MS + by)
      queue.take(frame, (by * rate) / 1000)
      listenFor(frame)
      return something ? frame : undefined
    },
    pass() {
      if (!jitter) return
      if (decoder) {
        decoder.free()
        decoder = undefined
        owed = queue.length
        queue.clear()
      }
      quiet = true
      const by = shift()
      for (const due of jitter.pull(FRAME_MS + by)) {
        owed += toRate(due.samples)
        if (due.kind !== 'packet') continue
        warm.push(due.packet.payload)
        if (warm.length > WARM) warm.shift()
      }
      owed -= ((FRAME_MS + by) * rate) / 1000
    },
    retune(next) {
      queue.retune(next)
      owed = decoder ? queue.length : Math.round((owed * next) / rate)
      rate = next
      frame = new Int16Array((rate / 1000) * FRAME_MS)
      if (decoder?.retune) return decoder.retune(rate)
      decoder?.free()
      decoder = undefined
    },
    stats() {
      const { lost, jitterMs, delayMs } = jitter?.stats ?? { lost: 0, jitterMs: 0, delayMs: 0 }
      return { lost: lostBefore + lost, jitterMs, delayMs }
    },
    free() {
      decoder?.free()
      meter?.free()
      decoder = undefined
      meter = undefined
    },
  }
}

function meanOf(pcm: Int16Array): number {
  let sum = 0
  for (let i = 0; i < pcm.length; i += 4) sum += Math.abs(pcm[i]!)
  return (4 * sum) / pcm.length
}
