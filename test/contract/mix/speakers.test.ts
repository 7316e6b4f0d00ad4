import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Activity, type Candidate, createActivity, createChoice } from '../../../src/media/mix/speakers.ts'

/** Feeds one level every 20 ms; gives the time afterwards. */
function feed(activity: Activity, level: number, ms: number, from: number): number {
  for (let now = from; now < from + ms; now += 20) {
    activity.feed(level, now)
    activity.look(now)
  }
  return from + ms
}

describe('activity', () => {
  it('hears speech within two packets and its end after a moment', () => {
    const activity = createActivity()
    let now = feed(activity, 70, 1000, 0)
    assert.equal(activity.speaking, false)
    now = feed(activity, 25, 40, now)
    assert.equal(activity.speaking, true)
    now = feed(activity, 70, 380, now)
    assert.equal(activity.speaking, true, 'a pause between words')
    feed(activity, 70, 100, now)
    assert.equal(activity.speaking, false)
  })

  it('takes one click for no speech', () => {
    const activity = createActivity()
    let now = feed(activity, 70, 500, 0)
    now = feed(activity, 10, 20, now)
    feed(activity, 70, 20, now)
    assert.equal(activity.speaking, false)
  })

  it('learns a noisy place, and hears a voice above it', () => {
    const activity = createActivity()
    let now = feed(activity, 45, 30_000, 0)
    assert.equal(activity.speaking, false, 'a fan is no speaker')
    now = feed(activity, 25, 100, now)
    assert.equal(activity.speaking, true)
    feed(activity, 45, 1000, now)
    assert.equal(activity.speaking, false)
  })

  it('never takes loud sound for noise, however long it lasts', () => {
    const activity = createActivity()
    feed(activity, 25, 600_000, 0)
    assert.equal(activity.speaking, true)
  })

  it('ends speech when packets stop', () => {
    const activity = createActivity()
    const now = feed(activity, 20, 500, 0)
    activity.look(now + 1000)
    assert.equal(activity.speaking, false)
  })
})

const someone = (id: string, loudness: number, heardAt = 0): Candidate => ({
  id,
  loudness,
  heardAt,
  speaking: loudness > -50,
})

describe('choice of speakers', () => {
  it('fills free places with who speaks, the loudest first', () => {
    const choice = createChoice(3)
    assert.deepEqual(choice.choose([], 0), [undefined, undefined, undefined])
    const all = [someone('a', -30), someone('b', -20), someone('c', -90), someone('d', -25), someone('e', -28)]
    assert.deepEqual(choice.choose(all, 20), ['b', 'd', 'e'])
  })

  it('keeps who is there when another becomes as loud', () => {
    const choice = createChoice(1)
    choice.choose([someone('a', -25), someone('b', -90)], 0)
    for (let now = 0; now < 10_000; now += 20) {
      const quiver = (now / 20) % 2 ? 3 : -3
      assert.deepEqual(choice.choose([someone('a', -25), someone('b', -24 + quiver)], now), ['a'])
    }
  })

  it('gives the place to who is much louder for a while, but not at once', () => {
    const choice = createChoice(1)
    const quietly = [someone('a', -35), someone('b', -15)]
    choice.choose([someone('a', -35)], 0)
    choice.choose(quietly, 20)
    assert.deepEqual(choice.choose(quietly, 900), ['a'], 'who has just begun is let speak')
    choice.choose(quietly, 1020)
    assert.deepEqual(choice.choose(quietly, 1200), ['a'])
    assert.deepEqual(choice.choose(quietly, 1340), ['b'])
  })

  it('forgets a challenge that was given up', () => {
    const choice = createChoice(1)
    choice.choose([someone('a', -35)], 0)
    for (let now = 1100; now < 5000; now += 200) {
      const loud = Math.floor(now / 200) % 2 ? -15 : -33
      assert.deepEqual(choice.choose([someone('a', -35), someone('b', loud)], now), ['a'])
    }
  })

  it('takes the place of who is silent longest, at once', () => {
    const choice = createChoice(2)
    choice.choose([someone('a', -20), someone('b', -25)], 0)
    const silent = [someone('a', -80, 3000), someone('b', -80, 1000)]
    assert.deepEqual(choice.choose(silent, 4000), ['a', 'b'], 'the silent keep what nobody wants')
    assert.deepEqual(choice.choose([...silent, someone('c', -45)], 4020), ['a', 'c'])
  })

  it('frees the place of who has gone or is muted', () => {
    const choice = createChoice(2)
    choice.choose([someone('a', -20), someone('b', -25)], 0)
    assert.deepEqual(choice.choose([someone('b', -25)], 20), [undefined, 'b'])
  })

  it('grows and shrinks and keeps who stays', () => {
    const choice = createChoice(1)
    const both = [someone('a', -20), someone('b', -25)]
    choice.choose(both, 0)
    choice.resize(2)
    assert.deepEqual(choice.choose(both, 20), ['a', 'b'])
    choice.resize(1)
    assert.deepEqual(choice.choose(both, 40), ['a'])
    choice.resize(0)
    assert.deepEqual(choice.choose(both, 60), [])
  })
})
