import assert from 'node:assert/strict'
import { type EventEmitter, once } from 'node:events'
import { after, before, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type Srf from 'drachtio-srf'
import { type EngineUnderTest, startEngineUnderTest } from '../../support/engine.ts'
import {
  createUdpPeer,
  type Peer,
  type Received,
  sipRequest,
  sipResponse,
  tagIn,
  unique,
} from '../../support/sip-peer.ts'

// Calls of an unmodified drachtio-srf to the network, and B2BUA calls.

const sdp = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n'
type Handler = (req: Srf.SrfRequest, res: Srf.SrfResponse) => unknown

let server: EngineUnderTest
let callee: Peer
let caller: Peer
let onInvite: Handler

before(async () => {
  server = await startEngineUnderTest()
  const srf = server.srf as unknown as Record<string, (handler: Handler) => void>
  srf['invite']!((req, res) => onInvite(req, res))
  srf['options']!((_req, res) => res.send(200))
  callee = await createUdpPeer(server.udp)
  caller = await createUdpPeer(server.udp)
  caller.send(sipRequest({ method: 'OPTIONS', peer: caller, callId: unique() }))
  await caller.status(200)
})
after(async () => {
  callee.close()
  caller.close()
  await server.close()
})

const uri = () => `sip:bob@127.0.0.1:${callee.port}`
const answer = (invite: Received, tag = 'b', headers: string[] = []) =>
  callee.send(sipResponse(invite, 200, { tag, contact: callee.port, body: sdp, headers }))

async function end(dialog: Srf.Dialog) {
  const done = dialog.destroy()
  callee.send(sipResponse(await callee.request('BYE'), 200))
  await done
  callee.untaken().length = 0
}

test('createUAC: completed request, ACK by the app, BYE', async () => {
  const calling = server.srf.createUAC(uri(), {
    localSdp: sdp,
    callingNumber: 'c1',
  } as never)
  const invite = await callee.request('INVITE')
  assert.match(invite.header('From'), new RegExp(`^<?sip:c1@127\\.0\\.0\\.1:${server.udp}>?;tag=\\w+$`))
  assert.equal(invite.header('To'), `<${uri()}>`)
  assert.equal(invite.header('Max-Forwards'), '70')
  assert.match(invite.header('Contact'), new RegExp(`sip:c1@127\\.0\\.0\\.1:${server.udp}`))
  callee.send(sipResponse(invite, 180, { tag: 'b', contact: callee.port }))
  answer(invite)
  const ack = await callee.request('ACK')
  assert.equal(ack.header('CSeq'), invite.header('CSeq').replace('INVITE', 'ACK'))
  // A repeated 200 is acknowledged again, by the engine.
  answer(invite)
  assert.equal((await callee.request('ACK')).header('CSeq'), ack.header('CSeq'))
  await end(await calling)
  assert.equal(server.engine.stats().dialogs, 0)
})

test('a fork that answers second is acknowledged and hung up by the engine', async () => {
  const calling = server.srf.createUAC(uri(), { localSdp: sdp })
  const invite = await callee.request('INVITE')
  answer(invite, 'one')
  const dialog = await calling
  answer(invite, 'two')
  const bye = await callee.request('BYE')
  assert.equal(tagIn(bye.header('To')), 'two')
  callee.send(sipResponse(bye, 200))
  assert.equal(dialog.sip.remoteTag, 'one')
  await end(dialog)
})

test('a fork that answers after the INVITE transaction is over is hung up as well, and the call goes on', async () => {
  const quick = await startEngineUnderTest({ t1: 4 })
  const peer = await createUdpPeer(quick.udp)
  const calling = quick.srf.createUAC(`sip:bob@127.0.0.1:${peer.port}`, { localSdp: sdp })
  const invite = await peer.request('INVITE')
  const accept = (tag: string) => peer.send(sipResponse(invite, 200, { tag, contact: peer.port, body: sdp }))
  accept('one')
  const dialog = await calling
  await peer.request('ACK')
  while (quick.engine.stats().clientTransactions > 0) await nextTurn()
  accept('late')
  const ack = await peer.request('ACK')
  assert.equal(tagIn(ack.header('To')), 'late')
  assert.equal(ack.header('CSeq'), invite.header('CSeq').replace('INVITE', 'ACK'))
  const bye = await peer.request('BYE')
  assert.equal(tagIn(bye.header('To')), 'late')
  peer.send(sipResponse(bye, 200))
  // Our ACK was lost, it seems: it is sent again, and the BYE is not.
  accept('late')
  assert.equal(tagIn((await peer.request('ACK')).header('To')), 'late')
  // Neither a late ringing nor an answer to what we never sent is acknowledged.
  peer.send(sipResponse(invite, 180, { tag: 'one', contact: peer.port }))
  peer.send(sipResponse(invite, 200, { tag: 'x', contact: peer.port }).replace(/CSeq: \d+/, 'CSeq: 2147483647'))
  const ended = dialog.destroy()
  const own = await peer.request('BYE')
  assert.equal(tagIn(own.header('To')), 'one')
  peer.send(sipResponse(own, 200))
  await ended
  assert.deepEqual(peer.untaken(), [])
  assert.equal(quick.engine.stats().dialogs, 0)
  peer.close()
  await quick.close()
})

test('CANCEL that a 200 overtakes: ACK and BYE', async () => {
  let calling: Promise<Srf.Dialog> | undefined
  const sent = new Promise<Srf.SrfRequest>(resolve => {
    const create = server.srf.createUAC.bind(server.srf) as (...args: unknown[]) => Promise<Srf.Dialog>
    calling = create(uri(), { localSdp: sdp }, { cbRequest: (_error: unknown, req: Srf.SrfRequest) => resolve(req) })
  })
  const invite = await callee.request('INVITE')
  callee.send(sipResponse(invite, 180, { tag: 'b', contact: callee.port }))
  const request = await sent
  request.cancel(() => {})
  const cancel = await callee.request('CANCEL')
  assert.equal(cancel.header('Via').split(';')[1], invite.header('Via').split(';')[1])
  answer(invite)
  callee.send(sipResponse(cancel, 200))
  await calling
  await callee.request('ACK')
  callee.send(sipResponse(await callee.request('BYE'), 200))
  callee.untaken().length = 0
  assert.equal(server.engine.stats().dialogs, 0)
})

test('digest: the retry has the next CSeq and the same From', async () => {
  const calling = server.srf.createUAC(uri(), { localSdp: sdp, auth: { username: 'u', password: 'p' } })
  const first = await callee.request('INVITE')
  callee.send(
    sipResponse(first, 401, { tag: 'x', headers: ['WWW-Authenticate: Digest realm="r", nonce="n", algorithm=MD5'] }),
  )
  await callee.request('ACK')
  const second = await callee.request('INVITE')
  assert.equal(second.header('From'), first.header('From'))
  assert.equal(Number.parseInt(second.header('CSeq'), 10), Number.parseInt(first.header('CSeq'), 10) + 1)
  assert.match(second.header('Authorization'), /^Digest username="u"/)
  answer(second)
  const ack = await callee.request('ACK')
  assert.equal(ack.header('Authorization'), second.header('Authorization'))
  await end(await calling)
})

test('PRACK goes out for a reliable provisional, once', async () => {
  const calling = server.srf.createUAC(uri(), { localSdp: sdp, headers: { Supported: '100rel' } })
  const invite = await callee.request('INVITE')
  const reliable = sipResponse(invite, 183, { tag: 'b', contact: callee.port, headers: ['Require: 100rel', 'RSeq: 7'] })
  callee.send(reliable)
  const prack = await callee.request('PRACK')
  assert.equal(prack.header('RAck'), `7 ${invite.header('CSeq')}`)
  callee.send(reliable)
  callee.send(sipResponse(prack, 200))
  answer(invite)
  const dialog = await calling
  assert.equal(callee.untaken().filter(message => message.method === 'PRACK').length, 0)
  await end(dialog)
})

test('late offer: no SDP in the INVITE, the answer in the ACK', async () => {
  const calling = server.srf.createUAC(uri(), { noAck: true }) as unknown as Promise<{
    sdp: string
    ack(sdp: string): Promise<Srf.Dialog>
  }>
  const invite = await callee.request('INVITE')
  assert.equal(invite.body, '')
  answer(invite)
  const { sdp: offer, ack } = await calling
  assert.equal(offer, sdp)
  const dialog = await ack(`${sdp}a=x\r\n`)
  assert.equal((await callee.request('ACK')).body, `${sdp}a=x\r\n`)
  await end(dialog)
})

test('failures reach the app: busy, nobody there, a pinned flow that is gone, ourselves', async () => {
  const calling = server.srf.createUAC(uri(), { localSdp: sdp })
  callee.send(sipResponse(await callee.request('INVITE'), 486, { tag: 'b' }))
  await assert.rejects(calling, { status: 486 })
  await assert.rejects(server.srf.createUAC(uri(), { localSdp: sdp, proxy: `${uri()};fl=gone` }), { status: 430 })
  await assert.rejects(server.srf.createUAC('sip:x@nowhere.invalid', { localSdp: sdp }), { status: 503 })
  await assert.rejects(server.srf.createUAC(`sip:x@127.0.0.1:${server.udp}`, { localSdp: sdp }), /myself/)
  callee.untaken().length = 0
})

test('the response of an awaited request is never lost', async () => {
  for (let turn = 0; turn < 100; turn++) {
    const send = server.srf.request.bind(server.srf) as (...args: unknown[]) => Promise<Srf.SrfRequest>
    const callId = unique()
    const sending = send(uri(), { method: 'OPTIONS', headers: { 'Call-ID': callId } })
    const options = await callee.wait(message => message.header('Call-ID') === callId)
    callee.send(sipResponse(options, 200, { tag: 'o' }))
    const req = await sending
    const signal = AbortSignal.timeout(3000)
    const [response] = (await once(req as unknown as EventEmitter, 'response', { signal })) as [Srf.SrfResponse]
    assert.equal(response.status, 200)
  }
})

test('createB2BUA: a call through, hung up by the caller; the callee never sees the caller', async () => {
  onInvite = async (req, res) => {
    const { uas, uac } = await server.srf.createB2BUA(req, res, uri(), {} as never)
    uas.on('destroy', () => void uac.destroy())
    uac.on('destroy', () => void uas.destroy())
  }
  const callId = unique()
  caller.send(sipRequest({ method: 'INVITE', peer: caller, callId, body: sdp }))
  const invite = await callee.request('INVITE')
  assert.notEqual(invite.header('Call-ID'), callId)
  assert.doesNotMatch(invite.text, new RegExp(`127\\.0\\.0\\.1:${caller.port}`))
  callee.send(sipResponse(invite, 180, { tag: 'b', contact: callee.port }))
  await caller.status(180)
  answer(invite)
  const ok = await caller.status(200)
  await callee.request('ACK')
  const toTag = tagIn(ok.header('To'))
  caller.send(sipRequest({ method: 'ACK', peer: caller, callId, toTag }))
  caller.send(sipRequest({ method: 'BYE', peer: caller, callId, sequence: 2, toTag }))
  callee.send(sipResponse(await callee.request('BYE'), 200))
  await caller.wait(message => message.status === 200 && message.header('CSeq').includes('BYE'))
})

test('createB2BUA: the caller gives up; the callee is cancelled', async () => {
  onInvite = (req, res) => server.srf.createB2BUA(req, res, uri(), {} as never).catch(() => {})
  const callId = unique()
  const branch = unique()
  caller.send(sipRequest({ method: 'INVITE', peer: caller, callId, branch, body: sdp }))
  const invite = await callee.request('INVITE')
  callee.send(sipResponse(invite, 180, { tag: 'b', contact: callee.port }))
  await caller.status(180)
  caller.send(sipRequest({ method: 'CANCEL', peer: caller, callId, branch }))
  const final = await caller.status(487)
  caller.send(sipRequest({ method: 'ACK', peer: caller, callId, branch, toTag: tagIn(final.header('To')) }))
  const cancel = await callee.request('CANCEL')
  callee.send(sipResponse(cancel, 200))
  callee.send(sipResponse(invite, 487, { tag: 'b' }))
  await callee.request('ACK')
})
