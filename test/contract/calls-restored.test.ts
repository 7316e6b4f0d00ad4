import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import {
  accept,
  type CallsUnderTest,
  connect,
  createSide,
  hangUp,
  notified,
  replaces,
  type Side,
  sdp,
} from '../support/calls.ts'
import { follow, hangUpAt, kill, startTwoNodes, turn, until } from '../support/dying-node.ts'

// What phones can do in a call whose node was killed: everything that they could before.

type Two = Awaited<ReturnType<typeof startTwoNodes>>

/** One more phone, which has registered at both nodes and still talks to the first one. */
async function more(t: TestContext, { a, b }: Two, user: string): Promise<Side> {
  const side = await createSide(a.engine.udp, user)
  t.after(() => side.peer.close())
  for (const node of [a, b]) node.bind(user, side.peer)
  return side
}

/** Alice and Bob in a call of the first node, which is then killed; both have been told by the other one. */
async function survive(two: Two): Promise<void> {
  const { shared, a, b, alice, bob } = two
  await connect(alice, bob)
  await kill(shared, a, 'a')
  await Promise.all([follow(alice, b, sdp(4000)), follow(bob, b, sdp(5000))])
}

const answered = (side: Side, method: string) =>
  side.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith(method))

/** Each asks the other something, and gets its answer. */
async function talkOn(one: Side, other: Side): Promise<void> {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.say('INFO', { body: 'x', headers: ['Content-Type: text/plain'] })
    assert.equal(await accept(to, 'INFO'), 'x')
    await answered(from, 'INFO')
  }
}

async function isRecordedOnce({ a, b }: Two, count = 1): Promise<void> {
  await until(() => b.records.length === count)
  assert.equal(new Set(b.records.map(record => record.id)).size, count)
  assert.equal(a.records.length, 0)
}

test('either phone holds and resumes by re-INVITE, and changes its media by UPDATE', async t => {
  const two = await startTwoNodes(t, 'hot-standby')
  const { alice, bob } = two
  await survive(two)
  for (const [from, to, port, other] of [
    [alice, bob, 4000, 5000],
    [bob, alice, 5000, 4000],
  ] as const) {
    for (const way of ['sendonly', 'sendrecv']) {
      from.say('INVITE', { body: sdp(port, `a=${way}\r\n`) })
      assert.equal(await accept(to, 'INVITE', sdp(other)), sdp(port, `a=${way}\r\n`))
      assert.equal((await answered(from, 'INVITE')).body, sdp(other))
      from.say('ACK', { sequence: from.sequence })
    }
    from.say('UPDATE', { body: sdp(port + 2) })
    assert.equal(await accept(to, 'UPDATE', sdp(other)), sdp(port + 2))
    assert.equal((await answered(from, 'UPDATE')).body, sdp(other))
  }
  await talkOn(alice, bob)
  await hangUp(bob, alice)
  await isRecordedOnce(two)
})

for (const by of ['caller', 'callee'] as const) {
  test(`blind transfer by the ${by}`, async t => {
    const two = await startTwoNodes(t, 'hot-standby')
    const carol = await more(t, two, 'carol')
    await survive(two)
    turn(carol, two.b)
    const [referrer, stays, port] = by === 'caller' ? [two.alice, two.bob, 5000] : [two.bob, two.alice, 4000]
    referrer.say('REFER', { headers: ['Refer-To: <sip:carol@example.org>'] })
    await referrer.peer.status(202)
    await notified(referrer, 100)
    const invite = await carol.invited()
    assert.equal(invite.body, sdp(port))
    carol.answer(invite, 200, { body: sdp(6000) })
    assert.equal(await accept(stays, 'INVITE', sdp(port)), sdp(6000))
    await notified(referrer, 200)
    await accept(referrer, 'BYE')
    await talkOn(stays, carol)
    await hangUp(stays, carol)
    await isRecordedOnce(two)
    assert.ok(two.b.records[0]?.legs.some(leg => leg.aor === 'sip:carol@example.org'))
  })
}

for (const second of ['came from the dead node too', 'began at this node'] as const) {
  test(`attended transfer, when the second call ${second}`, async t => {
    const two = await startTwoNodes(t, 'hot-standby')
    const { shared, a, b, alice, bob } = two
    const carol = await more(t, two, 'carol')
    const line = await createSide(a.engine.udp, 'alice')
    t.after(() => line.peer.close())
    line.target = 'sip:carol@example.org'
    line.to = '<sip:carol@example.org>'
    // It has a phone of its own, whose address is not that of Alice's first line.
    b.bind('alice', line.peer)
    if (second === 'began at this node') {
      await survive(two)
      for (const side of [line, carol]) turn(side, b)
      await connect(line, carol)
    } else {
      await connect(alice, bob)
      await connect(line, carol)
      await kill(shared, a, 'a')
      const all = [[alice, 4000], [bob, 5000], [line, 4000], [carol, 5000]] as const // biome-ignore format: pairs
      await Promise.all(all.map(([side, port]) => follow(side, b, sdp(port))))
    }
    const referTo = `Refer-To: <sip:carol@example.org?Replaces=${encodeURIComponent(replaces(line))}>`
    alice.say('REFER', { headers: [referTo] })
    await notified(alice, 100)
    await accept(carol, 'INVITE', sdp(6002))
    assert.equal(await accept(bob, 'INVITE', sdp(5000)), sdp(6002))
    await notified(alice, 200)
    await accept(alice, 'BYE')
    await accept(line, 'BYE')
    await talkOn(bob, carol)
    await hangUp(bob, carol)
    await isRecordedOnce(two, 2)
  })
}

