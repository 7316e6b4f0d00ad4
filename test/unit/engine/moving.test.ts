import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type Srf from 'drachtio-srf'
import type { Reply, SrfPort } from '../../../src/calls/sip.ts'
import type { DialogState, EngineDialogs } from '../../../src/sip/dialogs.ts'
import { createEngineDialogs } from '../../../src/sip/engine-dialogs.ts'
import { type EngineUnderTest, startEngineUnderTest } from '../../support/engine.ts'
import {
  createTcpPeer,
  createUdpPeer,
  type Peer,
  type Received,
  sipRequest,
  sipResponse,
  tagIn,
  unique,
} from '../../support/sip-peer.ts'

// Dialogs that move: made on one engine, read out, and gone on with on another one by an unmodified drachtio-srf.

const sdp = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n'
type Handler = (req: Srf.SrfRequest, res: Srf.SrfResponse) => unknown

interface Node {
  server: EngineUnderTest
  dialogs: EngineDialogs
  /** What srf is shown outside dialogs that it knows. */
  stray: Handler
}

async function startNode(t1 = 20): Promise<Node> {
  const server = await startEngineUnderTest({ t1 })
  const dialogs = createEngineDialogs(server.srf, 'v0.9.10+dialogs')!
  const node: Node = { server, dialogs, stray: (_req, res) => res.send(481) }
  for (const method of ['invite', 'bye', 'info', 'update', 'refer', 'notify', 'message']) {
    const route = (server.srf as unknown as Record<string, (handler: Handler) => void>)[method]!
    route.call(server.srf, (req, res) => node.stray(req, res))
  }
  return node
}

let a: Node
let b: Node
before(async () => {
  ;[a, b] = await Promise.all([startNode(), startNode()])
})
after(async () => {
  await Promise.all([a.server.close(), b.server.close()])
})

/** One dialog as an application keeps it: what the peer asks comes by `next`, and `ask` sends to the peer. */
function keep(srf: Srf, id: string) {
  const came: { req: Srf.SrfRequest; res: Srf.SrfResponse }[] = []
  const waiting: ((one: { req: Srf.SrfRequest; res: Srf.SrfResponse }) => void)[] = []
  const dialog = {
    id,
    handle(req: Srf.SrfRequest, res: Srf.SrfResponse) {
      const give = waiting.shift()
      if (give) give({ req, res })
      else came.push({ req, res })
    },
  }
  const port = srf as unknown as SrfPort
  port.addDialog(dialog as never)
  return {
    next: () => {
      const first = came.shift()
      return first ? Promise.resolve(first) : new Promise<(typeof came)[0]>(resolve => waiting.push(resolve))
    },
    ask: (method: string, more: { headers?: Record<string, string>; body?: string } = {}) =>
      new Promise<{ status: number; ack: () => void }>((resolve, reject) => {
        const options = { method, stackDialogId: id, headers: more.headers ?? {}, body: more.body }
        port.request('sip:placeholder', options, (error, sent) => {
          if (error || !sent) return reject(error)
          sent.on('response', ({ status }, ack) => {
            if (status >= 200) resolve({ status, ack })
          })
        })
      }),
    end: () => port.removeDialog(dialog),
  }
}

interface Call {
  state: DialogState
  callId: string
  phoneTag: string
  ourTag: string
  phone: Peer
}

