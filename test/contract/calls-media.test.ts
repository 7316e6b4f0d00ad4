import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { type CallsUnderTest, createSide, domain, hangUp, Side, sdp, startCalls } from '../support/calls.ts'
import { startMedia, type TestMedia } from '../support/media-room.ts'

// Calls whose media passes this server, with the real media room, between phones that a test plays by hand: who gets which
// SDP, and that nothing of it stays behind.

let room: TestMedia
let under: CallsUnderTest
const sides: Side[] = []

before(async () => {
  room = await startMedia()
  room.events.on('legOpened', ({ leg }) => legs.add(leg))
  room.events.on('legClosed', ({ leg }) => legs.delete(leg))
  under = await startCalls({ ringSeconds: 5 }, { media: room.media })
})
afterEach(async () => {
  for (const side of sides.splice(0)) side.peer.close()
  under.unbindAll()
  assert.deepEqual(under.calls.list(), [])
  assert.deepEqual(under.calls.local.list(), [])
  await idle()
})
after(async () => {
  await under.close()
  await room.close()
})

const legs = new Set<string>()

/** Resolves when no leg and no room is left. */
async function idle(): Promise<void> {
  await until(() => legs.size + room.media.load().rooms === 0)
}

async function side(user: string, protocol: 'udp' | 'ws' = 'udp'): Promise<Side> {
  const one = await createSide(under.engine.udp, user)
  sides.push(one)
  under.bind(user, one.peer, { protocol })
  return one
}

let version = 0
/** What a browser says of one audio line, in its words. */
function web(
  setup: 'actpass' | 'active',
  change: { direction?: string; ufrag?: string; codecs?: string; to?: string } = {},
): string {
  const { direction = 'sendrecv', ufrag = 'abcd', codecs = '111 0 126', to = 'a=mid:0' } = change
  const mid = /a=mid:(\S+)/.exec(to)?.[1]
  const names: Record<string, string> = { 111: 'opus/48000/2', 0: 'PCMU/8000', 126: 'telephone-event/8000' }
  const lines = [
    'v=0',
    `o=- 4611 ${++version} IN IP4 127.0.0.1`,
    's=-',
    't=0 0',
    `a=group:BUNDLE ${mid}`,
    `m=audio 9 UDP/TLS/RTP/SAVPF ${codecs}`,
    'c=IN IP4 0.0.0.0',
    `a=ice-ufrag:${ufrag}`,
    'a=ice-pwd:abcdefghijklmnopqrstuvwx',
    `a=fingerprint:sha-256 ${Array(32).fill('5A').join(':')}`,
    `a=setup:${setup}`,
    `a=mid:${mid}`,
    `a=${direction}`,
    'a=rtcp-mux',
    ...codecs.split(' ').map(number => `a=rtpmap:${number} ${names[number]}`),
    'a=ssrc:4711 cname:x',
  ]
  return `${lines.join('\r\n')}\r\n`
}

const isWeb = /m=audio \d+ UDP\/TLS\/RTP\/SAVPF [\s\S]*a=fingerprint:/
const isPlain = /m=audio \d+ RTP\/AVP /

/** A browser calls a phone, and both are answered. */
async function connect(alice: Side, bob: Side): Promise<void> {
  alice.say('INVITE', { body: web('actpass') })
  bob.answer(await bob.invited(), 200, { body: sdp(5000) })
  await bob.peer.request('ACK')
  alice.learn(await alice.peer.status(200))
  alice.say('ACK', { sequence: alice.sequence })
  await until(() => under.calls.list()[0]?.state === 'answered')
}

/** The 200 is at the phone a moment before the server is told that it was sent. */
async function until(holds: () => boolean): Promise<void> {
  const late = Date.now() + 3000
  while (!holds()) {
    if (Date.now() > late) assert.fail(`never so: ${holds}`)
    await new Promise(done => setTimeout(done, 10))
  }
}