test('another device of the account takes the call over (Replaces)', async t => {
  const two = await startTwoNodes(t, 'hot-standby')
  const { b, alice, bob } = two
  const desk = await createSide(b.engine.udp, 'bob')
  t.after(() => desk.peer.close())
  await survive(two)
  desk.say('INVITE', { body: sdp(7000), headers: [`Replaces: ${replaces(bob)}`, 'Require: replaces'] })
  assert.equal(await accept(alice, 'INVITE', sdp(4000)), sdp(7000))
  desk.learn(await answered(desk, 'INVITE'))
  desk.say('ACK', { sequence: desk.sequence })
  await accept(bob, 'BYE')
  await talkOn(desk, alice)
  await hangUp(desk, alice)
  await isRecordedOnce(two)
})

test('it comes (Replaces) before anybody knows of the death', async t => {
  const two = await startTwoNodes(t, 'hot-standby')
  const { shared, a, b, alice, bob } = two
  const desk = await createSide(b.engine.udp, 'bob')
  t.after(() => desk.peer.close())
  await connect(alice, bob)
  await a.engine.close()
  desk.say('INVITE', { body: sdp(7000), headers: [`Replaces: ${replaces(bob)}`, 'Require: replaces'] })
  await desk.peer.status(100)
  shared.dies('a')
  // Who is told of the new node and who of the desk phone first is chance.
  const heard = [alice, bob].map(side => obey(side, b))
  desk.learn(await answered(desk, 'INVITE'))
  desk.say('ACK', { sequence: desk.sequence })
  await until(() => heard[0]?.at(-1) === sdp(7000) && heard[1]?.at(-1) === 'BYE')
  desk.say('INFO', { body: 'x', headers: ['Content-Type: text/plain'] })
  await answered(desk, 'INFO')
  assert.equal(heard[0]?.at(-1), 'x')
  desk.say('BYE')
  await answered(desk, 'BYE')
  await until(() => heard[0]?.at(-1) === 'BYE')
  await isRecordedOnce(two)
})

/** A phone that agrees to everything; the bodies that it gets, and `BYE` at the end. */
function obey(side: Side, node: CallsUnderTest): string[] {
  const heard: string[] = []
  const port = side.user === 'alice' ? 4000 : 5000
  const run = async () => {
    for (;;) {
      const request = await side.peer.wait(m => m.method !== '' && m.method !== 'ACK')
      turn(side, node)
      heard.push(request.method === 'BYE' ? 'BYE' : request.body)
      side.answer(request, 200, request.method === 'INVITE' ? { body: sdp(port) } : {})
    }
  }
  // It ends when nothing comes any more.
  run().catch(() => undefined)
  return heard
}

test('a call whose offer came late goes on, and is held', async t => {
  const two = await startTwoNodes(t, 'hot-standby')
  const { shared, a, b, alice, bob } = two
  alice.say('INVITE')
  bob.answer(await bob.invited(), 200, { body: sdp(5000) })
  alice.learn(await alice.peer.status(200))
  alice.say('ACK', { sequence: alice.sequence, body: sdp(4000) })
  assert.equal((await bob.peer.request('ACK')).body, sdp(4000))
  await until(() => (shared.items.values().next().value?.snapshot ?? '').includes('m=audio 4000'))
  await kill(shared, a, 'a')
  const [one, other] = await Promise.all([follow(alice, b, sdp(4000)), follow(bob, b, sdp(5000))])
  assert.deepEqual([one.body, other.body], [sdp(5000), sdp(4000)])
  bob.say('INVITE', { body: sdp(5000, 'a=sendonly\r\n') })
  assert.equal(await accept(alice, 'INVITE', sdp(4000)), sdp(5000, 'a=sendonly\r\n'))
  await answered(bob, 'INVITE')
  bob.say('ACK', { sequence: bob.sequence })
  await hangUpAt(alice, bob, b)
  await isRecordedOnce(two)
})

test('sessions are refreshed from here on where that was the dead node’s duty, and phones that refresh are answered', async t => {
  const two = await startTwoNodes(t, 'hot-standby')
  const { shared, a, b, alice, bob } = two
  const timer = ['Supported: timer', 'Session-Expires: 8;refresher=uac']
  alice.say('INVITE', { body: sdp(4000), headers: timer })
  bob.answer(await bob.invited(), 200, { body: sdp(5000), headers: timer })
  alice.learn(await alice.peer.status(200))
  alice.say('ACK', { sequence: alice.sequence })
  await kill(shared, a, 'a')
  await Promise.all([follow(alice, b, sdp(4000)), follow(bob, b, sdp(5000))])
  // Ours, at Bob's side; a second of these engines takes a tenth.
  const refresh = await bob.peer.request('INVITE')
  assert.match(refresh.header('Session-Expires'), /^\d+;refresher=uac/)
  assert.equal(refresh.body, sdp(4000))
  bob.answer(refresh, 200, { body: sdp(5000), headers: timer })
  await bob.peer.request('ACK')
  // Alice's own.
  alice.say('INVITE', { body: sdp(4000), headers: timer })
  const ok = await answered(alice, 'INVITE')
  assert.match(ok.header('Session-Expires'), /refresher=uac/)
  alice.say('ACK', { sequence: alice.sequence })
  alice.say('BYE')
  await accept(bob, 'BYE')
  await answered(alice, 'BYE')
  await isRecordedOnce(two)
})