/** The phone calls node A; the state of the dialog is read there. */
async function called(options: { headers?: string[]; contact?: string } = {}): Promise<Call> {
  const phone = await createUdpPeer(b.server.udp)
  const onA = await createUdpPeer(a.server.udp)
  const callId = unique()
  const headers: Record<string, string> = options.contact ? { Contact: options.contact } : {}
  const answered = new Promise<void>(resolve => {
    a.stray = (_req, res) => (res as unknown as Reply).send(200, undefined, { body: sdp, headers }, () => resolve())
  })
  const invite = { method: 'INVITE', peer: onA, callId, body: sdp, headers: options.headers ?? [] }
  onA.send(
    sipRequest(invite).replaceAll(
      `Contact: <sip:alice@127.0.0.1:${onA.port}>`,
      `Contact: <sip:alice@127.0.0.1:${phone.port}>`,
    ),
  )
  const ok = await onA.status(200)
  const ourTag = tagIn(ok.header('To'))
  const id = `${callId};from-tag=ft`
  await answered
  const held = keep(a.server.srf, id)
  onA.send(sipRequest({ method: 'ACK', peer: onA, callId, toTag: ourTag }))
  assert.equal((await held.next()).req.method, 'ACK')
  held.end()
  const state = await a.dialogs.read(id)
  assert.ok(state)
  await a.dialogs.forget(id)
  onA.close()
  return { state, callId, phoneTag: 'ft', ourTag, phone }
}

function say(
  call: Call,
  method: string,
  sequence: number,
  more: { headers?: string[]; body?: string; branch?: string } = {},
) {
  const { phone: peer, callId, ourTag: toTag } = call
  peer.send(sipRequest({ method, peer, callId, sequence, toTag, ...more }))
}

const sequenceOf = (message: Received) => Number.parseInt(message.header('CSeq'), 10)

test('an engine without these verbs gives no dialogs', () => {
  assert.equal(createEngineDialogs(a.server.srf, 'v0.9.10'), undefined)
})

test('a dialog that was read is forgotten without a BYE, and unknown ones are undefined', async () => {
  const call = await called()
  assert.equal(await a.dialogs.read(call.state.id), undefined)
  assert.equal(a.server.engine.stats().dialogs, 0)
  assert.deepEqual(call.phone.untaken(), [])
  assert.ok(JSON.stringify(call.state).length < 1000)
  call.phone.close()
})

/** Any dialog state, the same for the same seed. */
function anyState(seed: number): DialogState {
  let bits = seed * 2654435761
  const below = (most: number) => {
    bits = (Math.imul(bits ^ (bits >>> 15), 2246822519) + 0x9e3779b9) >>> 0
    return bits % most
  }
  const word = () => (below(2 ** 31) + 1).toString(36)
  const maybe = <T extends object>(value: T) => (below(2) ? value : {})
  const caller = below(2) === 1
  const [callId, localTag, remoteTag] = [word(), word(), word()]
  return {
    id: `${callId};from-tag=${caller ? localTag : remoteTag}`,
    caller,
    callId,
    // An UTF-8 name as the engine keeps it, a byte a character.
    local: `"J\u00c3\u00b6rg ${word()}" <sip:${word()}@127.0.0.1>;tag=${localTag}`,
    remote: `<sip:${word()}@[::1]:5062;user=phone>;tag=${remoteTag}`,
    localTag,
    remoteTag,
    localSequence: below(2 ** 24),
    ...maybe({ remoteSequence: below(2 ** 31) }),
    routes: Array.from({ length: below(4) }, () => `<sip:${word()}.example.org;lr>`),
    target: `sip:${word()}@127.0.0.1:${below(65536)};transport=udp`,
    contact: `<sip:${word()}@192.0.2.1:5060;transport=tcp>;isfocus`,
    ...maybe({ localSdp: `${sdp}s=\u00fc ${word()}\r\n` }),
    peerTakesUpdate: below(2) === 1,
    peerKnowsTimer: below(2) === 1,
    ...maybe({ session: { interval: 1800 + below(86_400), refresher: below(2) ? 'local' : 'remote' } as const }),
    source: { protocol: 'wss', address: '192.0.2.7', port: below(65536) },
  }
}

