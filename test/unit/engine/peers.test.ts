import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import type Srf from 'drachtio-srf'
import { createPass } from '../../../src/calls/pass.ts'
import type { Ack, Incoming, Reply, Response, Sent, SrfPort } from '../../../src/calls/sip.ts'
import { createEngineDialogs } from '../../../src/sip/engine-dialogs.ts'
import { type EngineUnderTest, startEngineUnderTest } from '../../support/engine.ts'
import {
  createTcpPeer,
  createUdpPeer,
  createWebSocketPeer,
  type Peer,
  type Received,
  sipRequest,
  sipResponse,
  tagIn,
  unique,
} from '../../support/sip-peer.ts'

// A phone that only node A has a connection to, rung and talked to by node B.

const sdp = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n'
const secret = randomBytes(24).toString('hex')

type Handler = (req: Srf.SrfRequest, res: Srf.SrfResponse) => unknown

interface Node {
  server: EngineUnderTest
  srf: SrfPort
  life: string
  /** What its application is asked, outside dialogs that it keeps. */
  asked(req: Incoming, res: Reply): void
}

async function startNode(life: string, secrets = [secret]): Promise<Node> {
  const server = await startEngineUnderTest({ cluster: { life, secrets } })
  const node: Node = { server, srf: server.srf as unknown as SrfPort, life, asked: (_req, res) => answer(res, 481) }
  for (const method of ['invite', 'bye', 'info', 'message'] as const) {
    const route = (server.srf as unknown as Record<string, (handler: Handler) => void>)[method]!
    route.call(server.srf, (req, res) => node.asked(req as unknown as Incoming, res as unknown as Reply))
  }
  return node
}

const answer = (res: Reply, status: number, body = '') => res.send(status, undefined, body === '' ? {} : { body })

let a: Node
let b: Node
before(async () => {
  ;[a, b] = await Promise.all([startNode('a-1'), startNode('b-1')])
})
after(() => Promise.all([a.server.close(), b.server.close()]))

const wsPort = (node: Node) => node.server.engine.points().find(point => point.protocol === 'ws')!.port
const connectPhone = {
  tcp: (node: Node) => createTcpPeer(node.server.tcp),
  ws: (node: Node) => createWebSocketPeer(`ws://127.0.0.1:${wsPort(node)}/sip`),
  udp: (node: Node) => createUdpPeer(node.server.udp),
}
type Kind = keyof typeof connectPhone

/** A phone that node has a flow to, and how another node reaches it. */
async function register(node: Node, kind: Kind): Promise<{ phone: Peer; flow: string; hop: string }> {
  const phone = await connectPhone[kind](node)
  const flow = new Promise<string>(resolve => {
    node.asked = (req, res) => {
      resolve(req.sessionToken ?? '')
      answer(res, 200)
    }
  })
  const hello = { method: 'MESSAGE', peer: phone, callId: unique() }
  phone.send(sipRequest(kind === 'udp' ? hello : { ...hello, transport: 'TCP' }))
  await phone.status(200)
  return { phone, flow: await flow, hop: hopTo(node, await flow) }
}

const hopTo = (node: Node, flow: string) =>
  `sip:127.0.0.1:${node.server.tcp};transport=tcp;node=${node.life};fl=${flow}`

/** Nobody listens there. */
const contact = 'sip:bob@127.0.0.1:9'

interface Ringing {
  sent: Sent
  final: Promise<{ response: Response; ack: Ack }>
  provisional: Promise<Response>
}

function ring(node: Node, hop: string): Promise<Ringing> {
  return new Promise((resolve, reject) => {
    const options = { method: 'INVITE', headers: {}, body: sdp, proxy: hop }
    node.srf.request(contact, options, (error, sent) => {
      if (!sent) return reject(error)
      const final = Promise.withResolvers<{ response: Response; ack: Ack }>()
      const provisional = Promise.withResolvers<Response>()
      sent.on('response', (response, ack) => {
        if (response.status >= 200) final.resolve({ response, ack })
        else provisional.resolve(response)
      })
      resolve({ sent, final: final.promise, provisional: provisional.promise })
    })
  })
}

