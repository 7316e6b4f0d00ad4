import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import type { Strategy } from '../../src/cluster/replication.ts'
import { type CallsUnderTest, connect, createSide, createTcpSide, type Side, sdp } from '../support/calls.ts'
import { createSharedCalls } from '../support/shared-calls.ts'
import type { Received } from '../support/sip-peer.ts'

async function start(t: TestContext, strategy: Strategy) {
  const shared = createSharedCalls(strategy)
  const [a, b] = await Promise.all([shared.node('a'), shared.node('b')])
  const [alice, bob] = await Promise.all([createSide(a.engine.udp, 'alice'), createSide(a.engine.udp, 'bob')])
  for (const node of [a, b]) {
    node.bind('alice', alice.peer)
    node.bind('bob', bob.peer)
  }
  t.after(async () => {
    await Promise.all([a.close(), b.close()])
    for (const { peer } of [alice, bob]) peer.close()
  })
  return { shared, a, b, alice, bob }
}

/** The phone's next request goes to that node, as DNS tells it when its own is gone. */
function turn(side: Side, node: CallsUnderTest): void {
  side.peer.turnTo?.(node.engine.udp)
}

/** SIGKILL as far as one process can show it: nothing of the node is heard any more. */
async function kill(shared: { dies(life: string): void }, node: CallsUnderTest, life: string): Promise<void> {
  await node.engine.close()
  shared.dies(life)
}

/** A phone that is told where its call lives now, and goes on as before. */
async function follow(side: Side, node: CallsUnderTest, body: string): Promise<Received> {
  const invite = await side.peer.request('INVITE')
  turn(side, node)
  side.answer(invite, 200, { body })
  await side.peer.request('ACK')
  side.target = /<([^>]*)>/.exec(invite.header('Contact'))?.[1] ?? ''
  return invite
}

async function hangUpAt(from: Side, to: Side, node: CallsUnderTest): Promise<void> {
  turn(from, node)
  from.say('BYE')
  const bye = await to.peer.request('BYE')
  turn(to, node)
  to.answer(bye, 200)
  await from.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
}

/** Waits for a fact; fails after three seconds. */
async function until(isSo: () => boolean): Promise<void> {
  for (let left = 300; !isSo(); left--) {
    assert.ok(left > 0, 'it has not become so in time')
    await wait(10)
  }
}

test('lazy: a BYE to the other node ends the call of a dead one, and the record is written there', async t => {
  const { shared, a, b, alice, bob } = await start(t, 'lazy')
  await connect(alice, bob)
  await until(() => shared.items.size === 1)
  const [before] = a.calls.list()
  await kill(shared, a, 'a')
  await hangUpAt(alice, bob, b)
  await until(() => b.records.length === 1)
  const [record] = b.records
  assert.equal(record?.id, before?.id)
  assert.equal(record?.started, before?.since)
  assert.equal(record?.answered, before?.answered)
  assert.equal(record?.result, 'answered')
  assert.deepEqual(record?.legs, before?.legs)
  assert.equal(a.records.length, 0)
  assert.equal(b.calls.list().length, 0)
})

test('none: the other node knows no such call', async t => {
  const { shared, a, b, alice, bob } = await start(t, 'none')
  await connect(alice, bob)
  await kill(shared, a, 'a')
  turn(alice, b)
  alice.say('BYE')
  await alice.peer.status(481)
})

test('hot-standby: the call is kept before its caller hears the answer', async t => {
  const { shared, alice, bob } = await start(t, 'hot-standby')
  alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  assert.equal(shared.items.size, 0)
  bob.answer(invite, 200, { body: sdp(5000) })
  alice.learn(await alice.peer.status(200))
  assert.equal(shared.items.size, 1)
  alice.say('ACK', { sequence: alice.sequence })
  const [item] = shared.items.values()
  const tags = item?.dialogs.map(dialog => dialog.split(';').slice(1))
  assert.deepEqual(tags?.[0], [alice.theirs, alice.ours])
})

test('hot-standby: both phones hear of the new node with the media that they have, and all goes on', async t => {
  const { shared, a, b, alice, bob } = await start(t, 'hot-standby')
  await connect(alice, bob)
  await kill(shared, a, 'a')
  const [one, other] = await Promise.all([follow(alice, b, sdp(4000)), follow(bob, b, sdp(5000))])
  assert.equal(one.body, sdp(5000))
  assert.equal(other.body, sdp(4000))
  assert.equal(b.calls.list().length, 1)
  // Hold, by who answered.
  const held = `${sdp(5000)}a=sendonly\r\n`
  bob.say('INVITE', { body: held })
  const hold = await alice.peer.request('INVITE')
  assert.equal(hold.body, held)
  alice.answer(hold, 200, { body: `${sdp(4000)}a=recvonly\r\n` })
  await alice.peer.request('ACK')
  bob.say('ACK', { sequence: Number.parseInt((await bob.peer.status(200)).header('CSeq'), 10) })
  await until(() => shared.items.values().next().value?.snapshot.includes('"held":true') === true)
  // A key, from the caller.
  alice.say('INFO', { body: 'Signal=1\r\n', headers: ['Content-Type: application/dtmf-relay'] })
  bob.answer(await bob.peer.request('INFO'), 200)
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('INFO'))
  await hangUpAt(alice, bob, b)
  await until(() => b.records.length === 1)
  assert.equal(a.records.length, 0)
  assert.equal(shared.items.size, 0)
})

