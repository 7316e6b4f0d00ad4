import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { type CallsUnderTest, connect, createSide, hangUp, type Side, sdp, startCalls } from '../../support/calls.ts'

// The B2BUA between raw UDP phones, on the real engine.

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

test('a call: SDP untouched, identity from the account, one record, BYE both ways', async () => {
  const [alice, bob] = [await side('alice'), await side('bob')]
  alice.say('INVITE', {
    body: sdp(4000),
    headers: ['Subject: tea', 'P-Secret: x', 'User-Agent: spy', 'Alert-Info: <x:y>'],
  })
  const invite = await bob.invited()
  assert.equal(invite.body, sdp(4000))
  assert.match(invite.header('From'), /^"alice Ö" <sip:alice@example\.org>;tag=/)
  assert.match(invite.header('P-Asserted-Identity'), /"alice Ö" <sip:alice@example\.org>/)
  assert.equal(invite.header('Subject'), 'tea')
  assert.doesNotMatch(invite.text, /Claimed|P-Secret|spy|Alert-Info|Record-Route/i)
  assert.notEqual(invite.header('Call-ID'), under.calls.list()[0]?.id)
  assert.equal(invite.all('Via').length, 1)
  bob.answer(invite, 180)
  alice.learn(await alice.peer.status(180))
  bob.answer(invite, 200, { body: sdp(5000), headers: ['Server: hidden'] })
  await bob.peer.request('ACK')
  const ok = alice.learn(await alice.peer.status(200))
  assert.equal(ok.body, sdp(5000))
  assert.doesNotMatch(ok.text, /hidden/)
  alice.say('ACK', { sequence: alice.sequence })
  assert.equal(under.calls.list()[0]?.state, 'answered')
  await hangUp(bob, alice)
  const record = under.records.at(-1)
  assert.equal(record?.result, 'answered')
  assert.equal(record?.from, 'sip:alice@example.org')
})

test('refusals: unknown, not registered, foreign domain, somebody else’s name', async () => {
  const alice = await side('alice', false)
  const ask = async (target: string, from = alice.user, headers: string[] = []) => {
    const one = await side(from, false)
    one.target = target
    one.say('INVITE', { body: sdp(1), headers })
    const answer = await one.peer.wait(m => m.status >= 200)
    return answer.status
  }
  assert.equal(await ask('sip:nobody@example.org'), 404)
  assert.equal(await ask('sip:bob@example.org'), 480)
  assert.equal(await ask('sip:bob@example.com'), 403)
  assert.equal(await ask('sip:bob@example.org', 'alice', ['X-Proven: mallory']), 403)
  assert.equal(await ask('sip:bob@example.org', 'alice', ['Require: precondition']), 420)
})

test('all devices ring, the first answer wins, the other is told why', async () => {
  const [alice, one, two] = [await side('alice'), await side('bob'), await side('bob')]
  alice.say('INVITE', { body: sdp(4000) })
  const [first, second] = [await one.invited(), await two.invited()]
  one.answer(first, 180)
  two.answer(second, 180)
  one.answer(first, 200, { body: sdp(5000) })
  const cancel = await two.peer.request('CANCEL')
  assert.match(cancel.header('Reason'), /SIP;\s?cause=200;\s?text="Call completed elsewhere"/)
  two.answer(cancel, 200)
  two.answer(second, 487)
  await two.peer.request('ACK')
  await one.peer.request('ACK')
  alice.learn(await alice.peer.status(200))
  alice.say('ACK', { sequence: alice.sequence })
  await hangUp(alice, one)
})

