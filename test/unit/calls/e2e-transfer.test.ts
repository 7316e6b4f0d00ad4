import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
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
  startCalls,
} from '../../support/calls.ts'

// Transfers and pick-ups between raw UDP phones, on the real engine.

let under: CallsUnderTest
const sides: Side[] = []

before(async () => {
  under = await startCalls()
})
afterEach(async () => {
  for (const side of sides.splice(0)) side.peer.close()
  under.unbindAll()
  assert.deepEqual(under.calls.list(), [])
})
after(() => under.close())

async function side(user: string, bound = true): Promise<Side> {
  const one = await createSide(under.engine.udp, user)
  sides.push(one)
  if (bound) under.bind(user, one.peer)
  return one
}

const lastChange = () => under.facts.filter(f => f.name === 'callChanged').at(-1)?.fact as { change: string }

test('blind transfer by the callee: the caller hears the target, the referrer is released', async () => {
  const [alice, bob, carol] = [await side('alice'), await side('bob'), await side('carol')]
  await connect(alice, bob)
  bob.sequence = 10
  bob.say('INVITE', { body: sdp(5000, 'a=sendonly\r\n') })
  assert.equal(await accept(alice, 'INVITE', sdp(4000, 'a=recvonly\r\n')), sdp(5000, 'a=sendonly\r\n'))
  await bob.peer.status(200)
  bob.say('ACK', { sequence: bob.sequence })
  bob.say('REFER', { headers: ['Refer-To: <sip:carol@example.org>'] })
  await bob.peer.status(202)
  await notified(bob, 100)
  const invite = await carol.invited()
  assert.equal(invite.body, sdp(4000, 'a=sendrecv\r\n'))
  assert.match(invite.header('From'), /alice/)
  assert.match(invite.header('Referred-By'), /<sip:bob@example\.org>/)
  carol.answer(invite, 180)
  await notified(bob, 180)
  carol.answer(invite, 200, { body: sdp(6000) })
  assert.equal(await accept(alice, 'INVITE', sdp(4000)), sdp(6000))
  await notified(bob, 200)
  await accept(bob, 'BYE')
  assert.equal(lastChange().change, 'transferred')
  alice.say('INFO', { body: 'x', headers: ['Content-Type: text/plain'] })
  assert.equal(await accept(carol, 'INFO'), 'x')
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('INFO'))
  await hangUp(carol, alice)
  const record = under.records.at(-1)
  assert.deepEqual(
    [record?.from, record?.to, record?.result],
    ['sip:alice@example.org', 'sip:carol@example.org', 'answered'],
  )
  assert.deepEqual(record?.legs.map(leg => leg.aor).sort(), [
    'sip:alice@example.org',
    'sip:bob@example.org',
    'sip:carol@example.org',
  ])
})

test('blind transfer by the caller, who hangs up by itself and meanwhile; a changed port is told', async () => {
  const [alice, bob, carol] = [await side('alice'), await side('bob'), await side('carol')]
  await connect(alice, bob)
  alice.say('REFER', { headers: ['Refer-To: sip:carol@example.org'] })
  await notified(alice, 100)
  const invite = await carol.invited()
  alice.say('BYE')
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
  carol.answer(invite, 200, { body: sdp(6000) })
  assert.equal(await accept(bob, 'INVITE', sdp(5010)), sdp(6000))
  await carol.peer.request('ACK')
  assert.equal(await accept(carol, 'INVITE', sdp(6000)), sdp(5010))
  await hangUp(bob, carol)
  assert.equal(under.records.at(-1)?.from, 'sip:bob@example.org')
})

test('a transfer that fails leaves the call with the referrer', async () => {
  const [alice, bob, carol] = [await side('alice'), await side('bob'), await side('carol')]
  await connect(alice, bob)
  for (const target of ['sip:nobody@example.org', 'sip:mallory@example.org']) {
    alice.say('REFER', { headers: [`Refer-To: <${target}>`] })
    await alice.peer.status(202)
    await notified(alice, 100)
    await notified(alice, target.includes('nobody') ? 404 : 480)
  }
  alice.say('REFER', { headers: ['Refer-To: <sip:carol@example.org>'] })
  await notified(alice, 100)
  carol.answer(await carol.invited(), 486)
  await notified(alice, 486)
  alice.say('REFER', { headers: ['Refer-To: <sip:carol@example.org>'] })
  await notified(alice, 100)
  carol.answer(await carol.invited(), 200, { body: sdp(6000) })
  await carol.peer.wait(m => m.method === 'ACK' && m.header('Call-ID') === carol.callId)
  bob.answer(await bob.peer.request('INVITE'), 488)
  await accept(carol, 'BYE')
  await notified(alice, 488)
  alice.say('REFER', { headers: ['Refer-To: <sip:carol@example.com>'] })
  await alice.peer.status(403)
  alice.say('REFER')
  await alice.peer.status(400)
  alice.say('INFO', { body: 'x', headers: ['Content-Type: text/plain'] })
  await accept(bob, 'INFO')
  await hangUp(alice, bob)
})

