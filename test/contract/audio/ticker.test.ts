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

test('a thread that owes nothing to anybody sleeps from beat to beat and reads just before it', async context => {
  mock.timers.enable({ apis: ['setTimeout'] })
  context.after(() => mock.timers.reset())
  let now = 0
  let calm = true
  let rings = 0
  let turns = 0
  const arrives = (ms: number) => ms % 20 === 7
  let waiting = 0
  const beats: { at: number; waited: number }[] = []
  const pass = (ms: number) => {
    for (const until = now + ms; now < until; ) if (arrives(++now)) waiting++
  }
  let lastArrival = 0
  const ticker = createTicker(() => now, {
    may: () => calm,
    sleep(ms) {
      if (rings > 0) {
        rings--
        return false
      }
      pass(Math.ceil(ms))
      return true
    },
    read() {
      const count = waiting
      waiting = 0
      return count
    },
  })
  const stop = ticker.add(() => {
    for (lastArrival = now; !arrives(lastArrival); ) lastArrival--
    beats.push({ at: now, waited: now - lastArrival })
  })
  context.after(stop)
  const turn = () => {
    turns++
    return new Promise(setImmediate)
  }
  while (now < 20_000) await turn()
  assert.ok(beats.length >= 999 && beats.length <= 1021, `${beats.length} beats in twenty seconds`)
  assert.ok(turns < beats.length / 4 && turns > beats.length / 6, `${turns} turns of the loop of events meanwhile`)
  assert.ok(
    beats.slice(-200).every(({ waited }) => waited <= 4),
    'packets do not wait long',
  )
  // Who asks for something is heard before the next beat, which is not late for it.
  const before = beats.length
  rings = 3
  for (let i = 0; i < 3; i++) await turn()
  assert.equal(beats.length, before)
  await turn()
  assert.equal(beats.length, before + 1)
  assert.ok(beats[before]!.at - beats[before - 1]!.at <= 21)
  // A call that is passed on: the thread waits in the loop of events, by a timer.
  calm = false
  await turn()
  const [from, count] = [now, beats.length]
  for (let i = 0; i < 1000; i++) {
    now++
    mock.timers.tick(1)
  }
  assert.equal(now - from, 1000)
  assert.ok(Math.abs(beats.length - count - 50) <= 1, `${beats.length - count} beats in a second`)
  calm = true
  stop()
  await turn()
  const last = beats.length
  for (let i = 0; i < 10; i++) await turn()
  assert.equal(beats.length, last)
})