test('read, installed and read again it is the same, but for the gap', async () => {
  const states = Array.from({ length: 200 }, (_, seed) => anyState(seed))
  await Promise.all(states.map(state => b.dialogs.install(state)))
  for (const state of states) {
    const again = await b.dialogs.read(state.id)
    assert.deepEqual(again, { ...state, localSequence: state.localSequence + 10_000 })
    await b.dialogs.forget(state.id)
  }
  assert.equal(b.server.engine.stats().dialogs, 0)
})

test('everything that the phone asks in a moved dialog reaches the application', async () => {
  const call = await called()
  await b.dialogs.install(call.state)
  const dialog = keep(b.server.srf, call.state.id)
  for (const [at, method] of ['INFO', 'UPDATE', 'REFER', 'MESSAGE', 'NOTIFY'].entries()) {
    say(call, method, at + 2)
    const { req, res } = await dialog.next()
    assert.equal(req.method, method)
    res.send(200)
    await call.phone.status(200)
  }
  say(call, 'INVITE', 20, { body: sdp })
  const { res } = await dialog.next()
  res.send(200, { body: sdp })
  await call.phone.status(100)
  const ok = await call.phone.status(200)
  assert.match(ok.header('Contact'), new RegExp(`<sip:127.0.0.1:${b.server.udp}>`))
  // Repeated until its ACK.
  await call.phone.status(200)
  say(call, 'ACK', 20)
  assert.equal((await dialog.next()).req.method, 'ACK')
  // Lower or equal.
  for (const sequence of [19, 20]) {
    say(call, 'INFO', sequence)
    await call.phone.status(500)
  }
  say(call, 'BYE', 21)
  const bye = await dialog.next()
  assert.equal(bye.req.method, 'BYE')
  bye.res.send(200)
  await call.phone.wait(message => message.status === 200 && message.header('CSeq') === '21 BYE')
  assert.equal(b.server.engine.stats().dialogs, 0)
  dialog.end()
  call.phone.close()
})

test('everything that the application asks in a moved dialog reaches the phone, in order', async () => {
  const call = await called({ contact: '<sip:meet@localhost>;isfocus' })
  await b.dialogs.install(call.state)
  const dialog = keep(b.server.srf, call.state.id)
  let last = call.state.localSequence + 99
  for (const method of ['INFO', 'UPDATE', 'REFER', 'INVITE', 'BYE']) {
    const answer = dialog.ask(method, method === 'INVITE' ? { body: sdp } : {})
    const request = await call.phone.request(method)
    assert.ok(sequenceOf(request) > last)
    last = sequenceOf(request)
    assert.deepEqual([tagIn(request.header('From')), tagIn(request.header('To'))], [call.ourTag, call.phoneTag])
    if (method !== 'INFO' && method !== 'BYE') {
      assert.equal(request.header('Contact'), `<sip:meet@127.0.0.1:${b.server.udp}>;isfocus`)
    }
    call.phone.send(sipResponse(request, 200, { contact: call.phone.port, body: method === 'INVITE' ? sdp : '' }))
    const { status, ack } = await answer
    assert.equal(status, 200)
    if (method === 'INVITE') {
      ack()
      assert.equal(sequenceOf(await call.phone.request('ACK')), last)
    }
  }
  assert.equal(b.server.engine.stats().dialogs, 0)
  dialog.end()
  call.phone.close()
})

