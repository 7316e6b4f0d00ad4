import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createPresence } from '../../../src/media/legs/presence.ts'
import type { LegEvent } from '../../../src/media/media.ts'

function start(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'] })
  const events: LegEvent[] = []
  const presence = createPresence(event => events.push(event), Date.now)
  t.after(() => presence.close())
  const pass = (ms: number) => {
    for (let gone = 0; gone < ms; gone += 1000) t.mock.timers.tick(1000)
  }
  return { events, presence, pass }
}

test('who is away is silent every five seconds, and lost after thirty', t => {
  const { events, presence, pass } = start(t)
  presence.here()
  presence.away()
  pass(60_000)
  assert.deepEqual(
    events.map(event => (event.type === 'silent' ? event.ms : event.type)),
    [0, 5000, 10_000, 15_000, 20_000, 25_000, 'lost'],
  )
})

test('who comes back in time is not lost', t => {
  const { events, presence, pass } = start(t)
  presence.here()
  presence.away()
  pass(25_000)
  presence.here()
  pass(60_000)
  assert.ok(events.every(event => event.type === 'silent'))
})

test('who never comes is lost, but only after it was to come', t => {
  const { events, presence, pass } = start(t)
  pass(60_000)
  assert.deepEqual(events, [])
  presence.began()
  pass(30_000)
  assert.deepEqual(events.at(-1), { type: 'lost', why: 'ICE found no way' })
})

test('a failed DTLS is told once', t => {
  const { events, presence, pass } = start(t)
  presence.lost('DTLS failed')
  presence.lost('DTLS failed')
  presence.away()
  pass(60_000)
  assert.deepEqual(events, [{ type: 'lost', why: 'DTLS failed' }])
})
