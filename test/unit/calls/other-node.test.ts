import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createSide, createTcpSide, type Side, sdp } from '../../support/calls.ts'
import { until } from '../../support/dying-node.ts'
import { createSharedCalls } from '../../support/shared-calls.ts'
import type { Received } from '../../support/sip-peer.ts'

// Bob's phone has registered at node a over TCP and listens nowhere; Alice calls him at node b.

async function start(t: TestContext) {
  const shared = createSharedCalls('hot-standby', 'a secret that both nodes of the test have')
  const [a, b] = await Promise.all([shared.node('a'), shared.node('b')])
  const [alice, bob] = await Promise.all([createSide(b.engine.udp, 'alice'), createTcpSide(a.engine.tcp, 'bob')])
  for (const node of [a, b]) node.bind('alice', alice.peer, { node: 'b' })
  b.bind(
    'bob',
    bob.peer,
    a.bindings.find(({ aor }) => aor.includes('bob')),
  )
  t.after(async () => {
    await Promise.all([a.close(), b.close()])
    for (const { peer } of [alice, bob]) peer.close()
  })
  return { shared, a, b, alice, bob }
}

const routes = (name: 'Route' | 'Record-Route', invite: Received) =>
  invite.all('Record-Route').map(value => `${name}: ${value}`)

async function connect(alice: Side, bob: Side): Promise<Received> {
  alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  const headers = routes('Record-Route', invite)
  bob.answer(invite, 180, { headers })
  alice.learn(await alice.peer.status(180))
  bob.answer(invite, 200, { body: sdp(5000), headers })
  await bob.peer.request('ACK')
  alice.learn(await alice.peer.status(200))
  alice.say('ACK', { sequence: alice.sequence })
  return invite
}

for (const by of ['caller', 'callee']) {
  test(`a call to a phone of another node: changed by both sides, hung up by the ${by}`, async t => {
    const { b, alice, bob } = await start(t)
    const headers = routes('Route', await connect(alice, bob))
    alice.say('INVITE', { body: sdp(4002) })
    const asked = await bob.peer.request('INVITE')
    assert.equal(asked.body, sdp(4002))
    bob.answer(asked, 200, { body: sdp(5002) })
    await bob.peer.request('ACK')
    assert.equal((await alice.peer.status(200)).body, sdp(5002))
    alice.say('ACK', { sequence: alice.sequence })

    bob.say('INVITE', { body: sdp(5004), headers })
    const back = await alice.peer.request('INVITE')
    alice.answer(back, 200, { body: sdp(4004) })
    await alice.peer.request('ACK')
    assert.equal((await bob.peer.status(200)).body, sdp(4004))
    bob.say('ACK', { sequence: bob.sequence, headers })

    const [side, other] = by === 'caller' ? [alice, bob] : [bob, alice]
    side.say('BYE', side === bob ? { headers } : {})
    other.answer(await other.peer.request('BYE'), 200)
    await side.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
    assert.equal(b.calls.list().length, 0)
    assert.equal(b.records.length, 1)
  })
}

test('a caller that gives up stops the phone of the other node', async t => {
  const { alice, bob } = await start(t)
  const branch = alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  bob.answer(invite, 180)
  await alice.peer.status(180)
  alice.say('CANCEL', { branch, sequence: alice.sequence })
  bob.answer(await bob.peer.request('CANCEL'), 200)
  bob.answer(invite, 487)
  await Promise.all([bob.peer.request('ACK'), alice.peer.status(487)])
})

test('the node of the called phone dies: the call stays, and goes on when the phone has registered at the other one', async t => {
  const { shared, a, b, alice, bob } = await start(t)
  await connect(alice, bob)
  await a.engine.close()
  shared.dies('a')
  assert.equal(b.calls.list().length, 1)
  const again = await createTcpSide(b.engine.tcp, 'bob')
  t.after(() => again.peer.close())
  // What the phone asks now comes straight to this node.
  Object.assign(again, { ...bob, peer: again.peer, sequence: 100 })
  again.say('INFO', { body: 'x', headers: ['Content-Type: text/plain'] })
  alice.answer(await alice.peer.request('INFO'), 200)
  await again.peer.status(200)
  alice.say('BYE')
  again.answer(await again.peer.request('BYE'), 200)
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
})

