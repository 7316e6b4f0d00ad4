import { stretch } from '../codec/resample.ts'

// Decoded samples that wait for their tick: packets are 10 to 120 ms long, ticks 20.

const MOST_MS = 300
const FADE_MS = 5

/** A short line of samples of one rate; what does not fit any more pushes out the oldest. */
export class Queue {
  length = 0
  /** Made when first needed: of a hundred members few are ever heard. */
  #samples = new Int16Array(0)
  #rate: number
  #fading = 0

  constructor(rate: number) {
    this.#rate = rate
  }

  /** Appends `count` samples, those of `pcm` and silence for what it lacks. */
  push(pcm: Int16Array, count = pcm.length): void {
    const from = this.#room(count)
    if (pcm.length <= count) this.#samples.set(pcm, from)
    else this.#samples.set(pcm.subarray(0, count), from)
    if (pcm.length < count) this.#samples.fill(0, from + pcm.length, from + count)
    this.#fade(from, count)
  }

  silence(count: number): void {
    const from = this.#room(count)
    this.#samples.fill(0, from, from + count)
  }

  /** Makes room for `count` samples at the end and gives its index. */
  #room(count: number): number {
    if (this.#samples.length === 0) this.#samples = new Int16Array((this.#rate * MOST_MS) / 1000)
    const over = this.length + count - this.#samples.length
    if (over > 0) this.#drop(Math.min(over, this.length))
    const from = this.length
    this.length += count
    return from
  }

  #drop(count: number): void {
    this.#samples.copyWithin(0, count, this.length)
    this.length -= count
  }

  #fade(from: number, count: number): void {
    const whole = (this.#rate * FADE_MS) / 1000
    for (let i = from; i < from + count && this.#fading > 0; i++, this.#fading--) {
      this.#samples[i] = Math.round((this.#samples[i]! * (whole - this.#fading)) / whole)
    }
  }

  /** Lets what is in the queue, or else what comes next, begin softly. */
  fadeIn(): void {
    this.#fading = (this.#rate * FADE_MS) / 1000
    this.#fade(0, this.length)
  }

  /** Keeps the last `count` samples, with silence before them when there are fewer. */
  keepLast(count: number): void {
    if (this.length >= count) return this.#drop(this.length - count)
    const lacking = count - this.length
    this.#room(lacking)
    this.length = count - lacking
    this.#samples.copyWithin(lacking, 0, this.length)
    this.#samples.fill(0, 0, lacking)
    this.length = count
  }

  /** Goes on at another rate with what it holds. */
  retune(rate: number): void {
    const held = stretch(this.#samples.subarray(0, this.length), Math.round((this.length * rate) / this.#rate))
    this.#fading = Math.round((this.#fading * rate) / this.#rate)
    this.#rate = rate
    if (this.#samples.length === 0) return
    this.#samples = new Int16Array((rate * MOST_MS) / 1000)
    this.#samples.set(held)
    this.length = held.length
  }

  clear(): void {
    this.length = 0
    this.#fading = 0
  }

  /** Fills `frame` from `extra` samples more or fewer than it holds, blending over the place where they go. */
  take(frame: Int16Array, extra = 0): void {
    const count = frame.length + extra
    if (this.length < count) this.silence(count - this.length)
    const from = Math.max(0, -extra)
    const over = frame.length - from - from
    for (let i = 0; i < frame.length; i++) {
      if (extra === 0 || i < from) frame[i] = this.#samples[i]!
      else if (i >= frame.length - from) frame[i] = this.#samples[i + extra]!
      else {
        const share = (i - from) / over
        frame[i] = Math.round(this.#samples[i]! * (1 - share) + this.#samples[i + extra]! * share)
      }
    }
    this.#drop(count)
  }
}