test('a target that hangs up while who stays is being connected with it: the two who talked go on', async () => {
  const [alice, bob, carol] = [await side('alice'), await side('bob'), await side('carol')]
  await connect(alice, bob)
  alice.say('REFER', { headers: ['Refer-To: <sip:carol@example.org>'] })
  await notified(alice, 100)
  carol.answer(await carol.invited(), 200, { body: sdp(6000) })
  const moves = await bob.peer.request('INVITE')
  assert.equal(moves.body, sdp(6000))
  carol.say('BYE')
  await carol.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
  bob.answer(moves, 200, { body: sdp(5000) })
  await bob.peer.request('ACK')
  assert.equal(await accept(bob, 'INVITE', sdp(5000)), sdp(4000))
  await notified(alice, 487)
  alice.say('INFO', { body: 'x', headers: ['Content-Type: text/plain'] })
  assert.equal(await accept(bob, 'INFO'), 'x')
  await hangUp(bob, alice)
})

test('a target that hangs up after the referrer did: nobody is left behind', async () => {
  const [alice, bob, carol] = [await side('alice'), await side('bob'), await side('carol')]
  await connect(alice, bob)
  alice.say('REFER', { headers: ['Refer-To: <sip:carol@example.org>'] })
  await notified(alice, 100)
  alice.say('BYE')
  carol.answer(await carol.invited(), 200, { body: sdp(6000) })
  const moves = await bob.peer.request('INVITE')
  carol.say('BYE')
  await carol.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
  bob.answer(moves, 200, { body: sdp(5000) })
  await bob.peer.request('ACK')
  await accept(bob, 'BYE')
})

test('a REFER without subscription gets no NOTIFY; a call that ends takes its transfer along', async () => {
  const [alice, bob, carol] = [await side('alice'), await side('bob'), await side('carol')]
  await connect(alice, bob)
  alice.say('REFER', { headers: ['Refer-To: <sip:carol@example.org>', 'Refer-Sub: false', 'Supported: norefersub'] })
  assert.equal((await alice.peer.status(202)).header('Refer-Sub'), 'false')
  const invite = await carol.invited()
  carol.answer(invite, 180)
  bob.say('BYE')
  const cancel = await carol.peer.request('CANCEL')
  carol.answer(cancel, 200)
  carol.answer(invite, 487)
  await accept(alice, 'BYE')
  await bob.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
  assert.ok(!alice.peer.untaken().some(m => m.method === 'NOTIFY'))
})

test('the referrer has gone and the target does not answer: nobody is left behind', async () => {
  const [alice, bob, carol] = [await side('alice'), await side('bob'), await side('carol')]
  await connect(alice, bob)
  alice.say('REFER', { headers: ['Refer-To: <sip:carol@example.org>'] })
  await notified(alice, 100)
  const invite = await carol.invited()
  alice.say('BYE')
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
  carol.answer(invite, 603)
  await accept(bob, 'BYE')
})

/** Alice talks with Bob, and from a second line with Carol. */
async function consult(answer: boolean): Promise<{ alice: Side; second: Side; bob: Side; carol: Side }> {
  const [alice, second] = [await side('alice'), await side('alice', false)]
  const [bob, carol] = [await side('bob'), await side('carol')]
  await connect(alice, bob)
  second.target = 'sip:carol@example.org'
  second.to = '<sip:carol@example.org>'
  if (answer) {
    await connect(second, carol)
  } else {
    second.say('INVITE', { body: sdp(4100) })
    carol.answer(await carol.invited(), 180)
    second.learn(await second.peer.status(180))
  }
  return { alice, second, bob, carol }
}

const referTo = (side: Side) => [`Refer-To: <sip:carol@example.org?Replaces=${encodeURIComponent(replaces(side))}>`]

test('attended transfer connects the far ends and releases both legs of the referrer', async () => {
  const { alice, second, bob, carol } = await consult(true)
  alice.say('REFER', { headers: referTo(second) })
  await notified(alice, 100)
  assert.equal(await accept(carol, 'INVITE', sdp(6002)), sdp(5000, 'a=sendrecv\r\n').replace('a=sendrecv\r\n', ''))
  assert.equal(await accept(bob, 'INVITE', sdp(5000)), sdp(6002))
  await notified(alice, 200)
  await accept(alice, 'BYE')
  await accept(second, 'BYE')
  assert.equal(under.calls.list().length, 1)
  assert.equal(under.records.at(-1)?.reason, 'transferred')
  await hangUp(bob, carol)
  assert.deepEqual(
    [under.records.at(-1)?.from, under.records.at(-1)?.to],
    ['sip:bob@example.org', 'sip:carol@example.org'],
  )
})

test('attended transfer while the target still rings waits for its answer', async () => {
  const { alice, second, bob, carol } = await consult(false)
  alice.say('REFER', { headers: referTo(second) })
  await notified(alice, 100)
  await notified(alice, 180)
  carol.answer(carol.invite!, 200, { body: sdp(6000) })
  await carol.peer.request('ACK')
  second.learn(await second.peer.status(200))
  second.say('ACK', { sequence: second.sequence })
  await accept(carol, 'INVITE', sdp(6000))
  await accept(bob, 'INVITE', sdp(5000))
  await notified(alice, 200)
  await accept(alice, 'BYE')
  await accept(second, 'BYE')
  await hangUp(carol, bob)
})

