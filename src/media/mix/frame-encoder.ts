import type { Codecs } from '../codec/codec.ts'
import { createResampler } from '../codec/resample.ts'

// Opus for recordings and speaker slots: one stream that goes on while the mix changes its rate.

export interface FrameEncoder {
  /** One packet for 20 ms at whatever rate; undefined as an `Encoder` gives it. Valid until the next call. */
  encode(pcm: Int16Array): Uint8Array | undefined
  free(): void
}

const rate = 48_000

/** Makes an encoder of one stream; free it. */
export function createFrameEncoder(codecs: Codecs): FrameEncoder {
  const encoder = codecs.encoder('opus', rate)
  let length = 0
  let resampler = createResampler(rate, rate)
  return {
    encode(pcm) {
      if (pcm.length !== length) {
        length = pcm.length
        resampler = createResampler(length * 50, rate)
      }
      return encoder.encode(resampler.run(pcm))
    },
    free: () => encoder.free(),
  }
}
