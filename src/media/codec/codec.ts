import type { AudioCodec } from '../audio/audio.ts'
import type { Decoder, Encoder, MixRate } from './coder.ts'
import { type Concealer, createConcealer } from './conceal.ts'
import { compress, expand, type Law } from './g711.ts'
import { G722Decoder, G722Encoder } from './g722.ts'
import { createLevelMeter, type LevelMeter } from './level.ts'
import type { Opus, OpusOptions } from './opus.ts'
import { createResampler, type Resampler } from './resample.ts'

export type { Decoder, Encoder, MixRate }

/** Codecs of one thread. */
export interface Codecs {
  decoder(codec: AudioCodec, rate: MixRate): Decoder
  encoder(codec: AudioCodec, rate: MixRate): Encoder
  /** For streams that bring no level of their own. */
  meter(codec: AudioCodec): LevelMeter
  free(): void
}

/** Loads what the codecs need (libopus is WebAssembly); codecs themselves are then made at once. */
export async function loadCodecs(options: OpusOptions = {}): Promise<Codecs> {
  const { loadOpus } = await import('./opus.ts')
  const opus = { 16000: await loadOpus(16000, options), 48000: await loadOpus(48000, options) }
  return {
    decoder(codec, rate) {
      if (codec === 'opus') return rate === 8000 ? narrowDecoder(opus[16000]) : opus[rate].decoder()
      return codec === 'G722' ? g722Decoder(rate) : g711Decoder(codec, rate)
    },
    encoder(codec, rate) {
      if (codec === 'opus') return rate === 8000 ? narrowEncoder(opus[16000]) : opus[rate].encoder()
      return codec === 'G722' ? g722Encoder(rate) : g711Encoder(codec, rate)
    },
    meter: codec => createLevelMeter(codec, () => opus[16000].decoder()),
    free() {
      opus[16000].free()
      opus[48000].free()
    },
  }
}

// Opus in a mix at 8 kHz happens where somebody who is sent G.711 sends Opus all the same: too seldom for coders of its own.

function narrowDecoder(opus: Opus): Decoder {
  const decoder = opus.decoder()
  const resampler = createResampler(16_000, 8000)
  const narrow = (pcm: Int16Array | undefined) => pcm && resampler.run(pcm)
  return {
    decode: payload => narrow(decoder.decode(payload)),
    conceal: samples => resampler.run(decoder.conceal(2 * samples)),
    decodeFec: (payload, samples) => narrow(decoder.decodeFec?.(payload, 2 * samples)),
    free: () => decoder.free(),
  }
}

function narrowEncoder(opus: Opus): Encoder {
  const encoder = opus.encoder()
  const resampler = createResampler(8000, 16_000)
  return {
    encode: pcm => encoder.encode(resampler.run(pcm)),
    restart: () => encoder.restart(),
    takeOver: (_from, previous) => encoder.takeOver(undefined, resampler.run(previous)),
    free: () => encoder.free(),
  }
}

/** A buffer of the length that is asked for, made anew only when that changes. */
function reuse<T extends Int16Array | Uint8Array>(make: (length: number) => T): (length: number) => T {
  let buffer = make(0)
  return length => (buffer.length === length ? buffer : (buffer = make(length)))
}

/** A decoder from one that knows only whole payloads: concealment and the rate are added to it. */
function decoderOf(own: number, first: MixRate, decode: (payload: Uint8Array) => Int16Array): Decoder {
  const concealer: Concealer = createConcealer(own)
  let rate = first
  let resampler = createResampler(own, rate)
  return {
    decode(payload) {
      if (payload.length === 0) return undefined
      const pcm = decode(payload)
      concealer.good(pcm)
      return resampler.run(pcm)
    },
    conceal: samples => resampler.run(concealer.gap(Math.round((samples * own) / rate))),
    retune(next) {
      rate = next
      resampler = createResampler(own, rate)
      resampler.run(concealer.past.subarray(-own / 50))
    },
    free() {},
  }
}

function g711Decoder(law: Law, rate: MixRate): Decoder {
  const buffer = reuse(length => new Int16Array(length))
  return decoderOf(8000, rate, payload => {
    const pcm = buffer(payload.length)
    expand(law, payload, pcm)
    return pcm
  })
}

function g722Decoder(rate: MixRate): Decoder {
  const g722 = new G722Decoder()
  const buffer = reuse(length => new Int16Array(length))
  return decoderOf(16000, rate, payload => {
    const pcm = buffer(payload.length * 2)
    g722.decode(payload, pcm)
    return pcm
  })
}

interface Parts<S> {
  resampler: Resampler
  state: S
}

/** What an encoder of ours is made of, so that another can go on from its state. */
const partsOf = new WeakMap<Encoder, Parts<unknown>>()

/** An encoder of ours: the rate is changed, then `encode` makes the payload; `copy` takes over the codec's own state. */
function encoderOf<S>(
  own: number,
  rate: MixRate,
  state: S,
  work: { encode(state: S, pcm: Int16Array): Uint8Array; copy(to: S, from: S): void },
): Encoder {
  const parts: Parts<S> = { resampler: createResampler(rate, own), state }
  const encoder: Encoder = {
    encode: pcm => work.encode(state, parts.resampler.run(pcm)),
    takeOver(from, previous) {
      const other = from && (partsOf.get(from) as Parts<S> | undefined)
      if (!other) return void encoder.encode(previous)
      parts.resampler.copy(other.resampler)
      work.copy(state, other.state)
    },
    retune(next, previous) {
      parts.resampler = createResampler(next, own)
      parts.resampler.run(previous)
    },
    restart() {},
    free() {},
  }
  partsOf.set(encoder, parts)
  return encoder
}

function g711Encoder(law: Law, rate: MixRate): Encoder {
  const buffer = reuse(length => new Uint8Array(length))
  return encoderOf(8000, rate, law, {
    encode(_, pcm) {
      const payload = buffer(pcm.length)
      compress(law, pcm, payload)
      return payload
    },
    copy() {},
  })
}

function g722Encoder(rate: MixRate): Encoder {
  const buffer = reuse(length => new Uint8Array(length))
  return encoderOf(16000, rate, new G722Encoder(), {
    encode(g722, pcm) {
      const payload = buffer(pcm.length >> 1)
      g722.encode(pcm, payload)
      return payload
    },
    copy: (to, from) => to.copy(from),
  })
}
