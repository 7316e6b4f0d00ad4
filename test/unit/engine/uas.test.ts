import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import type Srf from 'drachtio-srf'
import { type EngineUnderTest, startEngineUnderTest } from '../../support/engine.ts'
import {
  createTcpPeer,
  createUdpPeer,
  type Peer,
  sipRequest,
  sipResponse,
  tagIn,
  unique,
} from '../../support/sip-peer.ts'

// Calls from the network to an unmodified drachtio-srf.

const sdp = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n'
type Handler = (req: Srf.SrfRequest, res: Srf.SrfResponse) => unknown

let server: EngineUnderTest
let onInvite: Handler
let onMessage: Handler
let phone: Peer
/** Called whenever the engine asks whether it may act by itself. */
let mayAct: () => boolean = () => true

before(async () => {
  server = await startEngineUnderTest({ mayAct: () => mayAct() })
  const srf = server.srf as unknown as Record<string, (handler: Handler) => void>
  srf['invite']!((req, res) => onInvite(req, res))
  srf['message']!((req, res) => onMessage(req, res))
  srf['bye']!((req, res) => onMessage(req, res))
  srf['options']!((_req, res) => res.send(200))
  phone = await createUdpPeer(server.udp)
  phone.send(sipRequest({ method: 'OPTIONS', peer: phone, callId: unique() }))
  await phone.status(200)
})
after(async () => {
  phone.close()
  await server.close()
})

async function establish(headers: string[] = [], answerHeaders: Record<string, string> = {}) {
  const callId = unique()
  const dialogMade = new Promise<Srf.Dialog>((resolve, reject) => {
    onInvite = (req, res) =>
      server.srf.createUAS(req, res, { localSdp: sdp, headers: answerHeaders }).then(resolve, reject)
  })
  phone.send(sipRequest({ method: 'INVITE', peer: phone, callId, body: sdp, headers }))
  await phone.status(100)
  const ok = await phone.status(200)
  const dialog = await dialogMade
  const toTag = tagIn(ok.header('To'))
  const target = /<([^>]+)>/.exec(ok.header('Contact'))![1]!
  const say = (method: string, sequence: number, more: { headers?: string[]; body?: string } = {}) =>
    phone.send(sipRequest({ method, peer: phone, callId, sequence, toTag, uri: target, ...more }))
  return { callId, dialog, ok, toTag, say, target }
}

async function hangUp(call: Awaited<ReturnType<typeof establish>>, sequence: number) {
  const gone = once(call.dialog, 'destroy')
  call.say('BYE', sequence)
  await phone.status(200)
  await gone
}

test('createUAS: answered, acknowledged, hung up', async () => {
  const call = await establish()
  assert.match(call.ok.header('Contact'), new RegExp(`^<sip:127\\.0\\.0\\.1:${server.udp}>$`))
  assert.equal(call.ok.header('Content-Type'), 'application/sdp')
  assert.equal(call.ok.body, sdp)
  const acked = once(call.dialog, 'ack')
  call.say('ACK', 1)
  await acked
  await hangUp(call, 2)
  assert.equal(server.engine.stats().dialogs, 0)
})

test('a 200 is repeated until its ACK; without one the call is hung up and the app told why', async () => {
  const call = await establish()
  await phone.status(200)
  await phone.status(200)
  const [, reason] = (await once(call.dialog, 'destroy')) as [unknown, string]
  assert.equal(reason, 'ACK timeout')
  const bye = await phone.request('BYE')
  assert.match(bye.header('Reason'), /ACK timeout/)
  phone.send(sipResponse(bye, 200))
  phone.untaken().length = 0
})

test('CANCEL is answered by the engine and told to the app', async () => {
  const callId = unique()
  const cancelled = new Promise<void>(resolve => {
    onInvite = (req, res) => {
      res.send(180)
      req.on('cancel', () => resolve())
    }
  })
  const branch = unique()
  phone.send(sipRequest({ method: 'INVITE', peer: phone, callId, branch, body: sdp }))
  const ringing = await phone.status(180)
  phone.send(sipRequest({ method: 'CANCEL', peer: phone, callId, branch }))
  const [final] = await Promise.all([phone.status(487), phone.status(200), cancelled])
  assert.equal(tagIn(final.header('To')), tagIn(ringing.header('To')))
  phone.send(sipRequest({ method: 'ACK', peer: phone, callId, branch, toTag: tagIn(final.header('To')) }))
  assert.equal(server.engine.stats().dialogs, 0)
})

