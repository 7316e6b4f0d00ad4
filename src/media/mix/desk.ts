import type { MixRate } from '../codec/codec.ts'
import type { MixMember } from './mix.ts'

// Where one mixer adds its voices up: buffers of 20 ms, as long as the rate makes them.

export interface Desk {
  readonly rate: MixRate
  /** Samples in 20 ms. */
  readonly frame: number
  readonly noise: { next(): void; last(): Int16Array }
  readonly sum: Int32Array
  readonly own: Int32Array
  readonly tones: Int32Array
  readonly common: Int16Array
  readonly toneFrame: Int16Array
}

/** Makes the buffers for a mix at `rate` Hz. */
export function createDesk(rate: MixRate): Desk {
  const frame = rate / 50
  const wide = () => new Int32Array(frame)
  const pcm = () => new Int16Array(frame)
  return {
    ...{ rate, frame, noise: createNoise(frame) },
    ...{ sum: wide(), own: wide(), tones: wide(), common: pcm(), toneFrame: pcm() },
  }
}

/** Quiet of about -70 dBov: without it people think that the line is dead. */
function createNoise(frame: number): Desk['noise'] {
  const second = Int16Array.from({ length: frame * 50 }, () => Math.round((Math.random() - 0.5) * 36))
  let at = 0
  return {
    // A step that is no whole number of frames, so that it takes long to repeat.
    next() {
      at = (at + frame + 7) % (second.length - frame)
    },
    last: () => second.subarray(at, at + frame),
  }
}

/** The lowest rate at which none of them loses anything: most meetings of phones need no more than 8 kHz. */
export function rateFor(members: Iterable<{ wish: MixMember }>): MixRate {
  let rate: MixRate = 8000
  for (const { wish } of members) {
    if (wish.codec.codec === 'opus') return 48_000
    if (wish.codec.codec === 'G722') rate = 16_000
  }
  return rate
}