test('a dialog that we began moves as well', async () => {
  const onA = await createUdpPeer(a.server.udp)
  const phone = await createUdpPeer(b.server.udp)
  const invited = onA.request('INVITE')
  const id = new Promise<string>((resolve, reject) => {
    const srf = a.server.srf as unknown as SrfPort
    const options = { method: 'INVITE', headers: {}, body: sdp }
    srf.request(`sip:bob@127.0.0.1:${onA.port}`, options, (error, sent) => {
      if (error || !sent) return reject(error)
      sent.on('response', ({ status, stackDialogId = '' }, ack) => {
        if (status !== 200) return
        ack()
        resolve(stackDialogId)
      })
    })
  })
  const invite = await invited
  onA.send(sipResponse(invite, 200, { tag: 'pt', contact: phone.port, body: sdp }))
  await phone.request('ACK')
  const state = (await a.dialogs.read(await id))!
  assert.equal(state.caller, true)
  assert.equal(state.remoteSequence, undefined)
  await a.dialogs.forget(state.id)
  await b.dialogs.install(state)
  const dialog = keep(b.server.srf, state.id)
  const answer = dialog.ask('INFO')
  const info = await phone.request('INFO')
  assert.equal(tagIn(info.header('To')), 'pt')
  phone.send(sipResponse(info, 200))
  assert.equal((await answer).status, 200)
  phone.send(
    [
      `BYE sip:127.0.0.1:${b.server.udp} SIP/2.0`,
      `Via: SIP/2.0/UDP 127.0.0.1:${phone.port};branch=z9hG4bK${unique()};rport`,
      'Max-Forwards: 70',
      `From: ${state.remote}`,
      `To: ${state.local}`,
      `Call-ID: ${state.callId}`,
      'CSeq: 7 BYE',
      'Content-Length: 0',
      '',
      '',
    ].join('\r\n'),
  )
  const bye = await dialog.next()
  bye.res.send(200)
  await phone.status(200)
  dialog.end()
  onA.close()
  phone.close()
})

test('what came before the dialog was installed is answered in it', async () => {
  for (const method of ['INFO', 'BYE', 'INVITE']) {
    const call = await called()
    const shown = new Promise<{ req: Srf.SrfRequest; res: Srf.SrfResponse }>(resolve => {
      b.stray = (req, res) => resolve({ req, res })
    })
    // The number that the dead node has seen already: the phone repeats what it had no answer for.
    say(call, method, method === 'INFO' ? 1 : 5, method === 'INVITE' ? { body: sdp } : {})
    const { res } = await shown
    await b.dialogs.install(call.state)
    const dialog = keep(b.server.srf, call.state.id)
    res.send(200, method === 'INVITE' ? { body: sdp } : {})
    const ok = await call.phone.status(200)
    assert.equal(ok.header('To'), `<sip:bob@example.org>;tag=${call.ourTag}`)
    if (method === 'INVITE') {
      await call.phone.status(200)
      say(call, 'ACK', 5)
      assert.equal((await dialog.next()).req.method, 'ACK')
    }
    if (method === 'BYE') assert.equal(b.server.engine.stats().dialogs, 0)
    else {
      say(call, 'INFO', method === 'INFO' ? 1 : 5)
      await call.phone.status(500)
    }
    await b.dialogs.forget(call.state.id)
    dialog.end()
    call.phone.close()
  }
})

test('an ACK for an answer of the dead node does no harm, before or after', async () => {
  const call = await called()
  say(call, 'ACK', 1)
  await b.dialogs.install(call.state)
  say(call, 'ACK', 1)
  const dialog = keep(b.server.srf, call.state.id)
  say(call, 'INFO', 2)
  const { req, res } = await dialog.next()
  assert.equal(req.method, 'INFO')
  res.send(200)
  await call.phone.status(200)
  await b.dialogs.forget(call.state.id)
  dialog.end()
  call.phone.close()
})

