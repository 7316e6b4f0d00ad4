import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseTargets, targetOf, type Whereabouts, whereIn } from '../../../src/calls/route.ts'
import type { Member } from '../../../src/cluster/members.ts'
import type { Binding } from '../../../src/location/store.ts'

// Phones whose flow another node holds, or held.

const binding = (more: Partial<Binding> = {}): Binding => ({
  aor: 'sip:mum@vaartha.local',
  contact: 'sip:mum@x1.invalid;transport=ws',
  callId: 'c',
  cseq: 1,
  q: 1,
  expiresAt: 1e15,
  path: [],
  flow: 'f1',
  protocol: 'wss',
  source: { address: '192.168.1.9', port: 4000 },
  userAgent: 'phone',
  registeredAt: 0,
  updatedAt: 0,
  node: 'b-1',
  ...more,
})

const places: Record<string, ReturnType<Whereabouts>> = { 'a-1': 'here', 'b-1': { sip: 'sip:10.0.0.2;transport=tcp' } }
const where: Whereabouts = life => places[life] ?? 'gone'
const proxies = (...bindings: Binding[]) => chooseTargets(bindings, { most: 10, where }).map(target => target.proxy)

test('a flow of another node is asked of that node, over UDP too', () => {
  const hop = 'sip:10.0.0.2;transport=tcp;node=b-1;fl=f1'
  assert.deepEqual(proxies(binding()), [hop])
  assert.deepEqual(proxies(binding({ protocol: 'udp', contact: 'sip:mum@192.168.1.9' })), [hop])
  assert.deepEqual(proxies(binding({ node: 'a-1' })), ['sip:192.168.1.9:4000;transport=wss;fl=f1'])
  assert.equal(targetOf(binding()).proxy, 'sip:192.168.1.9:4000;transport=wss;fl=f1')
})

test('a Path goes before, and chooses neither flow nor node', () => {
  assert.deepEqual(proxies(binding({ node: 'dead', path: ['<sip:edge.example;node=b-1;fl=f1;lr>'] })), [
    'sip:edge.example;lr',
  ])
})

test('what only a dead node could reach is not rung; a UDP phone without NAT is tried at its contact', () => {
  const dead = (more: Partial<Binding>) => binding({ node: 'dead', ...more })
  assert.deepEqual(proxies(dead({})), [])
  assert.deepEqual(proxies(dead({ protocol: 'tcp', contact: 'sip:mum@192.168.1.9:5060;transport=tcp' })), [])
  assert.deepEqual(proxies(dead({ protocol: 'udp', contact: 'sip:mum@10.1.1.1:5060' })), [])
  const open = chooseTargets([dead({ protocol: 'udp', contact: 'sip:mum@192.168.1.9:5062' })], { most: 10, where })
  assert.deepEqual(
    open.map(({ uri, proxy }) => [uri, proxy]),
    [['sip:mum@192.168.1.9:5062', undefined]],
  )
})

test('of a device with several flows those that live are rung', () => {
  const outbound = { instance: 'urn:uuid:1', protocol: 'udp', contact: 'sip:mum@192.168.1.9' } as const
  const lost = binding({ ...outbound, regId: 1, node: 'dead' })
  const closed = binding({ ...outbound, regId: 3, node: 'a-1', flow: '' })
  const live = binding({ ...outbound, regId: 2 })
  assert.equal(proxies(lost, closed, live).length, 1)
  assert.equal(proxies(lost, closed).length, 2)
  assert.equal(proxies(lost, binding({ ...outbound, regId: 2, instance: 'urn:uuid:2' })).length, 2)
  const here = binding({ ...outbound, regId: 4, node: 'a-1', flow: 'f4' })
  assert.equal(proxies(live, here).length, 1)
  assert.deepEqual(proxies(live, here), proxies(here))
})

test('members say where a life is; without a cluster everything is here', () => {
  const member = { node: 'b', life: 'b-1', state: 'up', sip: 'sip:10.0.0.2' } as Member
  const found = (more: Partial<Member> = {}) =>
    whereIn({ life: 'a-1', find: name => (['b', 'b-1'].includes(name) ? { ...member, ...more } : undefined) })
  assert.equal(found()('a-1'), 'here')
  assert.deepEqual(found()('b-1'), { sip: 'sip:10.0.0.2' })
  assert.deepEqual(found({ state: 'suspect' })('b-1'), { sip: 'sip:10.0.0.2' })
  assert.equal(found({ state: 'down' })('b-1'), 'gone')
  assert.equal(found({ life: 'b-2' })('b-1'), 'gone')
  assert.equal(found({ sip: '' })('b-1'), 'gone')
  assert.equal(found()('c-1'), 'gone')
  assert.equal(whereIn(undefined)('anything'), 'here')
})