test('the node of the called phone dies, and the phone is told as soon as it has registered at the other one', async t => {
  const { shared, a, b, alice, bob } = await start(t)
  await connect(alice, bob)
  await a.engine.close()
  shared.dies('a')
  b.unbindAll()
  const again = await createTcpSide(b.engine.tcp, 'bob')
  t.after(() => again.peer.close())
  const asked = await again.peer.request('INVITE')
  assert.deepEqual([asked.header('Call-ID'), asked.body, asked.all('Route')], [bob.callId, sdp(4000), []])
  again.answer(asked, 200, { body: sdp(5000) })
  await again.peer.request('ACK')
  alice.say('BYE')
  again.answer(await again.peer.request('BYE'), 200)
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
  assert.ok(alice.peer.untaken().every(({ status }) => status === 100))
})

test('the node of the caller dies: the one that has the called phone carries on', async t => {
  const { shared, a, b, alice, bob } = await start(t)
  const invite = await connect(alice, bob)
  await b.engine.close()
  shared.dies('b')
  const asked = await bob.peer.request('INVITE')
  bob.answer(asked, 200, { body: sdp(5000) })
  await bob.peer.request('ACK')
  assert.equal(a.calls.list().length, 1)
  bob.say('BYE', { headers: routes('Route', invite) })
  await bob.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
  assert.equal(a.calls.list().length, 0)
})

test('a caller waits for a phone whose node has just gone, and that comes to another one in time', async t => {
  const { shared, a, b, alice } = await start(t)
  await a.engine.close()
  shared.dies('a')
  alice.say('INVITE', { body: sdp(4000) })
  await alice.peer.status(100)
  const again = await createTcpSide(b.engine.tcp, 'bob')
  t.after(() => again.peer.close())
  const invite = await again.invited()
  assert.equal(invite.body, sdp(4000))
  again.answer(invite, 486)
  await Promise.all([again.peer.request('ACK'), alice.peer.status(486)])
})

test('but not for long, and not at all where the phone was away before', async t => {
  const { shared, a, b, alice } = await start(t)
  await a.engine.close()
  shared.dies('a')
  alice.say('INVITE', { body: sdp(4000) })
  assert.equal((await alice.peer.wait(m => m.status > 100)).status, 480)
  b.unbindAll()
  alice.callId = 'another'
  alice.say('INVITE', { body: sdp(4000) })
  assert.equal((await alice.peer.wait(m => m.status > 100)).status, 480)
})

test('of the flows of one phone one is rung, and when that has gone the next one', async t => {
  const { a, b, alice, bob } = await start(t)
  const [known] = a.bindings.filter(({ aor }) => aor.includes('bob'))
  const device = { ...known, instance: 'urn:uuid:1' }
  b.unbindAll()
  b.bind('bob', bob.peer, { ...device, node: 'b', regId: 1, flow: 'gone', updatedAt: 2 })
  b.bind('bob', bob.peer, { ...device, regId: 2 })
  alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  bob.answer(invite, 180)
  await alice.peer.status(180)
  assert.ok(bob.peer.untaken().every(({ method }) => method !== 'INVITE'))
  bob.answer(invite, 486)
  await Promise.all([bob.peer.request('ACK'), alice.peer.status(486)])
})

test('a phone of a node that has gone unnoticed is rung at its own address as soon as the death is known', async t => {
  const { shared, a, b, alice } = await start(t)
  const carol = await createSide(a.engine.udp, 'carol')
  t.after(() => carol.peer.close())
  b.bind('carol', carol.peer, { node: 'a', flow: '7' })
  alice.target = 'sip:carol@example.org'
  alice.to = '<sip:carol@example.org>'
  await a.engine.close()
  alice.say('INVITE', { body: sdp(4000) })
  // It has been looked up where it was.
  await until(() => b.facts.some(({ name }) => name === 'callStarted'))
  shared.dies('a')
  const invite = await carol.peer.request('INVITE')
  assert.equal(invite.body, sdp(4000))
  carol.peer.turnTo?.(b.engine.udp)
  carol.answer(invite, 486)
  await Promise.all([carol.peer.request('ACK'), alice.peer.status(486)])
})
