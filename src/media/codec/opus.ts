import {
  Application,
  createDecoder,
  createEncoder,
  isOpusError,
  type OpusDecoderHandle,
  type OpusEncoderHandle,
} from 'libopus-wasm'
import type { Decoder, Encoder } from './coder.ts'

// The only file that knows which Opus library we use. It makes its objects asynchronously; the mixer wants one at once,
// in the tick in which somebody begins to speak. So a few are kept ready, and who takes one has the next one made.

const SPARE = 4
/** OPUS_SET_PREDICTION_DISABLED_REQUEST. */
const PREDICTION_DISABLED = 4042

interface Spares<T> {
  /** One that is ready, or undefined when more were asked for at once than are kept. */
  take(): T | undefined
  free(): void
}

async function keepSpares<T extends { free(): void }>(make: () => Promise<T>): Promise<Spares<T>> {
  const ready: T[] = []
  let closed = false
  let missing = SPARE
  async function refill(): Promise<void> {
    while (missing > 0 && !closed) {
      missing--
      const one = await make()
      if (closed) one.free()
      else ready.push(one)
    }
  }
  await refill()
  return {
    take() {
      const one = ready.pop()
      if (one) missing++
      void refill()
      return one
    },
    free() {
      closed = true
      for (const one of ready.splice(0)) one.free()
    },
  }
}

/** How Opus is encoded; see docs/media.md for what each costs. */
export interface OpusOptions {
  /** 0..10; the default 5 costs half of 10 and is hard to tell from it by ear. */
  complexity?: number
  /** Bits per second. */
  bitrate?: number
}

/** Opus at one PCM rate. */
export interface Opus {
  decoder(): Decoder
  encoder(): Encoder
  free(): void
}

/** Loads libopus and makes coders for PCM of `rate` Hz, one channel. */
export async function loadOpus(rate: 16000 | 48000, options: OpusOptions = {}): Promise<Opus> {
  const decoders = await keepSpares(() => createDecoder({ sampleRate: rate, channels: 1 }))
  const encoders = await keepSpares(() =>
    createEncoder({
      sampleRate: rate,
      channels: 1,
      application: Application.Voip,
      bitrate: options.bitrate ?? 32_000,
      complexity: options.complexity ?? 5,
      // Phones lose packets on Wi-Fi: each then also tells a little of the one before it (RFC 6716 section 2.1.7).
      fec: true,
      packetLossPercent: 10,
      dtx: false,
    }),
  )
  return {
    decoder: () => new OpusDecoder(decoders, rate),
    encoder: () => new OpusEncoder(encoders),
    free() {
      decoders.free()
      encoders.free()
    },
  }
}

const NOTHING = new Int16Array(0)

class OpusDecoder implements Decoder {
  #handle: OpusDecoderHandle | undefined
  readonly #spares: Spares<OpusDecoderHandle>
  /** The shortest frame there is, 2.5 ms, in samples. */
  readonly #least: number

  constructor(spares: Spares<OpusDecoderHandle>, rate: number) {
    this.#spares = spares
    this.#least = rate / 400
    this.#handle = spares.take()
  }

  decode(payload: Uint8Array): Int16Array | undefined {
    return this.#run(handle => handle.decode(payload), payload)
  }

  decodeFec(payload: Uint8Array, samples: number): Int16Array | undefined {
    return this.#run(handle => handle.decode(payload, { decodeFec: true, frameSize: this.#frames(samples) }), payload)
  }

  conceal(samples: number): Int16Array {
    this.#handle ??= this.#spares.take()
    return this.#handle?.decodePacketLoss(this.#frames(samples)) ?? NOTHING
  }

  /** Gaps may be of any length, frames only multiples of 2.5 ms up to 120. */
  #frames(samples: number): number {
    return Math.min(48, Math.max(1, Math.ceil(samples / this.#least))) * this.#least
  }

  /** A stranger's bytes may be anything: what libopus refuses is no payload. */
  #run(work: (handle: OpusDecoderHandle) => Int16Array, payload: Uint8Array): Int16Array | undefined {
    this.#handle ??= this.#spares.take()
    if (!this.#handle || payload.length === 0) return undefined
    try {
      return work(this.#handle)
    } catch (error) {
      if (isOpusError(error)) return undefined
      throw error
    }
  }

  free(): void {
    this.#handle?.free()
    this.#handle = undefined
  }
}

class OpusEncoder implements Encoder {
  #handle: OpusEncoderHandle | undefined
  #restarting = false
  readonly #spares: Spares<OpusEncoderHandle>

  constructor(spares: Spares<OpusEncoderHandle>) {
    this.#spares = spares
    this.#handle = spares.take()
  }

  encode(pcm: Int16Array): Uint8Array | undefined {
    const handle = (this.#handle ??= this.#spares.take())
    if (!handle) return undefined
    if (this.#restarting) handle.encoderCtl(PREDICTION_DISABLED, 1)
    const payload = handle.encode(pcm, { frameSize: pcm.length })
    if (this.#restarting) handle.encoderCtl(PREDICTION_DISABLED, 0)
    this.#restarting = false
    return payload
  }

  restart(): void {
    this.#restarting = true
  }

  /** No state can be copied, but the encoder can at least have heard what the listener has. */
  takeOver(_from: Encoder | undefined, previous: Int16Array): void {
    this.encode(previous)
    this.restart()
  }

  free(): void {
    this.#handle?.free()
    this.#handle = undefined
  }
}