test('busy everywhere is 486; a 603 stops the others', async () => {
  const [alice, one, two] = [await side('alice'), await side('bob'), await side('bob')]
  alice.say('INVITE', { body: sdp(4000) })
  one.answer(await one.invited(), 486)
  two.answer(await two.invited(), 480)
  assert.equal((await alice.peer.wait(m => m.status >= 200)).status, 486)
  assert.equal(under.records.at(-1)?.result, 'busy')
  const again = await side('alice', false)
  again.say('INVITE', { body: sdp(4000) })
  const rings = await two.invited()
  two.answer(rings, 180)
  one.answer(await one.invited(), 603)
  two.answer(await two.peer.request('CANCEL'), 200)
  two.answer(rings, 487)
  assert.equal((await again.peer.wait(m => m.status >= 200)).status, 603)
  assert.equal(under.records.at(-1)?.result, 'declined')
})

test('the caller cancels: its Reason goes on, the record says so', async () => {
  const [alice, bob] = [await side('alice'), await side('bob')]
  const branch = alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  bob.answer(invite, 180)
  await alice.peer.status(180)
  alice.say('CANCEL', { sequence: alice.sequence, branch, headers: ['Reason: SIP;cause=487;text="gave up"'] })
  const cancel = await bob.peer.request('CANCEL')
  assert.match(cancel.header('Reason'), /gave up/)
  bob.answer(cancel, 200)
  bob.answer(invite, 487)
  await bob.peer.request('ACK')
  assert.equal((await alice.peer.status(487)).status, 487)
  assert.equal(under.records.at(-1)?.result, 'cancelled')
})

test('a 200 that crosses the CANCEL is acknowledged and ended', async () => {
  const [alice, bob] = [await side('alice'), await side('bob')]
  const branch = alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  bob.answer(invite, 180)
  await alice.peer.status(180)
  alice.say('CANCEL', { sequence: alice.sequence, branch })
  const cancel = await bob.peer.request('CANCEL')
  bob.answer(invite, 200, { body: sdp(5000) })
  bob.answer(cancel, 481)
  await bob.peer.request('ACK')
  bob.answer(await bob.peer.request('BYE'), 200)
})

test('a late offer: the offer comes in the 200, the answer in the ACK', async () => {
  const [alice, bob] = [await side('alice'), await side('bob')]
  alice.say('INVITE')
  const invite = await bob.invited()
  assert.equal(invite.body, '')
  bob.answer(invite, 200, { body: sdp(5000) })
  const ok = alice.learn(await alice.peer.status(200))
  assert.equal(ok.body, sdp(5000))
  alice.say('ACK', { sequence: alice.sequence, body: sdp(4000) })
  assert.equal((await bob.peer.request('ACK')).body, sdp(4000))
  await hangUp(alice, bob)
})

test('early media: the first that has some is heard', async () => {
  const [alice, one, two] = [await side('alice'), await side('bob'), await side('bob')]
  alice.say('INVITE', { body: sdp(4000) })
  const [first, second] = [await one.invited(), await two.invited()]
  one.answer(first, 183, { body: sdp(5000) })
  assert.equal((await alice.peer.status(183)).body, sdp(5000))
  two.answer(second, 183, { body: sdp(6000) })
  assert.equal((await alice.peer.status(183)).body, '')
  one.answer(first, 183, { body: sdp(5000) })
  assert.equal((await alice.peer.status(183)).body, sdp(5000))
  one.answer(first, 486)
  two.answer(second, 486)
  assert.equal((await alice.peer.wait(m => m.status >= 200)).status, 486)
})

