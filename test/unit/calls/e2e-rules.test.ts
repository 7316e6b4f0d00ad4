import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type CallsUnderTest,
  connect,
  createSide,
  createTcpSide,
  hangUp,
  type Side,
  sdp,
  startCalls,
} from '../../support/calls.ts'

// Rules of calls that need settings, transports or timers of their own.

let under: CallsUnderTest
const sides: Side[] = []

afterEach(async () => {
  for (const side of sides.splice(0)) side.peer.close()
  const left = under.calls.list()
  await under.close()
  assert.deepEqual(left, [])
})

async function start(change: Parameters<typeof startCalls>[0] = {}): Promise<void> {
  under = await startCalls(change)
}

async function side(user: string, bound = true): Promise<Side> {
  const one = await createSide(under.engine.udp, user)
  sides.push(one)
  if (bound) under.bind(user, one.peer)
  return one
}

async function prack(side: Side, response: { header(name: string): string }, body = ''): Promise<void> {
  const [invite] = response.header('CSeq').split(' ')
  side.say('PRACK', { body, headers: [`RAck: ${response.header('RSeq')} ${invite} INVITE`] })
}

test('nobody answers in time: 408, and a 2xx after that is ended', async () => {
  await start({ ringSeconds: 0.15 })
  const [alice, bob] = [await side('alice'), await side('bob')]
  alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  bob.answer(invite, 180)
  const cancel = await bob.peer.request('CANCEL')
  assert.match(cancel.header('Reason'), /cause=408/)
  assert.equal((await alice.peer.wait(m => m.status >= 200)).status, 408)
  assert.equal(under.records.at(-1)?.result, 'no-answer')
  bob.answer(invite, 200, { body: sdp(5000) })
  bob.answer(cancel, 481)
  await bob.peer.request('ACK')
  bob.answer(await bob.peer.request('BYE'), 200)
})

test('a phone that wants longer sessions is asked once more', async () => {
  await start()
  const [alice, bob] = [await side('alice'), await side('bob')]
  alice.say('INVITE', { body: sdp(4000) })
  bob.answer(await bob.invited(), 422, { headers: ['Min-SE: 3600'] })
  const again = await bob.invited()
  assert.equal(again.header('Min-SE'), '3600')
  assert.match(again.header('Session-Expires'), /^3600/)
  bob.answer(again, 422, { headers: ['Min-SE: 7200'] })
  assert.equal((await alice.peer.wait(m => m.status >= 200)).status, 480)
})

test('reliable early media goes from end to end, and PRACK comes back the same way', async () => {
  await start()
  const [alice, bob] = [await side('alice'), await side('bob')]
  alice.say('INVITE', { body: sdp(4000), headers: ['Supported: 100rel'] })
  const invite = await bob.invited()
  assert.match(invite.header('Supported'), /100rel/)
  bob.answer(invite, 183, { body: sdp(5000), headers: ['Require: 100rel', 'RSeq: 7'] })
  const early = alice.learn(await alice.peer.status(183))
  assert.equal(early.body, sdp(5000))
  assert.match(early.header('Require'), /100rel/)
  assert.ok(!bob.peer.untaken().some(m => m.method === 'PRACK'))
  await prack(alice, early, sdp(4002))
  const passed = await bob.peer.request('PRACK')
  assert.match(passed.header('RAck'), /^7 \d+ INVITE$/)
  assert.equal(passed.body, sdp(4002))
  bob.answer(passed, 200, { body: sdp(5002) })
  assert.equal((await alice.peer.wait(m => m.header('CSeq').endsWith('PRACK'))).body, sdp(5002))
  bob.answer(invite, 200)
  await bob.peer.request('ACK')
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('INVITE'))
  alice.say('ACK', { sequence: 1 })
  await hangUp(alice, bob)
})

test('a late offer that is answered in the PRACK', async () => {
  await start()
  const [alice, bob] = [await side('alice'), await side('bob')]
  alice.say('INVITE', { headers: ['Supported: 100rel'] })
  const invite = await bob.invited()
  bob.answer(invite, 183, { body: sdp(5000), headers: ['Require: 100rel', 'RSeq: 1'] })
  const early = alice.learn(await alice.peer.status(183))
  await prack(alice, early, sdp(4000))
  const passed = await bob.peer.request('PRACK')
  assert.equal(passed.body, sdp(4000))
  bob.answer(passed, 200)
  await alice.peer.wait(m => m.header('CSeq').endsWith('PRACK'))
  bob.answer(invite, 200)
  assert.equal((await bob.peer.request('ACK')).body, '')
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('INVITE'))
  alice.say('ACK', { sequence: 1 })
  await hangUp(bob, alice)
})

test('a caller that requires 100rel gets it on its own leg, one response after the other', async () => {
  await start()
  const [alice, one, two] = [await side('alice'), await side('bob'), await side('bob')]
  alice.say('INVITE', { body: sdp(4000), headers: ['Require: 100rel'] })
  const [invite, other] = [await one.invited(), await two.invited()]
  assert.doesNotMatch(invite.header('Supported'), /100rel/)
  two.answer(other, 100)
  one.answer(invite, 180)
  const ringing = alice.learn(await alice.peer.status(180))
  one.answer(invite, 200, { body: sdp(5000) })
  await one.peer.request('ACK')
  two.answer(await two.peer.request('CANCEL'), 200)
  two.answer(other, 487)
  assert.ok(!alice.peer.untaken().some(m => m.status === 200))
  await prack(alice, ringing)
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('PRACK'))
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('INVITE'))
  alice.say('ACK', { sequence: 1 })
  await hangUp(alice, one)
})