test('a browser calls somebody with a phone and a browser: each is offered what it speaks', async () => {
  const [alice, bob, tab] = [await side('alice', 'ws'), await side('bob'), await side('bob', 'ws')]
  const offer = web('actpass')
  alice.say('INVITE', { body: offer })
  const [invite, other] = [await bob.invited(), await tab.invited()]
  tab.answer(other, 180)
  assert.equal(other.body, offer)
  assert.match(invite.body, isPlain)
  assert.doesNotMatch(invite.body, /fingerprint|candidate|BUNDLE/)
  assert.ok(invite.body.length < 1000)
  bob.answer(invite, 200, { body: sdp(5000) })
  await bob.peer.request('ACK')
  const ok = alice.learn(await alice.peer.status(200))
  assert.match(ok.body, isWeb)
  // What the phone has chosen, so that nothing has to be translated.
  assert.match(ok.body, /SAVPF 0 126/)
  alice.say('ACK', { sequence: alice.sequence })
  tab.answer(await tab.peer.request('CANCEL'), 200)
  tab.answer(other, 487)
  await hangUp(alice, bob)
})

test('the browser of somebody answers first: the call is direct, and the phone’s leg is gone', async () => {
  const [alice, bob, tab] = [await side('alice', 'ws'), await side('bob'), await side('bob', 'ws')]
  alice.say('INVITE', { body: web('actpass') })
  const [invite, other] = [await bob.invited(), await tab.invited()]
  bob.answer(invite, 180)
  const answer = web('active')
  tab.answer(other, 200, { body: answer })
  await tab.peer.request('ACK')
  assert.equal(alice.learn(await alice.peer.status(200)).body, answer)
  alice.say('ACK', { sequence: alice.sequence })
  await idle()
  bob.answer(await bob.peer.request('CANCEL'), 200)
  bob.answer(invite, 487)
  await hangUp(alice, tab)
})

test('a phone calls a browser; the 200 of a refused answer is ended', async () => {
  const [alice, bob] = [await side('alice'), await side('bob', 'ws')]
  alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  assert.match(invite.body, isWeb)
  bob.answer(invite, 200, { body: web('active', { codecs: '0 126', to: invite.body }) })
  await bob.peer.request('ACK')
  assert.match(alice.learn(await alice.peer.status(200)).body, isPlain)
  alice.say('ACK', { sequence: alice.sequence })
  await hangUp(bob, alice)

  const [again, tab] = [await side('alice'), await side('carol', 'ws')]
  again.target = `sip:carol@${domain}`
  again.say('INVITE', { body: sdp(4000) })
  tab.answer(await tab.invited(), 200, { body: sdp(5000) })
  await tab.peer.request('ACK')
  tab.answer(await tab.peer.request('BYE'), 200)
  assert.equal((await again.peer.wait(m => m.status >= 300)).status, 488)
})

test('early media: the browser gets one answer, in the 183 and in the 200', async () => {
  const [alice, bob] = [await side('alice', 'ws'), await side('bob')]
  alice.say('INVITE', { body: web('actpass') })
  const invite = await bob.invited()
  bob.answer(invite, 183, { body: sdp(5000) })
  const early = await alice.peer.status(183)
  assert.match(early.body, isWeb)
  bob.answer(invite, 200, { body: sdp(5002) })
  await bob.peer.request('ACK')
  assert.equal(alice.learn(await alice.peer.status(200)).body, early.body)
  alice.say('ACK', { sequence: alice.sequence })
  await hangUp(alice, bob)
})

test('a late offer of a browser becomes one for a phone, and its answer one for the browser', async () => {
  const [alice, bob] = [await side('alice'), await side('bob', 'ws')]
  alice.say('INVITE')
  const invite = await bob.invited()
  assert.equal(invite.body, '')
  bob.answer(invite, 200, { body: web('actpass') })
  assert.match(alice.learn(await alice.peer.status(200)).body, isPlain)
  alice.say('ACK', { sequence: alice.sequence, body: sdp(4000) })
  assert.match((await bob.peer.request('ACK')).body, isWeb)
  await hangUp(alice, bob)
})

