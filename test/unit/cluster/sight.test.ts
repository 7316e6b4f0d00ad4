import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeState } from '../../../src/cluster/members.ts'
import { decideState, type Sight, weightOf } from '../../../src/cluster/sight.ts'
import { createSteadyClock } from '../../../src/cluster/steady.ts'

const times = { heartbeatMs: 300, leaseMs: 1500 }
const fine: Sight = {
  was: 'up',
  said: 'up',
  lease: true,
  age: 100,
  silent: 1e9,
  counted: 1e9,
  probe: 'none',
  grace: false,
}

const table: [what: string, sight: Partial<Sight>, then: NodeState][] = [
  ['a lease renewed lately', {}, 'up'],
  ['what it says of itself', { said: 'draining' }, 'draining'],
  ['one that has just come', { said: 'joining', was: 'suspect' }, 'joining'],
  ['a goodbye, lease or not', { said: 'down' }, 'down'],
  ['two beats missed', { age: 700 }, 'up'],
  ['three beats missed', { age: 900 }, 'suspect'],
  ['three beats missed, but it answers', { age: 900, silent: 50, probe: 'answered' }, 'up'],
  ['three beats missed, no answer, its lease holds', { age: 1400, probe: 'failed' }, 'suspect'],
  ['no lease, not asked yet', { lease: false }, 'suspect'],
  ['no lease, but it answers', { lease: false, silent: 50, probe: 'answered' }, 'up'],
  ['no lease, no answer', { lease: false, probe: 'failed' }, 'down'],
  ['no lease, no answer, Redis was away until now', { lease: false, probe: 'failed', grace: true }, 'suspect'],
  ['no lease, no answer, but counted within a lease', { lease: false, probe: 'failed', counted: 1400 }, 'suspect'],
  ['no lease, no answer, counted before that', { lease: false, probe: 'failed', counted: 1600 }, 'down'],
  ['no lease, a later life answers', { lease: false, probe: 'other', silent: 50 }, 'down'],
  ['a lease, a later life answers', { age: 900, probe: 'other', silent: 50 }, 'suspect'],
  ['no word of Redis, no answer', { lease: undefined, probe: 'failed' }, 'suspect'],
  ['no word of Redis, it answers', { lease: undefined, silent: 50, probe: 'answered' }, 'up'],
  ['down, and no word of Redis', { was: 'down', lease: undefined, probe: 'failed' }, 'down'],
  ['down stays down without an answer', { was: 'down', lease: false, grace: true, probe: 'failed' }, 'down'],
  ['down comes back with a lease', { was: 'down' }, 'up'],
]

test('what makes a node up, suspect or down', () => {
  for (const [what, sight, then] of table) assert.equal(decideState({ ...fine, ...sight }, times), then, what)
})

test('a node takes up its share little by little', () => {
  assert.deepEqual([0, 7500, 15_000, 30_000, 60_000].map(ms => weightOf(ms, 30_000)), [0, 0.25, 0.5, 1, 1]) // biome-ignore format: one table
  assert.equal(weightOf(0, 0), 1)
})

test('the clock of leases is deaf to the wall clock, and hears a machine that slept', () => {
  let [monotonic, wall, uptime] = [1000, 1_700_000_000_000, 50_000]
  const clock = createSteadyClock({ monotonic: () => monotonic, wall: () => wall, uptime: () => uptime })
  const pass = (ms: number) => {
    monotonic += ms
    wall += ms
    uptime += ms
  }
  const began = clock()
  pass(500)
  assert.equal(clock() - began, 500)
  wall += 3_600_000
  pass(10)
  assert.equal(clock() - began, 510)
  wall -= 7_200_000
  assert.equal(clock() - began, 510)
  // Asleep: the monotonic clock of Linux stands still, the other two go on.
  wall += 20_000
  uptime += 20_000
  assert.equal(clock() - began, 20_510)
  pass(10)
  wall += 3_600_000
  assert.equal(clock() - began, 20_520)
})
