import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseTopology, type ShapeChoice, type ShapeMember } from '../../../src/groups/topology.ts'

// Each row: who is in, what was chosen before, how many seconds later it is, and what must come of it.
// b: a browser that can mesh; f: a browser of somebody else; p: a plain phone; R: the meeting is recorded.

const limits = { meshMost: 8, meshBack: 6 }
const s = 1000

function people(text: string): ShapeMember[] {
  return [...text.replace('R', '')].map((kind, i) => ({ id: String(i), mesh: kind === 'b', plain: kind === 'p' }))
}

const before = (shape: ShapeChoice['shape'], why: ShapeChoice['why'], fewSince?: number): ShapeChoice => ({
  shape,
  since: 0,
  why,
  fewSince,
})
const many = before('sfu', 'many')
const plain = before('sfu', 'plain')
const alone = before('sfu', 'alone')
const mesh = before('mesh', 'few')
const direct = before('direct', 'few')

const table: [
  who: string,
  previous: ShapeChoice | undefined,
  now: number,
  shape: string,
  why: string,
  again?: number,
][] = [
  ['', undefined, 0, 'sfu', 'alone'],
  ['b', undefined, 0, 'sfu', 'alone'],
  ['p', undefined, 0, 'sfu', 'alone'],
  ['bb', undefined, 0, 'direct', 'few'],
  ['bb', alone, 1 * s, 'direct', 'few'],
  ['bp', alone, 0, 'sfu', 'plain'],
  ['pp', alone, 0, 'sfu', 'plain'],
  ['bf', alone, 0, 'sfu', 'plain'],
  ['bbb', direct, 0, 'mesh', 'few'],
  ['bbbbbbbb', mesh, 0, 'mesh', 'few'],
  ['bbbbbbbbb', mesh, 0, 'sfu', 'many'],
  ['bbp', direct, 0, 'sfu', 'plain'],
  ['bbf', direct, 0, 'sfu', 'plain'],
  ['bbbbbbbbp', mesh, 0, 'sfu', 'plain'],
  ['b', direct, 0, 'sfu', 'alone'],
  ['bb', mesh, 0, 'direct', 'few'],
  // Back from nine: not at eight, not at seven, and at six only after ten seconds.
  ['bbbbbbbb', many, 60 * s, 'sfu', 'many'],
  ['bbbbbbb', many, 60 * s, 'sfu', 'many'],
  ['bbbbbb', many, 60 * s, 'sfu', 'many', 70 * s],
  ['bbbbbb', before('sfu', 'many', 60 * s), 69.9 * s, 'sfu', 'many', 70 * s],
  ['bbbbbb', before('sfu', 'many', 60 * s), 70 * s, 'mesh', 'few'],
  ['bb', before('sfu', 'many', 60 * s), 70 * s, 'direct', 'few'],
  ['bbb', before('sfu', 'many', 60 * s), 61 * s, 'sfu', 'many', 70 * s],
  // A seventh who comes back begins the ten seconds anew.
  ['bbbbbbb', before('sfu', 'many', 60 * s), 65 * s, 'sfu', 'many'],
  // The phone has left.
  ['bbb', plain, 5 * s, 'sfu', 'plain', 15 * s],
  ['bbb', before('sfu', 'plain', 5 * s), 15 * s, 'mesh', 'few'],
  ['bbbbbbb', plain, 5 * s, 'sfu', 'plain'],
  // Recording needs the server, and its end goes back like everything else.
  ['bbbR', mesh, 0, 'sfu', 'server'],
  ['bbR', direct, 0, 'sfu', 'server'],
  ['bbb', before('sfu', 'server'), 5 * s, 'sfu', 'server', 15 * s],
  // One who was left alone by nine is met directly by the next.
  ['b', many, 0, 'sfu', 'alone'],
]

for (const [who, previous, now, shape, why, again] of table) {
  const from = previous === undefined ? 'nothing' : `${previous.shape} (${previous.why})`
  test(`${who || 'nobody'} after ${from} at ${now / s} s: ${shape}`, () => {
    const choice = chooseTopology(people(who), { ...limits, serverNeeded: who.includes('R') }, previous, now)
    assert.equal(choice.shape, shape)
    assert.equal(choice.why, why)
    assert.equal(choice.again, again)
    assert.equal(choice.since, previous?.shape === shape ? 0 : now)
  })
}

test('the ten seconds are forgotten when the meeting grows in between', () => {
  let choice = chooseTopology(people('bbbbbbbbb'), limits, undefined, 0)
  choice = chooseTopology(people('bbbbbb'), limits, choice, 10 * s)
  choice = chooseTopology(people('bbbbbbb'), limits, choice, 15 * s)
  choice = chooseTopology(people('bbbbbb'), limits, choice, 19 * s)
  assert.equal(choice.again, 29 * s)
  assert.equal(chooseTopology(people('bbbbbb'), limits, choice, 20 * s).shape, 'sfu')
  assert.equal(chooseTopology(people('bbbbbb'), limits, choice, 29 * s).shape, 'mesh')
})