test('a request with an unknown To tag goes up to the app', async () => {
  onMessage = (req, res) => res.send(481, { headers: { 'X-Seen': req.method } })
  phone.send(sipRequest({ method: 'BYE', peer: phone, callId: unique(), toTag: 'nobody' }))
  assert.equal((await phone.status(481)).header('X-Seen'), 'BYE')
  // Nobody has asked for INFO: the engine answers by itself.
  phone.send(sipRequest({ method: 'INFO', peer: phone, callId: unique(), toTag: 'nobody' }))
  assert.equal((await phone.status(481)).header('X-Seen'), '')
})

test('what nobody handles: 405 with Allow for known methods, 501 for others', async () => {
  phone.send(sipRequest({ method: 'PUBLISH', peer: phone, callId: unique() }))
  assert.match((await phone.status(405)).header('Allow'), /INVITE/)
  phone.send(sipRequest({ method: 'DANCE', peer: phone, callId: unique() }))
  await phone.status(501)
})

test('INFO, UPDATE and re-INVITE inside a call', async () => {
  const call = await establish()
  call.say('ACK', 1)
  call.dialog.on('info', (req, res) => res.send(200, { headers: { 'X-Body': req.body } }))
  call.say('INFO', 2, { headers: ['Content-Type: text/plain'], body: '' })
  await phone.status(200)
  call.dialog.on('modify', (_req, res) => res.send(200, { body: `${sdp}a=recvonly\r\n` }))
  call.say('INVITE', 3, { body: `${sdp}a=sendonly\r\n` })
  await phone.status(100)
  const ok = await phone.status(200)
  assert.match(ok.body, /recvonly/)
  assert.notEqual(ok.header('Contact'), '')
  call.say('ACK', 3)
  // Out of order: lower than the last CSeq.
  call.say('INFO', 2)
  await phone.status(500)
  call.say('UPDATE', 4, { body: sdp })
  await phone.status(200)
  await hangUp(call, 5)
})

test('the app sends inside the call: INFO, then re-INVITE with ACK', async () => {
  const call = await establish()
  call.say('ACK', 1)
  const answered = call.dialog.request({
    method: 'INFO',
    body: 'x',
    headers: { 'Content-Type': 'text/plain' },
  } as never)
  const info = await phone.request('INFO')
  assert.equal(info.startLine, `INFO sip:alice@127.0.0.1:${phone.port} SIP/2.0`)
  phone.send(sipResponse(info, 200))
  assert.equal((await answered).status, 200)
  const modified = call.dialog.modify(`${sdp}a=sendonly\r\n`)
  const invite = await phone.request('INVITE')
  // Glare: while our INVITE waits, theirs is refused.
  const branch = unique()
  const { callId, toTag } = call
  phone.send(sipRequest({ method: 'INVITE', peer: phone, callId, sequence: 2, toTag, branch, body: sdp }))
  await phone.status(491)
  phone.send(sipRequest({ method: 'ACK', peer: phone, callId, sequence: 2, toTag, branch }))
  phone.send(sipResponse(invite, 200, { contact: phone.port, body: sdp }))
  assert.equal(await modified, sdp)
  const ack = await phone.request('ACK')
  assert.equal(ack.header('CSeq').split(' ')[0], invite.header('CSeq').split(' ')[0])
  const bye = call.dialog.destroy()
  phone.send(sipResponse(await phone.request('BYE'), 200))
  await bye
  phone.untaken().length = 0
  assert.equal(server.engine.stats().dialogs, 0)
})

test('a reliable provisional is repeated until PRACK', async () => {
  const callId = unique()
  let proceed = () => {}
  onInvite = (req, res) => {
    res.send(183, { headers: { Require: '100rel' }, body: sdp } as never)
    proceed = () =>
      void server.srf.createUAS(req, res, { localSdp: sdp }).then(dialog => dialog.on('destroy', () => {}))
  }
  phone.send(sipRequest({ method: 'INVITE', peer: phone, callId, body: sdp, headers: ['Supported: 100rel'] }))
  const first = await phone.status(183)
  assert.equal((await phone.status(183)).text, first.text)
  const toTag = tagIn(first.header('To'))
  const rack = `RAck: ${first.header('RSeq')} 1 INVITE`
  phone.send(sipRequest({ method: 'PRACK', peer: phone, callId, sequence: 2, toTag, headers: [rack] }))
  assert.match((await phone.status(200)).header('CSeq'), /PRACK/)
  phone.send(sipRequest({ method: 'PRACK', peer: phone, callId, sequence: 3, toTag, headers: [rack] }))
  await phone.status(481)
  proceed()
  await phone.status(200)
  phone.send(sipRequest({ method: 'ACK', peer: phone, callId, toTag }))
  phone.send(sipRequest({ method: 'BYE', peer: phone, callId, sequence: 4, toTag }))
  await phone.wait(message => message.status === 200 && message.header('CSeq').includes('BYE'))
})

