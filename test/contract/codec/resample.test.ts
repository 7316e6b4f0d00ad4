import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createResampler } from '../../../src/media/codec/resample.ts'
import { levelOf, type Sound, shareOf, soundOf, tonePcm } from '../../support/tone.ts'

/** Half a second of a tone of 8000, taken through a resampler in frames of 20 ms. */
function through(from: number, to: number, frequency: number): Sound {
  const resampler = createResampler(from, to)
  const out: number[] = []
  const frame = from / 50
  for (let i = 0; i < 25; i++) out.push(...resampler.run(tonePcm(from, frequency, frame, i * frame)))
  return soundOf(to, out)
}

const whole = levelOf(soundOf(8000, tonePcm(8000, 1000, 8000)))
const gain = (sound: Sound) => levelOf(sound, sound.rate / 50) - whole
const pairs = [
  [8000, 16_000],
  [8000, 48_000],
  [16_000, 48_000],
] as const

describe('resampling', () => {
  for (const [low, high] of pairs) {
    it(`${low} and ${high} Hz: passes speech flat both ways`, () => {
      for (const share of [0.0375, 0.125, 0.3, 0.41875]) {
        const frequency = share * low
        for (const out of [through(low, high, frequency), through(high, low, frequency)]) {
          assert.ok(
            Math.abs(gain(out)) < (share > 0.4 ? 1 : 0.1),
            `${frequency} Hz to ${out.rate}: ${gain(out).toFixed(2)} dB`,
          )
          assert.ok(shareOf(out, frequency, out.rate / 50) > 0.9999, `${frequency} Hz to ${out.rate} is pure`)
        }
      }
    })

    it(`${high} to ${low} Hz: lets nothing fold down from above`, () => {
      for (const share of [0.58, 0.7, 0.9]) {
        const left = gain(through(high, low, share * low))
        assert.ok(left < -55, `${share * low} Hz: ${left.toFixed(1)} dB`)
      }
    })
  }

  it('is the same in one piece and in frames', () => {
    const pcm = tonePcm(8000, 700, 1600)
    const whole = Array.from(createResampler(8000, 48_000).run(pcm))
    const framed = createResampler(8000, 48_000)
    const parts: number[] = []
    for (const size of [80, 240, 160, 480, 640])
      parts.push(...framed.run(pcm.subarray(parts.length / 6, parts.length / 6 + size)))
    assert.deepEqual(parts, whole)
  })

  it('clips what is too loud and does not wrap', () => {
    const square = Int16Array.from({ length: 160 }, (_, i) => (Math.floor(i / 8) % 2 ? 32767 : -32768))
    const out = createResampler(8000, 48_000).run(square)
    for (let i = 1; i < out.length; i++) assert.ok(Math.abs(out[i]! - out[i - 1]!) < 30_000)
  })

  it('refuses rates that do not fit', () => {
    assert.throws(() => createResampler(44_100, 48_000), RangeError)
  })
})