test('hold and resume reach the phone, which hears music; a new way of the browser does not', async () => {
  const [alice, bob] = [await side('alice', 'ws'), await side('bob')]
  await connect(alice, bob)
  const reinvite = async (change: Parameters<typeof web>[1]) => {
    alice.say('INVITE', { body: web('actpass', change) })
    return alice.sequence
  }
  let sequence = await reinvite({ direction: 'inactive' })
  const hold = await bob.peer.request('INVITE')
  assert.match(hold.body, /a=sendonly/)
  bob.answer(hold, 200, { body: sdp(5000, 'a=recvonly\r\n') })
  await bob.peer.request('ACK')
  assert.match((await alice.peer.status(200)).body, /a=inactive/)
  alice.say('ACK', { sequence })
  sequence = await reinvite({})
  const resume = await bob.peer.request('INVITE')
  assert.match(resume.body, /a=sendrecv/)
  bob.answer(resume, 200, { body: sdp(5000) })
  await bob.peer.request('ACK')
  assert.match((await alice.peer.status(200)).body, /a=sendrecv/)
  alice.say('ACK', { sequence })
  sequence = await reinvite({ ufrag: 'efgh' })
  const restarted = await alice.peer.status(200)
  assert.match(restarted.body, isWeb)
  alice.say('ACK', { sequence })
  assert.equal(under.calls.list()[0]?.state, 'answered')
  const changes = under.facts
    .filter(({ name }) => name === 'callChanged')
    .map(({ fact }) => (fact as { change: string }).change)
  assert.deepEqual(changes.slice(-3), ['held', 'resumed', 'media'])
  await hangUp(bob, alice)
})

test('a re-INVITE of a phone that refuses or crosses another leaves the call as it was', async () => {
  const [alice, bob] = [await side('alice', 'ws'), await side('bob')]
  await connect(alice, bob)
  alice.say('INVITE', { body: web('actpass', { direction: 'sendonly' }) })
  const hold = await bob.peer.request('INVITE')
  bob.say('INVITE', { body: sdp(5000, 'a=sendonly\r\n') })
  assert.equal((await bob.peer.wait(m => m.status >= 300)).status, 491)
  bob.say('ACK', { sequence: bob.sequence })
  bob.answer(hold, 488)
  await bob.peer.request('ACK')
  assert.equal((await alice.peer.wait(m => m.status >= 300)).status, 488)
  alice.say('ACK', { sequence: alice.sequence })
  assert.equal(under.calls.list()[0]?.state, 'answered')
  await hangUp(alice, bob)
})

test('a phone without keys that is called by one with keys is tried once more, and the server stands between', async () => {
  const [alice, bob] = [await side('alice'), await side('bob')]
  const key = `a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:${Buffer.alloc(30, 7).toString('base64')}\r\n`
  alice.say('INVITE', { body: sdp(4000, key).replace('RTP/AVP', 'RTP/SAVP') })
  const first = await bob.invited()
  assert.match(first.body, /RTP\/SAVP /)
  bob.answer(first, 488)
  await bob.peer.request('ACK')
  const second = await bob.invited()
  assert.match(second.body, isPlain)
  bob.answer(second, 200, { body: sdp(5000) })
  await bob.peer.request('ACK')
  const ok = alice.learn(await alice.peer.status(200))
  assert.match(ok.body, /RTP\/SAVP [\s\S]*a=crypto:1 /)
  alice.say('ACK', { sequence: alice.sequence })
  await hangUp(alice, bob)
})

test('browsers that may not send to each other directly are each offered this server', async t => {
  const strict = await startCalls({ browserMedia: 'relay' }, { media: room.media })
  t.after(() => strict.close())
  const [alice, bob] = [await createSide(strict.engine.udp, 'alice'), await createSide(strict.engine.udp, 'bob')]
  sides.push(alice, bob)
  strict.bind('bob', bob.peer, { protocol: 'ws' })
  alice.say('INVITE', { body: web('actpass') })
  const invite = await bob.invited()
  assert.match(invite.body, /^o=vaartha /m)
  bob.answer(invite, 200, { body: web('active', { to: invite.body, codecs: '111 126' }) })
  await bob.peer.request('ACK')
  assert.match(alice.learn(await alice.peer.status(200)).body, /^o=vaartha [\s\S]*SAVPF 111\b/m)
  alice.say('ACK', { sequence: alice.sequence })
  await hangUp(alice, bob)
})

test('a caller that gives up, and a callee that is busy, leave no leg', async () => {
  const [alice, bob] = [await side('alice', 'ws'), await side('bob')]
  const branch = alice.say('INVITE', { body: web('actpass') })
  const invite = await bob.invited()
  bob.answer(invite, 183, { body: sdp(5000) })
  await alice.peer.status(183)
  alice.say('CANCEL', { sequence: alice.sequence, branch })
  bob.answer(await bob.peer.request('CANCEL'), 200)
  bob.answer(invite, 487)
  await alice.peer.status(487)
  await idle()
  const again = await side('alice', 'ws')
  again.say('INVITE', { body: web('actpass') })
  bob.answer(await bob.invited(), 486)
  assert.equal((await again.peer.wait(m => m.status >= 300)).status, 486)
})

