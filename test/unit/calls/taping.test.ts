import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Taping } from '../../../src/calls/taping.ts'

/** A tape that begins when the test lets it. */
function createTape() {
  let stops = 0
  let run: () => void = () => undefined
  const begun = new Promise<void>(resolve => {
    run = resolve
  })
  const tape = { stop: async () => void stops++ }
  return { begin: () => begun.then(() => tape), run, stops: () => stops }
}

test('a recording goes on from its beginning to its stop', async () => {
  const taping = new Taping()
  const one = createTape()
  const started = taping.start(one.begin)
  assert.equal(taping.on, true)
  one.run()
  assert.equal(await started, undefined)
  await taping.stop()
  assert.equal(taping.on, false)
  assert.equal(one.stops(), 1)
  await taping.stop()
  assert.equal(one.stops(), 1)
})

test('one that is stopped while it begins is not waited for, and ended when it has begun', async () => {
  const taping = new Taping()
  const one = createTape()
  const started = taping.start(one.begin)
  await taping.stop()
  assert.equal(taping.on, false)
  const next = createTape()
  const again = taping.start(next.begin)
  one.run()
  await started
  assert.equal(one.stops(), 1)
  assert.equal(taping.on, true)
  next.run()
  await again
  assert.equal(next.stops(), 0)
})

test('one that cannot begin is told, and none is on', async () => {
  const taping = new Taping()
  const error = await taping.start(() => Promise.reject(new Error('no disk')))
  assert.match(String(error), /no disk/)
  assert.equal(taping.on, false)
})

test('who is no longer wanted need not begin', async () => {
  const taping = new Taping()
  const one = createTape()
  const started = taping.start(wanted => one.begin().then(tape => (wanted() ? tape : undefined)))
  await taping.stop()
  one.run()
  await started
  assert.equal(one.stops(), 0)
})