test('a reliable response to a caller that knows nothing of it is acknowledged here', async () => {
  await start()
  const [alice, bob] = [await side('alice'), await side('bob')]
  alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  bob.answer(invite, 183, { headers: ['Require: 100rel', 'RSeq: 3'] })
  bob.answer(await bob.peer.request('PRACK'), 200)
  assert.equal((await alice.peer.status(183)).header('RSeq'), '')
  bob.answer(invite, 486)
  await alice.peer.status(486)
})

test('the caller ends by BYE before the answer', async () => {
  await start()
  const [alice, bob] = [await side('alice'), await side('bob')]
  alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  bob.answer(invite, 180)
  alice.learn(await alice.peer.status(180))
  alice.say('BYE')
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
  await alice.peer.status(487)
  bob.answer(await bob.peer.request('CANCEL'), 200)
  bob.answer(invite, 487)
  assert.equal(under.records.at(-1)?.result, 'cancelled')
})

test('too many calls: 503 with Retry-After', async () => {
  await start({ most: 1 })
  const [alice, bob, carol] = [await side('alice'), await side('bob'), await side('carol')]
  await connect(alice, bob)
  carol.say('INVITE', { body: sdp(1) })
  assert.match((await carol.peer.status(503)).header('Retry-After'), /^\d+/)
  await hangUp(alice, bob)
})

test('close ends calls that talk and calls that ring', async () => {
  await start()
  const [alice, bob, carol] = [await side('alice'), await side('bob'), await side('carol')]
  await connect(alice, bob)
  const second = await side('alice', false)
  second.target = 'sip:carol@example.org'
  second.say('INVITE', { body: sdp(4100) })
  const invite = await carol.invited()
  carol.answer(invite, 180)
  const closed = under.calls.close()
  for (const one of [alice, bob]) one.answer(await one.peer.request('BYE'), 200)
  carol.answer(await carol.peer.request('CANCEL'), 200)
  carol.answer(invite, 487)
  assert.equal((await second.peer.wait(m => m.status >= 200)).status, 503)
  await closed
  const late = await side('alice', false)
  late.say('INVITE', { body: sdp(1) })
  await late.peer.status(503)
})

test('a GRUU rings its device alone, one’s own address the other devices', async () => {
  await start()
  const [alice, one, two] = [await side('alice'), await side('bob'), await side('bob')]
  alice.target = `sip:bob@example.org;gr=${two.peer.port}`
  alice.say('INVITE', { body: sdp(4000) })
  two.answer(await two.invited(), 486)
  await alice.peer.status(486)
  one.sequence = 0
  one.say('INVITE', { body: sdp(5000) })
  two.answer(await two.invited(), 486)
  await one.peer.status(486)
  assert.ok(!one.peer.untaken().some(m => m.method === 'INVITE'))
})

test('each leg has a session timer of its own, and it is really refreshed', async () => {
  await start({ sessionExpires: 4, minSe: 2 })
  const [alice, bob] = [await side('alice'), await side('bob')]
  alice.say('INVITE', { body: sdp(4000), headers: ['Supported: timer'] })
  const invite = await bob.invited()
  assert.match(invite.header('Session-Expires'), /^4/)
  bob.answer(invite, 200, { body: sdp(5000), headers: ['Session-Expires: 4;refresher=uac', 'Supported: timer'] })
  await bob.peer.request('ACK')
  const ok = alice.learn(await alice.peer.status(200))
  assert.match(ok.header('Session-Expires'), /^4;\s?refresher=uas/)
  alice.say('ACK', { sequence: alice.sequence })
  for (const [one, body] of [
    [bob, sdp(4000)],
    [alice, sdp(5000)],
  ] as const) {
    const refresh = await one.peer.request('INVITE')
    assert.equal(refresh.body, body)
    one.answer(refresh, 200, {
      body: one === bob ? sdp(5000) : sdp(4000),
      headers: ['Session-Expires: 4;refresher=uac'],
    })
    await one.peer.request('ACK')
  }
  // The next refreshes get no answer: the end of either leg is the call's end.
  const bye = await bob.peer.request('BYE')
  assert.match(bye.header('Reason'), /Session timer expired/)
  bob.answer(bye, 200)
  alice.answer(await alice.peer.request('BYE'), 200)
  // Both legs may end in the same instant, and then the phones hear of it before the call does.
  while (under.records.length === 0) await nextTurn()
  assert.match(under.records.at(-1)?.reason ?? '', /Session timer expired/)
})

test('a phone behind TCP is called over its own connection; without one it is not there', async () => {
  await start()
  const alice = await side('alice')
  const bob = await createTcpSide(under.engine.tcp, 'bob')
  sides.push(bob)
  await connect(alice, bob)
  await hangUp(bob, alice)
  bob.peer.close()
  const again = await side('alice', false)
  again.say('INVITE', { body: sdp(4000) })
  assert.equal((await again.peer.wait(m => m.status >= 200)).status, 480)
  assert.equal(under.records.at(-1)?.result, 'unavailable')
})

test('without the media room a browser cannot call a phone and is told why; phones among themselves are untouched', async () => {
  await start()
  const [alice, bob] = [await side('alice'), await side('bob')]
  const web = sdp(4000, 'a=fingerprint:sha-256 AA\r\na=ice-ufrag:x\r\n').replace('RTP/AVP', 'UDP/TLS/RTP/SAVPF')
  alice.say('INVITE', { body: web })
  const answer = await alice.peer.wait(m => m.status >= 200)
  assert.equal(answer.status, 503)
  assert.match(answer.header('Warning'), /^399 vaartha ".+"$/)
  assert.equal(answer.header('Retry-After'), '30')
  const again = await side('alice', false)
  await connect(again, bob)
  await hangUp(bob, again)
})
