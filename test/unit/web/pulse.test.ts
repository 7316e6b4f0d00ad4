import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { type Pulse, startPulse } from '../../../src/web/pulse.ts'

let asked = 0
let dead = 0
let busy = false
let pulse: Pulse

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 })
  asked = dead = 0
  busy = false
  pulse = startPulse({
    ask: () => asked++,
    busy: () => busy,
    onDead: () => dead++,
  })
})
afterEach(() => {
  pulse.stop()
  mock.timers.reset()
})

test('a server that answers is asked every ten seconds', () => {
  for (let n = 1; n <= 5; n++) {
    mock.timers.tick(10_000)
    assert.equal(asked, n)
    pulse.heard()
  }
  mock.timers.tick(9999)
  assert.deepEqual([asked, dead], [5, 0])
})

test('one that stands still is noticed within fifteen seconds, once', () => {
  mock.timers.tick(10_000)
  mock.timers.tick(4999)
  assert.equal(dead, 0)
  mock.timers.tick(1)
  assert.equal(dead, 1)
  pulse.heard()
  pulse.hurry()
  mock.timers.tick(60_000)
  assert.deepEqual([asked, dead], [1, 1])
})

test('in a call within six, and at once when there is reason to ask', () => {
  mock.timers.tick(5000)
  busy = true
  mock.timers.tick(2000)
  assert.equal(asked, 1)
  pulse.heard()
  mock.timers.tick(2000)
  assert.equal(asked, 2)
  mock.timers.tick(4000)
  assert.equal(dead, 1)
  pulse = startPulse({ ask: () => asked++, busy: () => busy, onDead: () => dead++ })
  pulse.hurry()
  pulse.hurry()
  assert.equal(asked, 3)
  mock.timers.tick(4000)
  assert.equal(dead, 2)
})

test('a page that slept while it waited asks again, and does not judge', () => {
  mock.timers.tick(10_000)
  // All that came due meanwhile is done late, and what was heard is only told after it.
  mock.timers.setTime(1_000_000 + 3_600_000)
  mock.timers.tick(1)
  assert.deepEqual([asked, dead], [2, 0])
  pulse.heard()
  mock.timers.tick(9999)
  assert.deepEqual([asked, dead], [2, 0])
})
