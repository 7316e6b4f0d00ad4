import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { MixRate } from '../../../src/media/codec/codec.ts'
import { createTone } from '../../../src/media/mix/tones.ts'
import { levelOf, type Sound, shareOf, soundOf } from '../../support/tone.ts'

/** What a tone plays, up to so many seconds, and whether it ended by itself. */
function played(
  prompt: string,
  options: { loop?: boolean; count?: number; seconds?: number; rate?: MixRate } = {},
): Sound & { ended: boolean } {
  const { loop = false, seconds = 10, rate = 16_000, count } = options
  const tone = createTone({ prompt, loop, ...(count === undefined ? {} : { count }) }, rate)
  const out = new Int16Array(seconds * rate)
  const sum = new Int32Array(rate / 50)
  let [at, ended] = [0, false]
  for (; at < out.length && !ended; at += sum.length) {
    sum.fill(0)
    ended = !tone.add(sum)
    out.set(sum, at)
  }
  return { ...soundOf(rate, out.subarray(0, ended ? at - sum.length : at)), ended }
}

const stretch = (sound: Sound, from: number, to: number): [number, number] => [from * sound.rate, to * sound.rate]

/** How many times sound begins after silence. */
function beeps(sound: Sound): number {
  const piece = sound.rate / 50
  let [count, before] = [0, false]
  for (let at = 0; at + piece <= sound.samples.length; at += piece) {
    const now = levelOf(sound, at, at + piece) > -45
    if (now && !before) count++
    before = now
  }
  return count
}

describe('tones', () => {
  it('rings back: 425 Hz for a second of every five', () => {
    const sound = played('ringback', { loop: true })
    assert.equal(sound.ended, false)
    assert.ok(shareOf(sound, 425, ...stretch(sound, 0, 1)) > 0.98)
    assert.ok(levelOf(sound, ...stretch(sound, 1.1, 4.9)) < -100)
    assert.ok(shareOf(sound, 425, ...stretch(sound, 5, 6)) > 0.98)
  })

  it('is busy: 425 Hz, half a second on and off', () => {
    const sound = played('busy', { loop: true, seconds: 5 })
    assert.equal(beeps(sound), 5)
  })

  it('goes up when somebody joins and down when somebody leaves', () => {
    const [up, down] = [played('joined'), played('left')]
    assert.ok(up.ended && down.ended)
    assert.ok(shareOf(up, 523.25, ...stretch(up, 0, 0.12)) > 0.9)
    assert.ok(shareOf(up, 783.99, ...stretch(up, 0.12, 0.3)) > 0.9)
    assert.ok(shareOf(down, 783.99, ...stretch(down, 0, 0.12)) > 0.9)
  })

  it('counts in beeps', () => {
    for (const count of [1, 3, 7, 12]) assert.equal(beeps(played('count', { count, seconds: 12 })), count)
    assert.ok(played('count', { count: 0 }).ended)
  })

  it('says that a recording begins, and then every 15 s', () => {
    const sound = played('recording', { loop: true, seconds: 33 })
    assert.equal(beeps(sound), 3 + 2)
  })

  it('has a sound of its own for each prompt, none of which clicks', () => {
    const seen = new Set<string>()
    for (const prompt of ['ringback', 'busy', 'joined', 'left', 'alone', 'recording', 'muted', 'unmuted']) {
      for (const rate of [16_000, 48_000] as const) {
        const sound = played(prompt, { rate })
        assert.ok(sound.ended, prompt)
        seen.add(`${sound.samples.length} ${sound.samples.slice(400, 410).join()}`)
        let step = 0
        for (let i = 1; i < sound.samples.length; i++)
          step = Math.max(step, Math.abs(sound.samples[i]! - sound.samples[i - 1]!))
        assert.ok(step < 0.07, `${prompt} steps by ${step}`)
      }
    }
    assert.equal(seen.size, 16)
  })

  it('refuses what it does not know', () => {
    assert.throws(() => createTone({ prompt: 'aria', loop: false }, 16_000), { code: 'bad-request' })
  })
})

describe('music on hold', () => {
  it('lasts a minute, then begins again, and is never loud nor long silent', () => {
    const sound = played('hold', { loop: true, seconds: 70 })
    assert.equal(sound.ended, false)
    for (let second = 0; second < 69; second++) {
      const level = levelOf(sound, ...stretch(sound, second, second + 1))
      assert.ok(level > -40 && level < -15, `second ${second}: ${level.toFixed(1)} dB`)
    }
    const peak = sound.samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0)
    assert.ok(peak < 0.5, `peak ${peak}`)
    const [first, again] = [sound.samples.slice(16_000, 17_000), sound.samples.slice(65 * 16_000, 65 * 16_000 + 1000)]
    for (let i = 0; i < 1000; i++) assert.ok(Math.abs(first[i]! - again[i]!) < 0.01)
  })

  it('ends after one round when it is not to loop', () => {
    const sound = played('hold', { seconds: 70 })
    assert.ok(sound.ended)
    assert.equal(sound.samples.length / sound.rate, 64)
  })

  it('is heard alone', () => {
    assert.equal(createTone({ prompt: 'hold', loop: true }, 48_000).alone, true)
    assert.equal(createTone({ prompt: 'busy', loop: true }, 48_000).alone, false)
  })
})