test('session timer: the peer that refreshes and falls silent is hung up', async () => {
  const call = await establish(['Supported: timer', 'Session-Expires: 3;refresher=uac'])
  assert.equal(call.ok.header('Session-Expires'), '3;refresher=uac')
  assert.equal(call.ok.header('Require'), 'timer')
  call.say('ACK', 1)
  const [, reason] = (await once(call.dialog, 'destroy')) as [unknown, string]
  assert.equal(reason, 'Session timer expired')
  phone.send(sipResponse(await phone.request('BYE'), 200))
})

test('session timer: nothing is done by a node that may have lost its calls to another one', async () => {
  const call = await establish(['Supported: timer', 'Session-Expires: 2;refresher=uac'])
  call.say('ACK', 1)
  await new Promise<void>(asked => {
    mayAct = () => {
      asked()
      return false
    }
  })
  assert.equal(phone.untaken().filter(message => message.method === 'BYE').length, 0)
  mayAct = () => true
  const [, reason] = (await once(call.dialog, 'destroy')) as [unknown, string]
  assert.equal(reason, 'Session timer expired')
  phone.send(sipResponse(await phone.request('BYE'), 200))
})

test('session timer: we refresh, by UPDATE where it is allowed, else by re-INVITE with the same SDP', async () => {
  const call = await establish(['Supported: timer', 'Session-Expires: 3;refresher=uas', 'Allow: INVITE, UPDATE'])
  call.say('ACK', 1)
  const update = await phone.request('UPDATE')
  assert.equal(update.header('Session-Expires'), '3;refresher=uac')
  phone.send(sipResponse(update, 405))
  const invite = await phone.request('INVITE')
  assert.equal(invite.body, sdp)
  phone.send(
    sipResponse(invite, 200, { contact: phone.port, body: sdp, headers: ['Session-Expires: 3;refresher=uac'] }),
  )
  await phone.request('ACK')
  await hangUp(call, 2)
  phone.untaken().length = 0
})

test('a session shorter than allowed gets 422 with Min-SE', async () => {
  const headers = ['Supported: timer', 'Session-Expires: 1']
  const callId = unique()
  const branch = unique()
  phone.send(sipRequest({ method: 'INVITE', peer: phone, callId, branch, body: sdp, headers }))
  const refused = await phone.status(422)
  assert.equal(refused.header('Min-SE'), '2')
  phone.send(sipRequest({ method: 'ACK', peer: phone, callId, branch, toTag: tagIn(refused.header('To')) }))
})

test('over TCP the Contact names the transport, and a body of 60 kB passes', async () => {
  const tcp = await createTcpPeer(server.tcp)
  const big = `${sdp}a=x:${'y'.repeat(60_000)}\r\n`
  onInvite = (req, res) => server.srf.createUAS(req, res, { localSdp: req.body })
  tcp.send(sipRequest({ method: 'INVITE', peer: tcp, callId: 'big', body: big, transport: 'TCP' }))
  const ok = await tcp.status(200)
  assert.equal(ok.body, big)
  assert.match(ok.header('Contact'), /;transport=tcp>$/)
  const toTag = tagIn(ok.header('To'))
  tcp.send(sipRequest({ method: 'ACK', peer: tcp, callId: 'big', toTag, transport: 'TCP' }))
  tcp.send(sipRequest({ method: 'BYE', peer: tcp, callId: 'big', sequence: 2, toTag, transport: 'TCP' }))
  await tcp.wait(message => message.status === 200 && message.header('CSeq').includes('BYE'))
  tcp.close()
})

test('an engine without an application answers 503, and a lost one leaves nothing open', async () => {
  const other = await startEngineUnderTest()
  const peer = await createUdpPeer(other.udp)
  ;(other.srf as unknown as Record<string, (handler: Handler) => void>)['invite']!(() => other.srf.disconnect())
  peer.send(sipRequest({ method: 'PUBLISH', peer, callId: unique() }))
  await peer.status(405)
  peer.send(sipRequest({ method: 'INVITE', peer, callId: 'lost', branch: 'lost' }))
  await peer.status(480)
  peer.send(sipRequest({ method: 'MESSAGE', peer, callId: unique() }))
  await peer.status(503)
  peer.close()
  await other.close()
})
