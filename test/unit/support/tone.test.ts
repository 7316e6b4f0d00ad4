import assert from 'node:assert/strict'
import { test } from 'node:test'
import { secondsOf, shareOf } from '../../support/tone.ts'

const tone = (frequency: number, seconds: number, rate = 8000) =>
  Float32Array.from({ length: seconds * rate }, (_, i) => 0.3 * Math.sin((2 * Math.PI * frequency * i) / rate))

test('a tone is found at its frequency and at no other', () => {
  const sound = { rate: 8000, samples: tone(440, 1) }
  assert.ok(shareOf(sound, 440) > 0.95)
  assert.ok(shareOf(sound, 550) < 0.05)
})

test('the length of a tone among silence and another tone is told', () => {
  const samples = Float32Array.from([...tone(440, 2), ...new Float32Array(8000), ...tone(660, 1)])
  const sound = { rate: 8000, samples }
  assert.ok(Math.abs(secondsOf(sound, 440) - 2) < 0.2)
  assert.ok(Math.abs(secondsOf(sound, 660) - 1) < 0.2)
  assert.equal(secondsOf(sound, 880), 0)
})
