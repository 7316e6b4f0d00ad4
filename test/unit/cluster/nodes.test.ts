import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLocalBus } from '../../../src/cluster/local-bus.ts'
import type { NodeState } from '../../../src/cluster/members.ts'
import { createNoMembers } from '../../../src/cluster/no-members.ts'
import { createNodes } from '../../../src/cluster/nodes.ts'
import { createSilentLog } from '../../../src/log.ts'

test('of a node that was started again its earlier lives are not shown, unless they live', () => {
  const log = createSilentLog()
  const places = () => ({ sip: '', http: '' })
  const members = createNoMembers({ node: 'a', life: 'a-3', roles: ['sip'], priority: 10, version: '1', places })
  const self = members.self()
  const life = (name: string, since: number, state: NodeState) => ({
    ...self,
    node: name[0]!,
    life: name,
    since,
    state,
  })
  const list = () => [
    life('a-1', 1, 'suspect'),
    life('a-2', 2, 'down'),
    life('a-3', 3, 'joining'),
    life('b-1', 1, 'draining'),
    life('b-2', 2, 'suspect'),
    life('c-1', 1, 'down'),
  ]
  const stats = () => {
    throw new Error('nobody asks for figures')
  }
  const rooms = { members: { ...members, list }, bus: createLocalBus({ node: 'a', log }), stats }
  const nodes = createNodes(rooms, { drain: async () => undefined, undrain: () => undefined }, log)
  assert.deepEqual(nodes.list().map(member => member.life), ['a-3', 'b-1', 'b-2', 'c-1']) // biome-ignore format: one list
})
