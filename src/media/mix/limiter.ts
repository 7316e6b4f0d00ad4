// Voices are added as they are; where their sum would clip, the gain falls at once and comes back slowly, so that
// neither distortion nor pumping is heard. What overshoots in the millisecond of falling is bent, not cut.

/** Keeps one mix within 16 bits. */
export interface Limiter {
  /** Writes `sum` into `out` (of the same length). */
  run(sum: Int32Array, out: Int16Array): void
}

const CEILING = 30_000
const TOP = 32_767
/** Blocks per frame in which the peak is looked for. */
const BLOCKS = 8
const HOLD_BLOCKS = 40
/** Per block of 2.5 ms: back by 6 dB in about a second. */
const RELEASE = 1.0017

/** Bends what lies over the ceiling towards the top and never beyond it. */
function bend(value: number): number {
  const size = Math.abs(value)
  if (size <= CEILING) return value
  const room = TOP - CEILING
  const over = size - CEILING
  return Math.sign(value) * (CEILING + (room * over) / (over + room))
}

function peakOf(sum: Int32Array, from: number, to: number): number {
  let peak = 0
  for (let i = from; i < to; i++) {
    const size = Math.abs(sum[i]!)
    if (size > peak) peak = size
  }
  return peak
}

/** Makes a limiter for one stream of frames. */
export function createLimiter(): Limiter {
  let gain = 1
  let hold = 0
  return {
    run(sum, out) {
      if (gain === 1 && peakOf(sum, 0, sum.length) <= CEILING) return out.set(sum)
      const block = sum.length / BLOCKS
      for (let at = 0; at < sum.length; at += block) {
        // The next block is looked at too, so that the gain has fallen before its peak comes.
        const peak = peakOf(sum, at, Math.min(sum.length, at + 2 * block))
        const needed = peak > CEILING ? CEILING / peak : 1
        if (needed === 1 && gain === 1) {
          for (let i = at; i < at + block; i++) out[i] = sum[i]!
          continue
        }
        const from = gain
        if (needed <= gain) {
          gain = needed
          hold = HOLD_BLOCKS
        } else if (--hold <= 0) gain = Math.min(needed, gain * RELEASE, 1)
        for (let i = 0; i < block; i++) {
          const now = from + ((gain - from) * (i + 1)) / block
          out[at + i] = Math.round(bend(sum[at + i]! * now))
        }
      }
    },
  }
}