test('the echo test: a phone is answered, holds, presses a key, and is recorded', async () => {
  const alice = await side('alice')
  alice.target = `sip:echo@${domain}`
  alice.say('INVITE', { body: sdp(4000) })
  const ok = alice.learn(await alice.peer.status(200))
  assert.match(ok.body, isPlain)
  alice.say('ACK', { sequence: alice.sequence })
  await until(() => under.calls.list()[0]?.to === `sip:echo@${domain}`)
  alice.say('INVITE', { body: sdp(4000, 'a=sendonly\r\n') })
  assert.match((await alice.peer.status(200)).body, /a=recvonly/)
  alice.say('ACK', { sequence: alice.sequence })
  alice.say('INFO', { body: 'Signal=5\r\nDuration=100\r\n', headers: ['Content-Type: application/dtmf-relay'] })
  assert.equal((await alice.peer.wait(m => m.status > 0 && m.header('CSeq').endsWith('INFO'))).status, 200)
  alice.say('BYE')
  await alice.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
  await until(() => under.records.at(-1)?.to === `sip:echo@${domain}`)
})

test('a phone in the echo test that falls silent is asked whether it is there', async () => {
  const alice = await side('alice')
  alice.target = `sip:echo@${domain}`
  alice.say('INVITE', { body: sdp(4000) })
  alice.learn(await alice.peer.status(200))
  alice.say('ACK', { sequence: alice.sequence })
  await until(() => under.calls.local.list().length === 1)
  const [local] = under.calls.local.list()
  local!.onMedia(local!.dialog, { type: 'silent', ms: 20_000 })
  const asked = await alice.peer.request('OPTIONS')
  const waits = () => alice.peer.untaken().some(m => m.method === 'OPTIONS')
  // While it does not answer it is not asked again.
  local!.onMedia(local!.dialog, { type: 'silent', ms: 40_000 })
  assert.ok(!waits())
  alice.answer(asked, 200)
  await until(() => {
    local!.onMedia(local!.dialog, { type: 'silent', ms: 60_000 })
    return waits()
  })
  assert.equal(under.calls.local.list().length, 1)
  alice.answer(await alice.peer.request('OPTIONS'), 481)
  await until(() => under.calls.local.list().length === 0)
})

test('the server calls somebody: each contact gets its own offer, one answers, and is told when its media moves', async () => {
  const [bob, tab] = [await side('bob'), await side('bob', 'ws')]
  const calling = under.calls.local.invite({ user: 'bob' }, { from: { user: 'family', displayName: 'Family' } })
  const [invite, other] = [await bob.invited(), await tab.invited()]
  assert.match(invite.body, isPlain)
  assert.match(other.body, isWeb)
  tab.answer(other, 180)
  bob.answer(invite, 200, { body: sdp(5000) })
  const dialog = await calling
  await bob.peer.request('ACK')
  tab.answer(await tab.peer.request('CANCEL'), 200)
  tab.answer(other, 487)
  const renegotiated = dialog.renegotiate()
  bob.answer(await bob.peer.request('INVITE'), 200, { body: sdp(5000) })
  assert.equal(await renegotiated, true)
  const ended = new Promise(resolve => dialog.once('ended', resolve))
  bob.say('BYE')
  assert.equal(await ended, 'hung up')
})

test('somebody is taken out of a call: its partner gets BYE, and it goes on with the server', async () => {
  const [alice, bob] = [await side('alice', 'ws'), await side('bob')]
  await connect(alice, bob)
  const replaces = { callId: alice.callId, toTag: alice.theirs, fromTag: alice.ours, earlyOnly: false }
  await assert.rejects(under.calls.takeOut(replaces, 'mallory', {}), /./)
  const taking = under.calls.takeOut(replaces, 'alice', { contact: '<sip:meet@localhost>;isfocus' })
  const asked = await bob.peer.request('INVITE')
  assert.match(asked.header('Contact'), /^<sip:meet@127\.0\.0\.1:\d+>;isfocus$/)
  bob.answer(asked, 200, { body: sdp(5000) })
  alice.answer(await alice.peer.request('BYE'), 200)
  const dialog = await taking
  assert.equal(dialog.party.user, 'bob')
  const bye = dialog.bye()
  bob.answer(await bob.peer.request('BYE'), 200)
  await bye
})

