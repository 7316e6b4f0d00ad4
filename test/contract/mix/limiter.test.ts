import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createLimiter } from '../../../src/media/mix/limiter.ts'
import { levelOf, type Sound, shareOf, soundOf, tonePcm } from '../../support/tone.ts'

const RATE = 48_000
const FRAME = 960

/** Adds tones and takes the sum through a limiter. */
function limited(tones: readonly (readonly [frequency: number, amplitude: number])[], seconds: number): Sound {
  const limiter = createLimiter()
  const out: number[] = []
  const frame = new Int16Array(FRAME)
  for (let i = 0; i < seconds * 50; i++) {
    const sum = new Int32Array(FRAME)
    for (const [frequency, amplitude] of tones) {
      const pcm = tonePcm(RATE, frequency, FRAME, i * FRAME, amplitude)
      for (let k = 0; k < FRAME; k++) sum[k]! += pcm[k]!
    }
    limiter.run(sum, frame)
    out.push(...frame)
  }
  return soundOf(RATE, out)
}

const sharesOf = (sound: Sound, tones: readonly (readonly [number, number])[], from: number) =>
  tones.reduce((sum, [frequency]) => sum + shareOf(sound, frequency, from), 0)

describe('limiter', () => {
  it('lets what fits pass untouched', () => {
    const tones = [
      [300, 9000],
      [500, 9000],
      [800, 9000],
    ] as const
    const out = limited(tones, 0.2)
    let worst = 0
    for (let i = 0; i < out.samples.length; i++) {
      const sum = tones.reduce(
        (all, [frequency, amplitude]) => all + Math.round(amplitude * Math.sin((2 * Math.PI * frequency * i) / RATE)),
        0,
      )
      worst = Math.max(worst, Math.abs(out.samples[i]! * 32768 - sum))
    }
    assert.ok(worst < 1.01, `${worst}`)
  })

  it('keeps three loud voices within 16 bits with less than half a percent of distortion', () => {
    const tones = [
      [310, 25_000],
      [520, 25_000],
      [1170, 25_000],
    ] as const
    const out = limited(tones, 1.2)
    assert.ok(out.samples.every(sample => Math.abs(sample) <= 32767 / 32768))
    // From 0.2 s on, the gain has settled: what is not one of the tones is distortion.
    const other = 1 - sharesOf(out, tones, RATE / 5)
    assert.ok(other < 0.005 ** 2, `${(100 * Math.sqrt(Math.max(0, other))).toFixed(2)} % distortion`)
    // Three full tones have peaks at 75,000: the limiter takes off 8 dB and no more.
    assert.ok(levelOf(out, RATE / 5) > -9.5, `${levelOf(out, RATE / 5)} dB`)
  })

  it('bends and does not cut the first moment of a shout', () => {
    const out = limited([[440, 60_000]], 0.1)
    let flat = 0
    for (let i = 1; i < out.samples.length; i++)
      if (Math.abs(out.samples[i]!) > 0.9 && out.samples[i] === out.samples[i - 1]) flat++
    assert.ok(flat < 20, `${flat} samples lie flat`)
  })

  it('comes back slowly after a shout, without pumping', () => {
    const limiter = createLimiter()
    const frame = new Int16Array(FRAME)
    const levels: number[] = []
    for (let i = 0; i < 150; i++) {
      const pcm = tonePcm(RATE, 500, FRAME, i * FRAME, i < 25 ? 60_000 / 2 : 10_000)
      const sum = Int32Array.from(pcm, sample => sample * (i < 25 ? 2 : 1))
      limiter.run(sum, frame)
      levels.push(levelOf(soundOf(RATE, frame)))
    }
    for (let i = 26; i < 150; i++) {
      const rise = levels[i]! - levels[i - 1]!
      assert.ok(rise > -0.05 && rise < 0.25, `frame ${i} rises by ${rise.toFixed(2)} dB`)
    }
    const whole = levelOf(soundOf(RATE, tonePcm(RATE, 500, FRAME, 0, 10_000)))
    assert.ok(Math.abs(levels[149]! - whole) < 0.1, `${levels[149]} of ${whole} dB`)
  })
})
