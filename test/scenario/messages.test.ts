import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { until } from '../support/pair.ts'
import { createPhone } from '../support/phone.ts'
import { startVaartha, type TestServer } from '../support/server.ts'
import { createTcpPeer, createUdpPeer, type Peer, sipResponse, unique } from '../support/sip-peer.ts'
import { createTexter, type Texter } from '../support/texter.ts'

// For a machine with much else to do.
const patience = 30_000

describe('messages between phones', () => {
  let server: TestServer
  const passwords = new Map<string, string>()
  const peers: Peer[] = []
  before(async () => {
    server = await startVaartha({ settings: { VAARTHA_MESSAGES_MOST_KEPT: '3' } })
    for (const user of ['mum', 'dad', 'kid', 'gran'])
      passwords.set(user, await server.addUser(user, user.toUpperCase()))
    await server.cli('group', 'add', 'family', '--members', 'mum,dad,kid')
  })
  after(async () => {
    for (const peer of peers) peer.close()
    await server.close()
  })

  async function open(user: string, transport: 'UDP' | 'TCP' = 'UDP', device?: string) {
    const peer = await (transport === 'UDP' ? createUdpPeer : createTcpPeer)(server.ports.sip)
    peers.push(peer)
    const options = { peer, user, domain: server.domain, password: passwords.get(user)!, transport }
    const phone = createPhone({ ...options, ...(device === undefined ? {} : { device }) })
    return { phone, texter: createTexter(options), peer }
  }
  const kept = () => server.api<{ kept: number; people: number }>('/api/messages/kept')

  it('brings one to every device of a person, from who proved to have sent it, and hides the rest of the sender', async () => {
    const mum = await open('mum')
    const [one, other] = [await open('dad'), await open('dad', 'TCP')]
    for (const { phone } of [one, other]) assert.equal((await phone.register(600, patience)).status, 200)
    const sent = mum.texter.text('dad', 'Grüße, come home ✓', {
      headers: ['Subject: dinner', 'Alert-Info: <http://x>'],
    })
    const got = await Promise.all([one.texter.take(), other.texter.take()])
    const answer = await sent
    assert.equal(answer.status, 200)
    // RFC 3428 sections 4 and 7: neither has one.
    for (const message of [answer, ...got]) assert.equal(message.header('Contact'), '')
    for (const message of got) {
      assert.equal(message.body, 'Grüße, come home ✓')
      assert.match(message.header('From'), /^"MUM" <sip:mum@vaartha\.local>;tag=/)
      assert.match(message.header('To'), /^<sip:dad@vaartha\.local>/)
      assert.equal(message.header('Content-Type'), 'text/plain')
      assert.equal(message.header('Subject'), 'dinner')
      assert.equal(message.header('Alert-Info'), '')
      assert.ok(!Number.isNaN(Date.parse(message.header('Date'))))
      assert.equal(message.text.includes(String(mum.peer.port)), false)
    }
    assert.notEqual(got[0]!.header('Call-ID'), got[1]!.header('Call-ID'))
    for (const { phone } of [one, other]) await phone.register(0, patience)
  })

  it('refuses who is not who he says, whom nobody knows, other domains, and what is too long', async () => {
    const { texter } = await open('mum')
    const status = async (...args: Parameters<Texter['text']>) => (await texter.text(...args)).status
    assert.equal(await status('nobody', 'x'), 404)
    assert.equal(await status('dad', 'x', { from: 'kid' }), 403)
    assert.equal(await status('dad', 'x', { domain: 'elsewhere.test' }), 403)
    assert.equal(await status('dad', 'x'.repeat(1301)), 413)
    assert.equal(await status('dad', 'x', { headers: ['Require: magic'] }), 420)
    const { peer } = await open('mum')
    const stranger = createTexter({ peer, user: 'stranger', domain: server.domain, password: 'wrong' })
    assert.ok((await stranger.text('dad', 'x')).status >= 400)
  })

  it('keeps what comes for who is not there, brings it in order when the phone registers, once', async () => {
    const [mum, kid] = [await open('mum'), await open('kid')]
    for (const text of ['one', 'two', 'three']) assert.equal((await mum.texter.text('kid', text)).status, 202)
    const more = await mum.texter.text('kid', 'four')
    assert.equal(more.status, 480)
    assert.match(more.header('Warning'), /Inbox full/)
    assert.equal((await mum.texter.text('kid', '<xml/>', { type: 'application/im-iscomposing+xml' })).status, 480)
    assert.deepEqual(await kept(), { kept: 3, people: 1 })

    assert.equal((await kid.phone.register(600, patience)).status, 200)
    // The second is held up by the answer to the first.
    const first = await kid.peer.request('MESSAGE', patience)
    assert.equal(first.body, 'one')
    assert.equal(kid.peer.untaken().length, 0)
    kid.peer.send(sipResponse(first, 200))
    assert.equal((await kid.texter.take()).body, 'two')
    assert.equal((await kid.texter.take()).body, 'three')
    await until(async () => (await kept()).kept === 0, patience)
    await kid.phone.register(600, patience)
    assert.equal((await mum.texter.text('dad', 'x', { headers: ['Expires: 0'] })).status, 480)
    assert.equal(kid.peer.untaken().length, 0)
    await kid.phone.register(0, patience)
  })

  it('goes to the members of a group, and not back', async () => {
    const [mum, dad, kid] = [await open('mum'), await open('dad'), await open('kid')]
    for (const { phone } of [mum, dad]) await phone.register(600, patience)
    const sent = mum.texter.text('family', 'all of you')
    assert.match((await dad.texter.take()).header('To'), /<sip:family@/)
    assert.equal((await sent).status, 202)
    await kid.phone.register(600, patience)
    assert.equal((await kid.texter.take()).body, 'all of you')
    assert.equal(mum.peer.untaken().length, 0)
    for (const { phone } of [mum, dad, kid]) await phone.register(0, patience)
  })

  it('goes to the one device that a GRUU names, also when that comes later', async () => {
    const mum = await open('mum')
    const device = 'urn:uuid:00000000-0000-4000-8000-000000000001'
    const [one, other] = [await open('dad', 'UDP', device), await open('dad')]
    for (const { phone } of [one, other]) await phone.register(600, patience)
    const domain = `${server.domain};gr=${device}`
    const sent = mum.texter.text('dad', 'you alone', { domain })
    assert.equal((await one.texter.take()).body, 'you alone')
    assert.equal((await sent).status, 200)
    await one.phone.register(0, patience)
    assert.equal((await mum.texter.text('dad', 'you later', { domain })).status, 202)
    await one.phone.register(600, patience)
    assert.equal((await one.texter.take()).body, 'you later')
    assert.equal(other.peer.untaken().length, 0)
    for (const { phone } of [one, other]) await phone.register(0, patience)
  })

  it('takes a repetition for what it is, and another message in the same words for another', async () => {
    const [mum, dad] = [await open('mum'), await open('dad')]
    await dad.phone.register(600, patience)
    const callId = unique()
    const first = mum.texter.text('dad', 'once', { callId })
    const message = await dad.peer.request('MESSAGE', patience)
    // Its sender gives up and tries again, before the phone has answered.
    assert.equal((await mum.texter.text('dad', 'once', { callId })).status, 202)
    dad.peer.send(sipResponse(message, 200))
    assert.equal((await first).status, 200)
    assert.equal(dad.peer.untaken().length, 0)
    const second = mum.texter.text('dad', 'once')
    await dad.texter.take()
    assert.equal((await second).status, 200)
    await dad.phone.register(0, patience)
  })

  it('tells the sender what every device refuses, and keeps what a silent one does not take', async () => {
    const [mum, dad] = [await open('mum'), await open('dad')]
    await dad.phone.register(600, patience)
    const refused = mum.texter.text('dad', '?', { type: 'application/odd' })
    await dad.texter.take(415)
    assert.equal((await refused).status, 415)
    const began = performance.now()
    const silent = mum.texter.text('dad', 'are you there', { ms: 60_000 })
    await dad.peer.request('MESSAGE', patience)
    assert.equal((await silent).status, 202)
    assert.ok(performance.now() - began < 30_000)
    await dad.phone.register(0, patience)
  })

  it('survives the death of its only server', async () => {
    const [mum, dad] = [await open('mum'), await open('gran')]
    await dad.phone.register(600, patience)
    const callId = unique()
    const sent = mum.texter.text('gran', 'in flight', { callId, ms: 500 })
    const before = await dad.peer.request('MESSAGE', patience)
    // Meanwhile the journal of registrations is written.
    await assert.rejects(sent)
    await server.kill()
    await server.restart()
    // Its own binding was kept, so nothing but the start makes the server send it again.
    const after = await dad.peer.request('MESSAGE', patience)
    for (const name of ['Call-ID', 'CSeq', 'From'])
      assert.equal(after.header(name), before.header(name), `a phone knows it by its ${name}`)
    const again = mum.texter.text('gran', 'in flight', { callId })
    assert.equal((await again).status, 202)
    dad.peer.send(sipResponse(after, 200))
    await until(async () => (await kept()).kept === 1, patience)
    assert.equal(dad.peer.untaken().length, 0)
    const metrics = await (await fetch(`http://127.0.0.1:${server.ports.http}/metrics`)).text()
    assert.match(metrics, /vaartha_messages_total\{result="kept"\} 1\n/)
  })
})