test('it goes over the flow of a new registration, and over the newest one when the phone speaks', async () => {
  const call = await called({ contact: '<sip:meet@localhost>;isfocus' })
  const first = await createTcpPeer(b.server.tcp)
  const flow = new Promise<string>(resolve => {
    b.stray = (req, res) => {
      resolve((req as unknown as { sessionToken: string }).sessionToken)
      res.send(200)
    }
  })
  first.send(sipRequest({ method: 'MESSAGE', peer: first, callId: unique(), transport: 'TCP' }))
  const via = `sip:127.0.0.1:${first.port};transport=tcp;fl=${await flow}`
  await first.status(200)
  await b.dialogs.install(call.state, via)
  const dialog = keep(b.server.srf, call.state.id)
  const answer = dialog.ask('UPDATE')
  const update = await first.request('UPDATE')
  assert.equal(update.startLine, `UPDATE ${call.state.target} SIP/2.0`)
  assert.equal(update.header('Contact'), `<sip:meet@127.0.0.1:${b.server.tcp};transport=tcp>;isfocus`)
  first.send(sipResponse(update, 200))
  assert.equal((await answer).status, 200)

  const second = await createTcpPeer(b.server.tcp)
  const info = { method: 'INFO', peer: second, callId: call.callId, toTag: call.ourTag, sequence: 9 }
  second.send(sipRequest({ ...info, transport: 'TCP' }))
  const { res } = await dialog.next()
  res.send(200)
  await second.status(200)
  const bye = dialog.ask('BYE')
  second.send(sipResponse(await second.request('BYE'), 200))
  assert.equal((await bye).status, 200)
  dialog.end()
  for (const peer of [first, second, call.phone]) peer.close()
})

test('the session timer goes on: refreshed early where the duty was ours, and no BYE while the phone is away', async () => {
  // 20 seconds of 100 ms: a refresh within a quarter second, given up after a third, and the session's end after 1.3.
  const quick = await startNode(5)
  const call = await called({
    headers: ['Session-Expires: 20;refresher=uas', 'Supported: timer', 'Allow: INVITE, UPDATE'],
  })
  assert.deepEqual(call.state.session, { interval: 20, refresher: 'local' })
  await quick.dialogs.install(call.state)
  const lost = await call.phone.request('UPDATE')
  const again = await call.phone.wait(message => message.method !== '' && sequenceOf(message) > sequenceOf(lost))
  assert.deepEqual([again.method, again.header('Session-Expires')], ['UPDATE', '20;refresher=uac'])
  call.phone.close()
  await quick.server.close()
})

test('what is no dialog state is refused and does no harm', async () => {
  const call = await called()
  const { state } = call
  const wrong: unknown[] = [
    null,
    [],
    'x',
    {},
    { ...state, id: 'other' },
    { ...state, local: `${state.local}\r\nX-Evil: yes` },
    { ...state, target: 'no uri' },
    { ...state, target: 5 },
    { ...state, routes: ['<sip:a\n>'] },
    { ...state, routes: Array.from({ length: 1000 }, () => '<sip:a;lr>') },
    { ...state, localSequence: 2 ** 31 },
    { ...state, remoteSequence: -1 },
    { ...state, session: { interval: 0, refresher: 'local' } },
    { ...state, source: null },
    { ...state, localSdp: 'x'.repeat(100_000) },
    { ...state, local: '"', contact: '<' },
  ]
  for (const one of wrong) {
    await assert.rejects(
      b.dialogs.install(one as DialogState),
      { code: 'bad-request' },
      JSON.stringify(one)?.slice(0, 80),
    )
  }
  await assert.rejects(b.dialogs.install(state, 'no uri'), { code: 'bad-request' })
  await assert.rejects(b.dialogs.install(state, 'sip:a\r\nX: y'), { code: 'bad-request' })
  assert.equal(b.server.engine.stats().dialogs, 0)
  await b.dialogs.install(state)
  assert.equal(b.server.engine.stats().dialogs, 1)
  await b.dialogs.forget(state.id)
  call.phone.close()
})

test('one application cannot read, replace or forget the dialog of another', async () => {
  const call = await called()
  await b.dialogs.install(call.state)
  const other = createEngineDialogs(await b.server.another(), 'v0.9.10+dialogs')!
  assert.equal(await other.read(call.state.id), undefined)
  await other.forget(call.state.id)
  await assert.rejects(other.install(call.state), { code: 'bad-request' })
  assert.ok(await b.dialogs.read(call.state.id))
  await b.dialogs.forget(call.state.id)
  call.phone.close()
})
