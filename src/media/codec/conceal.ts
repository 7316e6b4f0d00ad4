// Concealment for codecs that have none of their own, in the manner of G.711 Appendix I: the last pitch period is
// repeated, a longer piece of the past as the gap grows (or it would buzz), and fades away within 60 ms. What comes
// after the gap is blended with one more period, so that neither edge clicks.

/** Fills gaps of one stream, at its own rate. */
export interface Concealer {
  /** The last 49 ms that came. */
  readonly past: Int16Array
  /** Keeps a frame that has come, and blends its beginning with what stood in for the gap before it. */
  good(pcm: Int16Array): void
  /** Stands in for `samples` that are missing. Valid until the next call. */
  gap(samples: number): Int16Array
}

const FADE_FROM_MS = 10
const FADE_TO_MS = 60
const BLEND_MS = 4
/** The longest pitch period that is looked for; three of them and a seam are kept. */
const LONGEST_MS = 15

/** How far back the past repeats itself: the best normalised correlation between 2.5 and 15 ms (66 to 400 Hz). */
function pitchOf(past: Int16Array, rate: number): number {
  const [shortest, longest] = [rate / 400, (rate * LONGEST_MS) / 1000]
  const window = Math.floor((rate * 16) / 1000)
  const end = past.length
  let [best, pitch] = [-Infinity, longest]
  for (let lag = shortest; lag <= longest; lag++) {
    let [cross, energy] = [0, 1]
    for (let i = end - window; i < end; i += 2) {
      const earlier = past[i - lag]!
      cross += past[i]! * earlier
      energy += earlier * earlier
    }
    const score = cross / Math.sqrt(energy)
    if (score > best) [best, pitch] = [score, lag]
  }
  return pitch
}

/** Makes a concealer for a stream of `rate` Hz (8000 or 16000). */
export function createConcealer(rate: number): Concealer {
  const ms = rate / 1000
  const past = new Int16Array((3 * LONGEST_MS + BLEND_MS) * ms)
  const blend = BLEND_MS * ms
  let missing = 0
  let pitch = 0
  let span = 0
  let at = 0
  let out = new Int16Array(0)

  function remember(pcm: Int16Array): void {
    if (pcm.length >= past.length) past.set(pcm.subarray(pcm.length - past.length))
    else {
      past.copyWithin(0, pcm.length)
      past.set(pcm, past.length - pcm.length)
    }
  }

  const gain = () => Math.max(0, Math.min(1, (FADE_TO_MS * ms - missing) / ((FADE_TO_MS - FADE_FROM_MS) * ms)))

  /** The next sample of the repeated piece; its seam is blended with what came a period earlier. */
  function next(): number {
    if (at >= span) {
      at = 0
      if (span < 3 * pitch) span += pitch
    }
    const from = past.length - span
    const seam = Math.min(blend, pitch >> 2)
    const left = span - at
    const sample = past[from + at]!
    const value = left >= seam ? sample : (sample * left + past[from - left]! * (seam - left)) / seam
    at++
    missing++
    return value * gain()
  }

  return {
    past,
    good(pcm) {
      if (missing > 0) {
        const length = Math.min(blend, pcm.length)
        for (let i = 0; i < length; i++) {
          const share = (i + 1) / (length + 1)
          pcm[i] = Math.round(pcm[i]! * share + next() * (1 - share))
        }
        missing = 0
      }
      remember(pcm)
    },
    gap(samples) {
      if (missing === 0) {
        pitch = pitchOf(past, rate)
        span = pitch
        at = 0
      }
      if (out.length !== samples) out = new Int16Array(samples)
      for (let i = 0; i < samples; i++) out[i] = Math.round(next())
      return out
    },
  }
}