function ask(node: Node, id: string, method: string, body?: string): Promise<{ status: number; ack: Ack }> {
  return new Promise((resolve, reject) => {
    node.srf.request('sip:placeholder', { method, stackDialogId: id, headers: {}, body }, (error, sent) => {
      if (!sent) return reject(error)
      sent.on('response', ({ status }, ack) => {
        if (status >= 200) resolve({ status, ack })
      })
    })
  })
}

/** The requests inside that dialog as they come to the application. */
function keep(node: Node, id: string) {
  const waiting: ((one: { req: Incoming; res: Reply }) => void)[] = []
  const came: { req: Incoming; res: Reply }[] = []
  const dialog = {
    id,
    handle(req: Incoming, res: Reply) {
      const give = waiting.shift()
      if (give) give({ req, res })
      else came.push({ req, res })
    },
  }
  node.srf.addDialog(dialog)
  return {
    next: () => {
      const first = came.shift()
      return first ? Promise.resolve(first) : new Promise<(typeof came)[0]>(resolve => waiting.push(resolve))
    },
    end: () => node.srf.removeDialog(dialog),
  }
}

/** A request of the phone inside the dialog that this INVITE made: by the routes recorded in it. */
function inDialog(invite: Received, phone: Peer, kind: Kind, method: string, sequence: number, body = ''): string {
  const target = /<([^>]+)>/.exec(invite.header('Contact'))![1]!
  return [
    `${method} ${target} SIP/2.0`,
    `Via: SIP/2.0/${kind.toUpperCase()} 127.0.0.1:${phone.port};branch=z9hG4bK${unique()};rport`,
    'Max-Forwards: 70',
    ...invite.all('Record-Route').map(value => `Route: ${value}`),
    `From: ${invite.header('To')};tag=pt`,
    `To: ${invite.header('From')}`,
    `Call-ID: ${invite.header('Call-ID')}`,
    `CSeq: ${sequence} ${method}`,
    `Contact: <${contact}>`,
    ...(body === '' ? [] : ['Content-Type: application/sdp']),
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n')
}

/** The phone's 200, with the routes of the request as RFC 3261 section 12.1.1 wants. */
const accept = (invite: Received) =>
  sipResponse(invite, 200, {
    tag: 'pt',
    contact: 9,
    headers: invite.all('Record-Route').map(value => `Record-Route: ${value}`),
    body: sdp,
  })

async function call(kind: Kind) {
  const { phone, hop } = await register(a, kind)
  const ringing = await ring(b, hop)
  const invite = await phone.request('INVITE')
  phone.send(sipResponse(invite, 180, { tag: 'pt' }))
  assert.equal((await ringing.provisional).status, 180)
  phone.send(accept(invite))
  const { response, ack } = await ringing.final
  assert.equal(response.status, 200)
  ack()
  await phone.request('ACK')
  return { phone, invite, id: response.stackDialogId ?? '' }
}

for (const kind of ['tcp', 'ws', 'udp'] as const) {
  test(`over ${kind}: answered, changed and hung up by both sides`, async () => {
    for (const side of ['phone', 'server']) {
      const { phone, invite, id } = await call(kind)
      assert.equal(invite.startLine, `INVITE ${contact} SIP/2.0`)
      assert.deepEqual(invite.all('Route'), [])
      // Two of one node, since its two sides differ in transport or port (RFC 5658); none of the other.
      const routes = invite.all('Record-Route').join()
      assert.doesNotMatch(routes, new RegExp(`[:]${b.server.tcp}[;>]`))
      assert.doesNotMatch(invite.text, /node=|fl=|n\.[\w-]{22}\./)
      const dialog = keep(b, id)

      const asked = ask(b, id, 'INVITE', sdp)
      const again = await phone.request('INVITE')
      phone.send(sipResponse(again, 200, { contact: 9, body: sdp }))
      const { status, ack } = await asked
      assert.equal(status, 200)
      ack()
      await phone.request('ACK')

      phone.send(inDialog(invite, phone, kind, 'INVITE', 5, sdp))
      answer((await dialog.next()).res, 200, sdp)
      await phone.status(200)
      phone.send(inDialog(invite, phone, kind, 'ACK', 5))
      assert.equal((await dialog.next()).req.method, 'ACK')

      if (side === 'phone') {
        phone.send(inDialog(invite, phone, kind, 'BYE', 6))
        answer((await dialog.next()).res, 200)
        await phone.wait(message => message.header('CSeq') === '6 BYE')
      } else {
        const bye = ask(b, id, 'BYE')
        phone.send(sipResponse(await phone.request('BYE'), 200))
        assert.equal((await bye).status, 200)
      }
      assert.equal(b.server.engine.stats().dialogs, 0)
      dialog.end()
      phone.close()
    }
  })
}

test('CANCEL, and a refusal, come through', async () => {
  const { phone, hop } = await register(a, 'tcp')
  const given = await ring(b, hop)
  const invite = await phone.request('INVITE')
  phone.send(sipResponse(invite, 180, { tag: 'pt' }))
  await given.provisional
  given.sent.cancel({}, () => {})
  phone.send(sipResponse(await phone.request('CANCEL'), 200))
  phone.send(sipResponse(invite, 487, { tag: 'pt' }))
  await phone.request('ACK')
  assert.equal((await given.final).response.status, 487)

  const refused = await ring(b, hop)
  phone.send(sipResponse(await phone.request('INVITE'), 486, { tag: 'pt' }))
  assert.equal((await refused.final).response.status, 486)
  phone.close()
})

test('a flow that is gone is 430, and a node that is gone 503', async () => {
  const { phone, hop } = await register(a, 'tcp')
  phone.close()
  const gone = async () => (await (await ring(b, hop)).final).response.status
  while ((await gone()) !== 430) await new Promise(setImmediate)
  const dead = await startNode('c-1')
  const nowhere = hopTo(dead, 'cx')
  await dead.server.close()
  assert.equal((await (await ring(b, nowhere)).final).response.status, 503)
})

test('a stranger cannot choose a flow: not by a word of its own, nor by one that it has heard', async () => {
  const { phone, flow, hop } = await register(a, 'tcp')
  const stranger = await createTcpPeer(a.server.tcp)
  const invite = (route: string, callId = unique()) =>
    sipRequest({
      method: 'INVITE',
      uri: contact,
      peer: stranger,
      callId,
      transport: 'TCP',
      headers: [`Route: ${route}`],
    })
  a.asked = (_req, res) => answer(res, 403)
  const us = `127.0.0.1:${a.server.tcp};transport=tcp`
  for (const user of [
    `n.${'A'.repeat(22)}.x.1.1.${flow}`,
    'n.',
    `n.${'A'.repeat(22)}.`,
    `p.${'A'.repeat(16)}.${flow}`,
  ]) {
    stranger.send(invite(`<sip:${user}@${us};lr>`))
    await stranger.status(403)
  }
  stranger.send(invite(`<sip:${us};lr;node=a-1;fl=${flow}>`))
  await stranger.status(403)

  // What node B has asked with another secret, for another life of A, and what was asked once already.
  const foreign = await startNode('f-1', ['another secret that is long enough'])
  assert.equal((await (await ring(foreign, hop)).final).response.status, 403)
  assert.equal((await (await ring(b, hop.replace('node=a-1', 'node=a-0'))).final).response.status, 403)
  await foreign.server.close()
  assert.deepEqual(phone.untaken(), [])
  stranger.close()
  phone.close()
})

test('a dialog of a dead node: what its phone asks next comes to the application of the node that holds the flow', async () => {
  const c = await startNode('c-1')
  const { phone, hop } = await register(a, 'ws')
  const ringing = await ring(c, hop)
  const invite = await phone.request('INVITE')
  phone.send(accept(invite))
  const { response, ack } = await ringing.final
  ack()
  await phone.request('ACK')
  const id = response.stackDialogId ?? ''
  const state = (await createEngineDialogs(c.server.srf, 'v0.9.10+dialogs')!.read(id))!
  await c.server.close()

  const shown = new Promise<Reply>(resolve => {
    a.asked = (_req, res) => resolve(res)
  })
  phone.send(inDialog(invite, phone, 'ws', 'INFO', 3))
  const res = await shown
  await createEngineDialogs(a.server.srf, 'v0.9.10+dialogs')!.install(state)
  const dialog = keep(a, id)
  answer(res, 200)
  await phone.status(200)

  const bye = ask(a, id, 'BYE')
  const request = await phone.request('BYE')
  assert.deepEqual(request.all('Route'), [])
  assert.equal(tagIn(request.header('To')), 'pt')
  phone.send(sipResponse(request, 200))
  assert.equal((await bye).status, 200)
  dialog.end()
  phone.close()
})

test('a dialog whose phone has lost its node goes on over the new registration, here or at a third node', async () => {
  const c = await startNode('c-2')
  const lost = await register(c, 'ws')
  const ringing = await ring(b, lost.hop)
  const invite = await lost.phone.request('INVITE')
  lost.phone.send(accept(invite))
  const { response, ack } = await ringing.final
  ack()
  await lost.phone.request('ACK')
  const id = response.stackDialogId ?? ''
  lost.phone.close()
  await c.server.close()

  const dialogs = createEngineDialogs(b.server.srf, 'v0.9.10+dialogs')!
  const state = (await dialogs.read(id))!
  const dialog = keep(b, id)
  for (const node of [b, a]) {
    const { phone, flow, hop } = await register(node, 'ws')
    await dialogs.install(state, node === b ? `sip:127.0.0.1:${phone.port};transport=ws;fl=${flow}` : hop)
    const asked = ask(b, id, 'INVITE', sdp)
    const again = await phone.request('INVITE')
    assert.deepEqual(again.all('Route'), [])
    phone.send(sipResponse(again, 200, { contact: 9, body: sdp }))
    const changed = await asked
    assert.equal(changed.status, 200)
    changed.ack()
    await phone.request('ACK')
    // Its answer is repeated as if the ACK was lost, and acknowledged again.
    phone.send(sipResponse(again, 200, { contact: 9, body: sdp }))
    await phone.request('ACK')
    phone.close()
  }
  await dialogs.forget(id)
  dialog.end()
})

test('what comes to a node that does not own the dialog is passed to the one that does, and so is the ACK', async () => {
  const { phone, invite, id } = await call('tcp')
  const dialog = keep(b, id)
  const members = {
    life: 'a-1',
    find: () => ({ life: 'b-1', state: 'up', sip: `sip:127.0.0.1:${b.server.tcp};transport=tcp` }),
  }
  const pass = createPass(members as unknown as Parameters<typeof createPass>[0])
  const passed: Promise<boolean>[] = []
  a.asked = req => void passed.push(pass('b-1', req))
  // A phone that has lost its route set.
  const bare = { ...invite, all: () => [] }
  phone.send(inDialog(bare, phone, 'tcp', 'INVITE', 5, sdp))
  answer((await dialog.next()).res, 200, sdp)
  await phone.status(200)
  phone.send(inDialog(bare, phone, 'tcp', 'ACK', 5))
  assert.equal((await dialog.next()).req.method, 'ACK')
  // The way to the phone is still its own flow.
  const asked = ask(b, id, 'INFO')
  phone.send(sipResponse(await phone.request('INFO'), 200))
  assert.equal((await asked).status, 200)
  phone.send(inDialog(bare, phone, 'tcp', 'BYE', 6))
  answer((await dialog.next()).res, 200)
  await phone.wait(message => message.header('CSeq') === '6 BYE')
  assert.deepEqual(await Promise.all(passed), [true, true])
  dialog.end()
  phone.close()
})

test('what the owner did not hear is still to be answered here', async () => {
  const c = await startNode('c-3')
  const members = {
    life: 'a-1',
    find: () => ({ life: 'c-3', state: 'up', sip: `sip:127.0.0.1:${c.server.tcp};transport=tcp` }),
  }
  const pass = createPass(members as unknown as Parameters<typeof createPass>[0])
  await c.server.close()
  const phone = await createTcpPeer(a.server.tcp)
  a.asked = async (req, res) => {
    assert.equal(await pass('c-3', req), false)
    answer(res, 481)
  }
  for (const method of ['INVITE', 'BYE']) {
    phone.send(sipRequest({ method, peer: phone, callId: unique(), toTag: 'x', transport: 'TCP' }))
    await phone.status(481)
  }
  assert.equal(a.server.engine.stats().proxied, 0)
  phone.close()
})
