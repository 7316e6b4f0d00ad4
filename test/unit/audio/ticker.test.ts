import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { createTicker } from '../../../src/media/audio/ticker.ts'

test('beats every 20 ms, right after packets that come near its time, and never more often for them', context => {
  mock.timers.enable({ apis: ['setTimeout', 'setImmediate'] })
  context.after(() => mock.timers.reset())
  let now = 0
  const beats: number[] = []
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
  beats.length = 0
  pass(8000, ms => ms % 20 === 7)
  assert.ok(beats.length >= 99 && beats.length <= 101, `${beats.length} beats in two seconds`)
  assert.ok(
    beats.every(at => at % 20 === 7),
    'in the wake-ups of its packets',
  )
  // Whatever comes, nothing beats twice in its time.
  beats.length = 0
  pass(10_000, () => true)
  assert.ok(beats.length >= 98 && beats.length <= 102, `${beats.length} beats in two seconds`)
  stop()
  beats.length = 0
  ticker.nudge()
  pass(10_100, ms => ms % 20 === 7)
  assert.equal(beats.length, 0)
})
