import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { Binding } from '../../../src/location/binding.ts'
import { bindingKey, mergeBindings } from '../../../src/location/merge.ts'
import { someBinding } from '../../support/bindings.ts'

const now = 1000
const at = (name: string, updatedAt: number, other: Partial<Binding> = {}) =>
  someBinding({ contact: `sip:${name}@192.0.2.1`, updatedAt, ...other })
const none = new Map<string, number>()
function merged(here: Binding[], there: Binding[], { gone = none, base = [] as Binding[] } = {}): string[] {
  return mergeBindings(here, there, gone, base, now).map(
    ({ contact, updatedAt }) => `${contact.slice(4, 5)}${updatedAt}`,
  )
}

it('keeps of each binding what was renewed last, and all that only one side has', () => {
  assert.deepEqual(merged([at('a', 2), at('b', 1)], [at('a', 1), at('b', 2), at('c', 1)]).sort(), ['a2', 'b2', 'c1'])
  assert.deepEqual(merged([at('a', 1, { cseq: 2 })], [at('a', 1, { cseq: 1 })]).length, 1)
})

it('knows a flow of Outbound by its instance and reg-id, whatever its contact is', () => {
  const outbound = { instance: 'urn:uuid:1', regId: 1 }
  assert.deepEqual(merged([at('a', 1, outbound)], [at('b', 2, outbound)]), ['b2'])
  assert.equal(merged([at('a', 1, outbound)], [at('b', 2, { ...outbound, regId: 2 })]).length, 2)
})

it('leaves away what was taken away here, unless it was renewed there after that', () => {
  const gone = new Map([[bindingKey(at('a', 0)), 5]])
  assert.deepEqual(merged([], [at('a', 4)], { gone }), [])
  assert.deepEqual(merged([], [at('a', 6)], { gone }), ['a6'])
})

it('leaves away what was taken away there, unless it was renewed here since', () => {
  assert.deepEqual(merged([at('a', 1), at('b', 2)], [], { base: [at('a', 1), at('b', 1)] }), ['b2'])
})

it('drops what has expired, and believes that a flow is gone', () => {
  const over = { expiresAt: now }
  assert.deepEqual(merged([at('a', 1, over)], [at('b', 1, over)]), [])
  const flows = (here: Binding, there: Binding) => mergeBindings([here], [there], none, [], now).map(({ flow }) => flow)
  const [open, lost] = [at('a', 1), at('a', 1, { flow: '' })]
  assert.deepEqual([flows(open, lost), flows(lost, open)], [[''], ['']])
})