test('an operator ends a call that came from another node', async t => {
  const { shared, a, b, alice, bob } = await start(t, 'hot-standby')
  await connect(alice, bob)
  const [{ id } = { id: '' }] = a.calls.list()
  await kill(shared, a, 'a')
  await Promise.all([follow(alice, b, sdp(4000)), follow(bob, b, sdp(5000))])
  assert.equal(b.calls.hangUp(id), true)
  for (const side of [alice, bob]) side.answer(await side.peer.request('BYE'), 200)
  await until(() => b.records.length === 1)
})

test('requests for both dialogs at the same time are one take-over', async t => {
  const { shared, a, b, alice, bob } = await start(t, 'lazy')
  await connect(alice, bob)
  await until(() => shared.items.size === 1)
  await kill(shared, a, 'a')
  for (const side of [alice, bob]) turn(side, b)
  for (const side of [alice, bob]) side.say('INFO', { body: 'x', headers: ['Content-Type: text/plain'] })
  for (const side of [alice, bob]) side.answer(await side.peer.request('INFO'), 200)
  for (const side of [alice, bob]) await side.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('INFO'))
  assert.equal(shared.taken, 1)
  assert.equal(b.calls.list().length, 1)
})

test('a call that a living node owns is not taken from it', async t => {
  const { shared, b, alice, bob } = await start(t, 'lazy')
  await connect(alice, bob)
  await until(() => shared.items.size === 1)
  turn(alice, b)
  alice.say('INFO', { body: 'x', headers: ['Content-Type: text/plain'] })
  const answer = await alice.peer.status(503, 10_000)
  assert.ok(Number(answer.header('Retry-After')) > 0)
  assert.equal(shared.taken, 0)
})

test('an owner that wakes up late lets go without a word, and writes no record', async t => {
  const { shared, a, b, alice, bob } = await start(t, 'hot-standby')
  await connect(alice, bob)
  shared.pauses('a')
  shared.dies('a')
  await Promise.all([follow(alice, b, sdp(4000)), follow(bob, b, sdp(5000))])
  shared.wakes('a')
  assert.deepEqual(a.calls.list(), [])
  // What it is asked now it does not answer as if the call were its own.
  alice.peer.turnTo?.(a.engine.udp)
  alice.say('BYE')
  await alice.peer.wait(m => m.status === 503 || m.status === 481, 10_000)
  await hangUpAt(alice, bob, b)
  await until(() => b.records.length === 1)
  assert.equal(a.records.length, 0)
  const byes = [alice, bob].flatMap(({ peer }) => peer.untaken()).filter(({ method }) => method === 'BYE')
  assert.deepEqual(byes, [])
})

test('a phone that knows the call no more ends it for the other', async t => {
  const { shared, a, b, alice, bob } = await start(t, 'hot-standby')
  await connect(alice, bob)
  await kill(shared, a, 'a')
  const invite = await bob.peer.request('INVITE')
  turn(bob, b)
  bob.answer(invite, 481)
  const other = await alice.peer.request('INVITE')
  turn(alice, b)
  alice.answer(other, 200, { body: sdp(4000) })
  alice.answer(await alice.peer.request('BYE'), 200)
  await until(() => b.records.length === 1)
  assert.equal(b.records[0]?.result, 'answered')
})

test('a phone behind a connection is told when it has registered anew', async t => {
  const { shared, a, b, alice } = await start(t, 'hot-standby')
  const carol = await createTcpSide(a.engine.tcp, 'carol')
  t.after(() => carol.peer.close())
  alice.target = 'sip:carol@example.org'
  alice.to = '<sip:carol@example.org>'
  await connect(alice, carol)
  await kill(shared, a, 'a')
  await follow(alice, b, sdp(4000))
  assert.equal(b.calls.list().length, 1)
  const again = await createTcpSide(b.engine.tcp, 'carol')
  t.after(() => again.peer.close())
  const invite = await again.peer.request('INVITE')
  again.ours = carol.ours
  assert.equal(invite.header('Call-ID'), carol.callId)
  again.answer(invite, 200, { body: sdp(5000) })
  await again.peer.request('ACK')
  alice.say('BYE')
  again.answer(await again.peer.request('BYE'), 200)
  await until(() => b.records.length === 1)
})

test('drained: new calls are refused, and those that are answered go to the other node', async t => {
  const { shared, a, b, alice, bob } = await start(t, 'hot-standby')
  await connect(alice, bob)
  const left = a.calls.drain(5000)
  await Promise.all([follow(alice, b, sdp(4000)), follow(bob, b, sdp(5000))])
  assert.equal(await left, 0)
  assert.deepEqual(a.calls.list(), [])
  assert.equal(b.calls.list().length, 1)
  const other = await createSide(a.engine.udp, 'carol')
  t.after(() => other.peer.close())
  other.say('INVITE', { body: sdp(4100) })
  assert.ok(Number((await other.peer.status(503)).header('Retry-After')) > 0)
  await hangUpAt(bob, alice, b)
  await until(() => b.records.length === 1)
  assert.equal(a.records.length, 0)
  assert.equal(shared.taken, 1)
})

test('drained alone: a call that cannot go is waited for, and then it is still there', async t => {
  const { shared, a, alice, bob } = await start(t, 'hot-standby')
  await connect(alice, bob)
  shared.dies('b')
  assert.equal(await a.calls.drain(100), 1)
  assert.equal(a.calls.list().length, 1)
  await hangUpAt(alice, bob, a)
  await until(() => a.records.length === 1)
})
