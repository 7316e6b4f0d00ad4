import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { createTicker } from '../../../src/media/audio/ticker.ts'

test('beats every 20 ms, right after packets that come near its time, and never more often for them', context => {
  mock.timers.enable({ apis: ['setTimeout', 'setImmediate'] })
  context.after(() => mock.timers.reset())
  let now = 0
  let beats: number[] = []
  const ticker = createTicker(() => now)
  const pass = (until: number, arrives: (ms: number) => boolean) => {
    while (now < until) {
      now++
      mock.timers.tick(1)
      if (!arrives(now)) continue
      ticker.nudge()
      ticker.nudge()
      mock.timers.tick(0)
    }
  }
  const stop = ticker.add(() => beats.push(now))
  ticker.nudge()
  pass(1000, () => false)
  assert.ok(Math.abs(beats.length - 50) <= 1, `${beats.length} beats in a second`)
  // A sender that sends at 7, 27, 47 … ms: the beat moves there, and stays.
  pass(6000, ms => ms % 20 === 7)
  beats = []
  pass(8000, ms => ms % 20 === 7)
  assert.ok(beats.length >= 99 && beats.length <= 101, `${beats.length} beats in two seconds`)
  assert.ok(
    beats.every(at => at % 20 === 7),
    'in the wake-ups of its packets',
  )
  // Nor does it go slow for ever in search of packets that never come near its time.
  beats = []
  pass(18_000, ms => ms % 37 === 0)
  pass(28_000, () => false)
  assert.ok(beats.length >= 998 && beats.length <= 1001, `${beats.length} beats in twenty seconds`)
  // Whatever comes, nothing beats twice in its time.
  beats = []
  pass(30_000, () => true)
  assert.ok(beats.length >= 98 && beats.length <= 102, `${beats.length} beats in two seconds`)
  stop()
  beats = []
  ticker.nudge()
  pass(30_100, ms => ms % 20 === 7)
  assert.equal(beats.length, 0)
})
