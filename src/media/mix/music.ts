import type { MixRate } from '../codec/codec.ts'

// Music on hold, ours: a slow broken chord over a bass and a sparse melody, sixteen bars in 64 seconds, then again. It
// is made as it is played: a dozen strings sound at a time.

/** Half a second. */
const EIGHTH_FRAMES = 25

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

/** Harmonics of a string: number, share, and how fast it dies away. */
const HARMONICS = [
  [1, 1, 2.2],
  [2, 0.35, 3.5],
  [3, 0.12, 5],
] as const
const ATTACK_S = 0.005
const RELEASE_S = 0.05

/** One note that sounds: each harmonic is a decaying sine by recurrence, y(n) = 2r·cos(w)·y(n-1) - r²·y(n-2). */
class Note {
  readonly #length: number
  readonly #attack: number
  readonly #release: number
  readonly #c1: number[] = []
  readonly #c2: number[] = []
  readonly #y1: number[] = []
  readonly #y2: number[] = []
  #at = 0

  constructor(rate: number, frequency: number, loud: number, seconds: number) {
    this.#length = Math.round(seconds * rate)
    this.#attack = ATTACK_S * rate
    this.#release = RELEASE_S * rate
    for (const [harmonic, share, decay] of HARMONICS) {
      const w = (2 * Math.PI * frequency * harmonic) / rate
      const r = Math.exp(-decay / this.#length)
      this.#c1.push(2 * r * Math.cos(w))
      this.#c2.push(r * r)
      this.#y1.push(share * loud * 32767 * r * Math.sin(w))
      this.#y2.push(0)
    }
  }

  /** Adds the next samples; false when the note has died away. */
  add(sum: Int32Array): boolean {
    const count = Math.min(sum.length, this.#length - this.#at)
    for (let h = 0; h < HARMONICS.length; h++) {
      const [c1, c2] = [this.#c1[h]!, this.#c2[h]!]
      let [y1, y2] = [this.#y1[h]!, this.#y2[h]!]
      for (let i = 0; i < count; i++) {
        const n = this.#at + i
        const left = this.#length - n
        const edge = n < this.#attack ? n / this.#attack : left < this.#release ? left / this.#release : 1
        sum[i]! += y1 * edge
        const y0 = c1 * y1 - c2 * y2
        y2 = y1
        y1 = y0
      }
      this.#y1[h] = y1
      this.#y2[h] = y2
    }
    this.#at += count
    return this.#at < this.#length
  }
}

/** The notes that are struck at one eighth of one bar. */
function struck(bar: number, eighth: number, rate: number): Note[] {
  const chord = chords[song[bar]!]
  const notes = [new Note(rate, hertz(chord[figure[eighth]!]!, 110), eighth % 4 === 0 ? 0.07 : 0.05, 1.6)]
  if (eighth === 0) notes.push(new Note(rate, hertz(chord[0], 110), 0.1, 3.6))
  const [when, semitone] = melody[bar]!
  if (eighth === when) notes.push(new Note(rate, hertz(semitone, 440), 0.05, 2))
  return notes
}

/** Music on hold from its beginning, as a tone that is heard alone; once through when it is not to loop. */
export function createHoldMusic(rate: MixRate, loop: boolean): { alone: boolean; add(sum: Int32Array): boolean } {
  let ringing: Note[] = []
  let frame = 0
  return {
    alone: true,
    add(sum) {
      const eighth = frame / EIGHTH_FRAMES
      if (eighth >= song.length * 8 && !loop) return false
      if (Number.isInteger(eighth)) {
        ringing.push(...struck(Math.floor(eighth / 8) % song.length, eighth % 8, rate))
      }
      ringing = ringing.filter(note => note.add(sum))
      frame++
      return true
    },
  }
}