test('attended transfer to somebody who hangs up in that moment: the first call goes on', async () => {
  const { alice, second, bob, carol } = await consult(true)
  alice.say('REFER', { headers: referTo(second) })
  await notified(alice, 100)
  await accept(carol, 'INVITE', sdp(6002))
  const moves = await bob.peer.request('INVITE')
  assert.equal(moves.body, sdp(6002))
  carol.say('BYE')
  await carol.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
  await accept(second, 'BYE')
  bob.answer(moves, 200, { body: sdp(5000) })
  await bob.peer.request('ACK')
  assert.equal(await accept(bob, 'INVITE', sdp(5010)), sdp(4000))
  assert.equal(await accept(alice, 'INVITE', sdp(4000)), sdp(5010))
  await notified(alice, 487)
  await hangUp(alice, bob)
})

test('attended transfer that fails: unknown dialog, somebody else’s, busy target, refused media', async () => {
  const { alice, second, bob, carol } = await consult(true)
  const fails = async (headers: string[], status: number) => {
    alice.say('REFER', { headers })
    await notified(alice, 100)
    if (status === 488) {
      carol.answer(await carol.peer.request('INVITE'), 488)
      await carol.peer.request('ACK')
    }
    if (status === 606) {
      await accept(carol, 'INVITE', sdp(6000))
      bob.answer(await bob.peer.request('INVITE'), 606)
      await bob.peer.request('ACK')
      assert.equal(await accept(carol, 'INVITE', sdp(6000)), sdp(4000))
    }
    await notified(alice, status)
  }
  await fails(['Refer-To: <sip:carol@example.org?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2>'], 481)
  await fails(referTo(carol), 403)
  await fails(referTo(second), 488)
  await fails(referTo(second), 606)
  await hangUp(alice, bob)
  await hangUp(second, carol)
  under.unbindAll()
  const again = await consult(false)
  again.alice.say('REFER', { headers: referTo(again.second) })
  await notified(again.alice, 100)
  await notified(again.alice, 180)
  again.carol.answer(again.carol.invite!, 486)
  await again.second.peer.status(486)
  await notified(again.alice, 487)
  await hangUp(again.bob, again.alice)
})

test('another device of the account takes an answered call over', async () => {
  const [alice, bob, desk] = [await side('alice'), await side('bob'), await side('bob', false)]
  await connect(alice, bob)
  desk.say('INVITE', { body: sdp(7000), headers: [`Replaces: ${replaces(bob)}`, 'Require: replaces'] })
  assert.equal(await accept(alice, 'INVITE', sdp(4000)), sdp(7000))
  assert.equal(desk.learn(await desk.peer.status(200)).body, sdp(4000))
  desk.say('ACK', { sequence: desk.sequence })
  await accept(bob, 'BYE')
  assert.equal(lastChange().change, 'transferred')
  await hangUp(desk, alice)
  assert.equal(under.records.at(-1)?.to, 'sip:bob@example.org')
})

test('another device of the account answers a call that rings elsewhere', async () => {
  const [alice, bob, desk] = [await side('alice'), await side('bob'), await side('bob', false)]
  alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  bob.answer(invite, 180)
  await alice.peer.status(180)
  desk.say('INVITE', { body: sdp(7000), headers: [`Replaces: ${replaces(bob)};early-only`] })
  const wait = desk.learn(await desk.peer.status(200))
  assert.match(wait.body, /m=audio 9 RTP\/AVP 0 101[\s\S]*a=inactive/)
  const cancel = await bob.peer.request('CANCEL')
  assert.match(cancel.header('Reason'), /Call completed elsewhere/)
  bob.answer(cancel, 200)
  bob.answer(invite, 487)
  desk.say('ACK', { sequence: desk.sequence })
  assert.equal(await accept(desk, 'INVITE', sdp(7000)), sdp(4000))
  assert.equal(alice.learn(await alice.peer.status(200)).body, sdp(7000))
  alice.say('ACK', { sequence: alice.sequence })
  await hangUp(alice, desk)
})

test('pick-ups that are refused: no such dialog, not the account’s, already answered, malformed', async () => {
  const [alice, bob] = [await side('alice'), await side('bob')]
  await connect(alice, bob)
  const ask = async (user: string, value: string) => {
    const one = await side(user, false)
    one.say('INVITE', { body: sdp(7000), headers: [`Replaces: ${value}`] })
    return (await one.peer.wait(m => m.status >= 200)).status
  }
  assert.equal(await ask('bob', 'x;to-tag=1;from-tag=2'), 481)
  assert.equal(await ask('carol', replaces(bob)), 403)
  assert.equal(await ask('bob', `${replaces(bob)};early-only`), 486)
  assert.equal(await ask('bob', 'nonsense'), 400)
  await hangUp(alice, bob)
})