test('hold, resume, refusal and late offer by re-INVITE; INFO and UPDATE pass', async () => {
  const [alice, bob] = [await side('alice'), await side('bob')]
  await connect(alice, bob)
  alice.say('INVITE', { body: sdp(4000, 'a=sendonly\r\n') })
  const hold = await bob.peer.request('INVITE')
  assert.equal(hold.body, sdp(4000, 'a=sendonly\r\n'))
  bob.answer(hold, 200, { body: sdp(5000, 'a=recvonly\r\n') })
  await bob.peer.request('ACK')
  assert.equal((await alice.peer.status(200)).body, sdp(5000, 'a=recvonly\r\n'))
  alice.say('ACK', { sequence: alice.sequence })
  assert.deepEqual(under.facts.filter(f => f.name === 'callChanged').at(-1)?.fact, {
    id: under.calls.list()[0]?.id,
    change: 'held',
  })
  bob.sequence = 10
  bob.say('INVITE', { body: sdp(7000) })
  alice.answer(await alice.peer.request('INVITE'), 488)
  await alice.peer.request('ACK')
  assert.equal((await bob.peer.status(488)).status, 488)
  bob.say('ACK', { sequence: bob.sequence })
  alice.say('INVITE')
  const late = await bob.peer.request('INVITE')
  bob.answer(late, 200, { body: sdp(5002) })
  assert.equal((await alice.peer.status(200)).body, sdp(5002))
  alice.say('ACK', { sequence: alice.sequence, body: sdp(4002) })
  assert.equal((await bob.peer.request('ACK')).body, sdp(4002))
  alice.say('INFO', { body: 'Signal=5\r\n', headers: ['Content-Type: application/dtmf-relay'] })
  const info = await bob.peer.request('INFO')
  assert.equal(info.body, 'Signal=5\r\n')
  assert.equal(info.header('Content-Type'), 'application/dtmf-relay')
  bob.answer(info, 415)
  assert.equal((await alice.peer.status(415)).status, 415)
  bob.say('UPDATE', { body: sdp(5004) })
  const update = await alice.peer.request('UPDATE')
  alice.answer(update, 200, { body: sdp(4004) })
  assert.equal((await bob.peer.status(200)).body, sdp(4004))
  alice.say('SUBSCRIBE')
  assert.equal((await alice.peer.status(405)).status, 405)
  await hangUp(alice, bob)
})

test('offers that cross get 491', async () => {
  const [alice, bob] = [await side('alice'), await side('bob')]
  await connect(alice, bob)
  alice.say('INVITE', { body: sdp(4002) })
  const offer = await bob.peer.request('INVITE')
  bob.sequence = 10
  bob.say('INVITE', { body: sdp(5002) })
  assert.equal((await bob.peer.status(491)).status, 491)
  bob.say('ACK', { sequence: bob.sequence })
  bob.answer(offer, 200, { body: sdp(5000) })
  await bob.peer.request('ACK')
  await alice.peer.status(200)
  alice.say('ACK', { sequence: alice.sequence })
  await hangUp(alice, bob)
})

test('an operator hangs up; a lost dialog ends the call', async () => {
  const [alice, bob] = [await side('alice'), await side('bob')]
  await connect(alice, bob)
  assert.ok(under.calls.hangUp(under.calls.list()[0]!.id))
  alice.answer(await alice.peer.request('BYE'), 200)
  bob.answer(await bob.peer.request('BYE'), 200)
  const [again, other] = [await side('alice', false), bob]
  other.sequence = 0
  await connect(again, other)
  again.say('INFO', { body: 'x', headers: ['Content-Type: text/plain'] })
  other.answer(await other.peer.request('INFO'), 481)
  again.answer(await again.peer.request('BYE'), 200)
})

test('a redirection to another of ours is followed, a foreign one is not', async () => {
  const [alice, bob, carol] = [await side('alice'), await side('bob'), await side('carol')]
  alice.say('INVITE', { body: sdp(4000) })
  bob.answer(await bob.invited(), 302, { headers: ['Contact: <sip:carol@example.org>'] })
  carol.answer(await carol.invited(), 486)
  assert.equal((await alice.peer.wait(m => m.status >= 200)).status, 486)
  const again = await side('alice', false)
  again.say('INVITE', { body: sdp(4000) })
  bob.answer(await bob.invited(), 302, { headers: ['Contact: <sip:premium@example.com>'] })
  assert.equal((await again.peer.wait(m => m.status >= 200)).status, 480)
})