/** The referrer hears that its transfer has failed. */
async function failed(referrer: Side): Promise<void> {
  for (let status = ''; !/^SIP\/2.0 487 /.test(status); ) {
    const notify = await referrer.peer.request('NOTIFY')
    referrer.answer(notify, 200)
    status = notify.body
  }
}

/** The target of a transfer has answered, and hangs up while `stay` is asked to change to it. */
async function hangsUp(target: Side, stay: Side): Promise<string> {
  const moves = await stay.peer.request('INVITE')
  target.say('BYE')
  await target.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
  stay.answer(moves, 200, { body: sdp(5000) })
  await stay.peer.request('ACK')
  const back = await stay.peer.request('INVITE')
  stay.answer(back, 200, { body: sdp(5000) })
  await stay.peer.request('ACK')
  return back.body
}

test('a page transfers a phone to a phone that hangs up in that moment: page and phone go on', async () => {
  const [alice, bob, carol] = [await side('alice', 'ws'), await side('bob'), await side('carol')]
  await connect(alice, bob)
  const { body } = bob.invite!
  alice.say('REFER', { headers: ['Refer-To: <sip:carol@example.org>'] })
  carol.answer(await carol.invited(), 200, { body: sdp(6000) })
  await carol.peer.request('ACK')
  const port = (text: string) => /m=audio (\d+)/.exec(text)?.[1]
  assert.equal(port(await hangsUp(carol, bob)), port(body))
  await failed(alice)
  assert.equal(legs.size, 2)
  await hangUp(bob, alice)
})

test('a phone transfers a phone to a page that hangs up in that moment: the phones go on directly', async () => {
  const [alice, bob, carol] = [await side('alice'), await side('bob'), await side('carol', 'ws')]
  alice.say('INVITE', { body: sdp(4000) })
  bob.answer(await bob.invited(), 200, { body: sdp(5000) })
  await bob.peer.request('ACK')
  alice.learn(await alice.peer.status(200))
  alice.say('ACK', { sequence: alice.sequence })
  alice.say('REFER', { headers: ['Refer-To: <sip:carol@example.org>'] })
  const invite = await carol.invited()
  carol.answer(invite, 200, { body: web('active', { codecs: '0 126', to: invite.body }) })
  await carol.peer.request('ACK')
  assert.equal(await hangsUp(carol, bob), sdp(4000))
  await failed(alice)
  await idle()
  await hangUp(alice, bob)
})

test('of two pages one comes to the server and the other does not: they go back to the direct way', async () => {
  const [alice, bob] = [await side('alice', 'ws'), await side('bob', 'ws')]
  const able = { headers: ['Supported: replaces'] }
  alice.say('INVITE', { body: web('actpass'), ...able })
  const invite = await bob.invited()
  bob.answer(invite, 200, { body: web('active') })
  await bob.peer.request('ACK')
  alice.learn(await alice.peer.status(200))
  alice.say('ACK', { sequence: alice.sequence })
  await until(() => under.calls.list()[0]?.state === 'answered')
  const bringing = assert.rejects(under.calls.relay(under.calls.list()[0]!.id), /bob did not follow/)
  const summons = await alice.peer.request('INVITE')
  assert.equal(summons.header('Replaces').split(';')[0], alice.callId)
  assert.match(summons.header('Require'), /replaces/)
  // Its new dialog, in place of the one that ends.
  const come = new Side(alice.peer, 'alice')
  come.answer(summons, 200, { body: web('active', { to: summons.body }) })
  await alice.peer.request('ACK')
  alice.answer(await alice.peer.request('BYE'), 200)
  bob.answer(await bob.peer.request('INVITE'), 488)
  await bob.peer.request('ACK')
  // Who has come makes a new description, and who has stayed answers that.
  const ask = await alice.peer.request('INVITE')
  assert.equal(ask.body, '')
  const offer = web('actpass', { ufrag: 'efgh' })
  come.answer(ask, 200, { body: offer })
  const asked = await bob.peer.request('INVITE')
  assert.equal(asked.body, offer)
  const answer = web('active', { ufrag: 'ijkl' })
  bob.answer(asked, 200, { body: answer })
  await bob.peer.request('ACK')
  assert.equal((await alice.peer.request('ACK')).body, answer)
  await bringing
  await idle()
  assert.equal(under.calls.list()[0]?.state, 'answered')
  bob.say('BYE')
  come.answer(await alice.peer.request('BYE'), 200)
  await bob.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
})
