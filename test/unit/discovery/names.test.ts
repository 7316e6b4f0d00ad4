import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { firstLabel, instanceOf, labelOf, sameName } from '../../../src/discovery/names.ts'

describe('names', () => {
  it('counts up while a name is taken', () => {
    assert.deepEqual(
      [1, 2, 13].map(n => labelOf('vaartha', n)),
      ['vaartha', 'vaartha-2', 'vaartha-13'],
    )
  })
  it('keeps a label within 63 bytes', () => {
    const long = 'ä'.repeat(40)
    for (const label of [firstLabel(long), labelOf(firstLabel(long), 12), instanceOf(firstLabel(long), 'node')]) {
      assert.ok(Buffer.byteLength(label) <= 63)
    }
    assert.match(labelOf(firstLabel(long), 12), /-12$/)
  })
  it('makes one label of what was wished', () => {
    assert.deepEqual(['vaartha.local', 'my box', '.local', '--'].map(firstLabel), [
      'vaartha',
      'my-box',
      'vaartha',
      'vaartha',
    ])
  })
  it('tells the instances of two nodes apart, and keeps those of one', () => {
    assert.notEqual(instanceOf('vaartha', 'a'), instanceOf('vaartha', 'b'))
    assert.equal(instanceOf('vaartha', 'a'), instanceOf('vaartha', 'a'))
  })
  it('compares without case', () => {
    assert.ok(sameName('Vaartha.local', 'vaartha.LOCAL'))
    assert.ok(!sameName('vaartha.local', 'vaartha-2.local'))
  })
})
