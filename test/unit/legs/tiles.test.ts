import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { chooseTiles, orderPictures } from '../../../src/media/legs/tiles.ts'

test('a picture keeps its line while it is shown, and a newcomer takes the line of who goes', () => {
  const first = chooseTiles(['a', 'b'], new Map(), ['one', 'two', 'three'])
  assert.deepEqual([...first], [['a', 'one'], ['b', 'two']]) // biome-ignore format: pairs
  const second = chooseTiles(['a', 'b'], first, ['three', 'two', 'one'])
  assert.deepEqual(second.get('b'), 'two')
  assert.deepEqual(second.get('a'), 'three')
  assert.deepEqual([...chooseTiles(['a', 'b'], second, ['two'])], [['b', 'two']])
  assert.equal(chooseTiles([], second, ['two']).size, 0)
})

test('whatever came before, the most important are shown, once each, and none moves without need', () => {
  const name = fc.constantFrom('p', 'q', 'r', 's', 't')
  const line = fc.constantFrom('1', '2', '3')
  fc.assert(
    fc.property(fc.uniqueArray(line), fc.dictionary(line, name), fc.uniqueArray(name), (lines, shown, wanted) => {
      const before = new Map(Object.entries(shown))
      const after = chooseTiles(lines, before, wanted)
      const visible = wanted.slice(0, lines.length)
      assert.deepEqual([...after.values()].sort(), [...visible].sort())
      for (const [mid, picture] of after) {
        const home = lines.find(one => before.get(one) === picture)
        if (home !== undefined) assert.equal(before.get(mid), picture)
      }
    }),
  )
})

test('screens come first, then who has spoken last, then who has been there longest', () => {
  const picture = (leg: string, screen = false) => ({ id: `${leg}${screen ? '-screen' : ''}`, leg, screen })
  const pictures = [picture('a'), picture('b'), picture('c'), picture('a', true)]
  assert.deepEqual(
    orderPictures(pictures, ['c', 'b']).map(one => one.id),
    ['a-screen', 'c', 'b', 'a'],
  )
})
