import type { MixRate } from '../codec/codec.ts'
import { createResampler } from '../codec/resample.ts'
import type { Tone } from './tones.ts'

// Music on hold, ours: a slow broken chord over a bass, sixteen bars in 64 seconds, then again. It is made bar by bar
// when first needed, at 16 kHz (phones hear no more), and kept: two megabytes for however many wait.

const RATE = 16_000
const BAR = 4 * RATE
const EIGHTH = BAR / 8

/** Chords in semitones above A2 (110 Hz): bass, then three notes of the broken chord. */
const chords = {
  F: [-4, 8, 12, 15],
  C: [3, 10, 15, 19],
  Am: [0, 12, 15, 19],
  G: [-2, 10, 14, 17],
  Dm: [5, 12, 17, 20],
  Em: [-5, 10, 14, 19],
} as const
type Chord = keyof typeof chords
const song: readonly Chord[] = ['C', 'Am', 'F', 'G', 'C', 'Em', 'F', 'G', 'Am', 'F', 'C', 'G', 'Dm', 'Am', 'F', 'G']
/** Order in which the notes of a chord are struck, one each eighth. */
const figure = [1, 2, 3, 2, 1, 3, 2, 3]
/** A sparse melody, in semitones above A4, one note a bar, beginning at an eighth. */
const melody: readonly (readonly [eighth: number, semitone: number])[] = [
  ...([
    [2, 7],
    [4, 3],
    [2, 8],
    [3, 5],
    [2, 7],
    [4, 10],
    [2, 12],
    [3, 10],
  ] as const),
  ...([
    [2, 12],
    [4, 8],
    [2, 7],
    [3, 5],
    [2, 8],
    [4, 7],
    [2, 5],
    [3, 2],
  ] as const),
]

const hertz = (semitone: number, base: number): number => base * 2 ** (semitone / 12)

/** A plucked note: three harmonics that die away, the higher the sooner. It rings on into the next bar. */
function pluck(into: Float64Array, at: number, frequency: number, loud: number, seconds: number): void {
  const length = Math.min(into.length - at, Math.round(seconds * RATE))
  for (const [harmonic, share, decay] of [
    [1, 1, 2.2],
    [2, 0.35, 3.5],
    [3, 0.12, 5],
  ] as const) {
    const step = (2 * Math.PI * frequency * harmonic) / RATE
    for (let i = 0; i < length; i++) {
      const t = i / RATE
      const edge = Math.min(1, i / 80, (length - i) / 800)
      into[at + i]! += Math.sin(step * i) * share * loud * edge * Math.exp((-decay * t) / seconds)
    }
  }
}

const bars: (Int16Array | undefined)[] = []

/** Notes of one bar, ringing into the bar after it. */
function strike(bar: number): Float64Array {
  const out = new Float64Array(2 * BAR)
  const chord = chords[song[bar]!]
  pluck(out, 0, hertz(chord[0], 110), 0.1, 3.6)
  figure.forEach((note, eighth) => {
    pluck(out, eighth * EIGHTH, hertz(chord[note]!, 110), eighth % 4 === 0 ? 0.07 : 0.05, 1.6)
  })
  const [eighth, semitone] = melody[bar]!
  pluck(out, eighth * EIGHTH, hertz(semitone, 440), 0.05, 2)
  return out
}

function barAt(bar: number): Int16Array {
  const kept = bars[bar]
  if (kept) return kept
  const now = strike(bar)
  const before = strike((bar + song.length - 1) % song.length)
  const pcm = Int16Array.from({ length: BAR }, (_, i) => Math.round((now[i]! + before[BAR + i]!) * 32767))
  bars[bar] = pcm
  return pcm
}

/** Music on hold from its beginning; once through when it is not to loop. */
export function createHoldMusic(rate: MixRate, loop: boolean): Tone {
  const resampler = createResampler(RATE, rate)
  const length = song.length * BAR
  let at = 0
  return {
    alone: true,
    add(sum) {
      if (at >= length) {
        if (!loop) return false
        at = 0
      }
      // A bar is a whole number of frames.
      const frame = RATE / 50
      const bar = barAt(Math.floor(at / BAR))
      const from = at % BAR
      const pcm = resampler.run(bar.subarray(from, from + frame))
      for (let i = 0; i < sum.length; i++) sum[i]! += pcm[i]!
      at += frame
      return true
    },
  }
}
