import assert from 'node:assert/strict'
import { it } from 'node:test'
import {
  compareVersions,
  isNewer,
  readVersion,
  type Version,
  writeVersion,
} from '../../../src/cluster/directory/version.ts'

type State = Version & { text: string }

function merge(table: Map<string, State>, id: string, state: State): void {
  if (isNewer(state, table.get(id))) table.set(id, state)
}

/** Numbers between 0 and 1, the same for a seed. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

it('ends with the same states, in whatever order and however often they come', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = randomOf(seed)
    const pick = (most: number) => Math.floor(random() * most)
    // Few stamps, so that many are equal; a node makes no two states of one stamp.
    const states = new Map<string, [id: string, state: State]>()
    for (let n = 0; n < 30; n++) {
      const [id, stamp, node] = [`row${pick(3)}`, pick(6), 'abc'[pick(3)]!]
      states.set(`${stamp}${node}`, [id, { stamp, node, text: `${n}` }])
    }
    const all = [...states.values()]
    const ends = [1, 2, 3].map(() => {
      const table = new Map<string, State>()
      const shuffled = [...all, ...all.slice(pick(all.length))].map(one => [random(), one] as const)
      shuffled.sort(([a], [b]) => a - b)
      for (const [, [id, state]] of shuffled) merge(table, id, state)
      return JSON.stringify([...table].sort())
    })
    assert.equal(new Set(ends).size, 1, `seed ${seed}`)
  }
})

it('orders by time, then by node', () => {
  const [early, late, other] = [
    { stamp: 1, node: 'b' },
    { stamp: 2, node: 'a' },
    { stamp: 1, node: 'c' },
  ]
  assert.ok(isNewer(late, early))
  assert.ok(isNewer(other, early))
  assert.ok(!isNewer(early, { ...early }))
  assert.deepEqual([late, other, early].sort(compareVersions), [early, other, late])
})

it('writes a version as text and reads it', () => {
  const version = { stamp: 1_795_256_578_971_000, node: 'a.b-c_d' }
  assert.deepEqual(readVersion(writeVersion({ ...version, doc: undefined })), { ...version, gone: true })
  assert.deepEqual(readVersion(writeVersion({ ...version, doc: '{}' })), { ...version, gone: false })
  for (const wrong of ['', '1:0:', '1:2:a', 'x:0:a', `${'9'.repeat(17)}:0:a`])
    assert.equal(readVersion(wrong), undefined)
})
