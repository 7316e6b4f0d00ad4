import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conclude, gapOf, judge, type Measures } from '../../../src/drill/report.ts'

const good: Measures = {
  calls: [
    { media: 'relay', takenMs: 1500, gapMs: 1600, kept: true },
    { media: 'direct', takenMs: 1500, gapMs: 0, kept: true },
  ],
  ...{ noRelay: '', deadMs: 1400, registerMs: 10, newCallMs: 250, returnedMs: 5000, failBackMs: 5500 },
  records: { wanted: 3, here: 3, there: 3 },
}
const about = { id: 'x', how: 'kill', by: 'administrator', target: 'a', conductor: 'b', began: '2026-01-01T00:00:00Z', seconds: 9 } as const // biome-ignore format: one report

const missed = (found: Measures) => judge(found).flatMap(({ what, passed }) => (passed ? [] : [what]))

test('all aims met', () => {
  const report = conclude(about, good)
  assert.equal(report.result, 'passed')
  assert.equal(report.why, '')
  assert.deepEqual(missed(good), [])
})

test('each aim is missed by itself', () => {
  const [relay, direct] = good.calls as [Measures['calls'][0], Measures['calls'][0]]
  const cases: [string, Partial<Measures>][] = [
    ['calls lost', { calls: [relay, { ...direct, kept: false }] }],
    ['gap in direct sound', { calls: [relay, { ...direct, gapMs: 20 }] }],
    ['gap in sound through the node', { calls: [{ ...relay, gapMs: 2020 }, direct] }],
    ['new registration', { registerMs: 1001 }],
    ['new registration', { registerMs: null }],
    ['new call', { newCallMs: 3001 }],
    ['call records', { records: { wanted: 3, here: 3, there: 4 } }],
    ['call records', { records: { wanted: 3, here: 3, there: null } }],
    ['node is back', { returnedMs: null }],
    ['call through it', { failBackMs: null }],
  ]
  for (const [what, change] of cases) assert.deepEqual(missed({ ...good, ...change }), [what], JSON.stringify(change))
  const report = conclude(about, { ...good, registerMs: null, newCallMs: null })
  assert.equal(report.result, 'failed')
  assert.equal(report.why, 'new registration, new call')
})

test('no call at all is no success, and no relayed call is no gap', () => {
  assert.deepEqual(missed({ ...good, calls: [] }), ['calls lost'])
  const direct = judge({ ...good, calls: good.calls.slice(1), noRelay: 'no media' })
  assert.ok(!direct.some(({ what }) => what === 'gap in sound through the node'))
})

test('a gap is what was sent and did not come, 20 ms a packet', () => {
  assert.equal(gapOf({ from: 100, to: 200 }, { from: 90, to: 190 }), 0)
  assert.equal(gapOf({ from: 100, to: 200 }, { from: 90, to: 140 }), 1000)
  // One was under way when counting began.
  assert.equal(gapOf({ from: 100, to: 200 }, { from: 99, to: 200 }), 0)
})
