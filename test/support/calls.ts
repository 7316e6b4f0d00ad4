import assert from 'node:assert/strict'
import type Srf from 'drachtio-srf'
import { type Calls, createCalls } from '../../src/calls/calls.ts'
import type { Others } from '../../src/calls/survival.ts'
import { Refusal } from '../../src/errors.ts'
import { createEvents, type FactName } from '../../src/events.ts'
import type { Binding } from '../../src/location/store.ts'
import { createSilentLog } from '../../src/log.ts'
import type { Media } from '../../src/media/media.ts'
import type { CallRecord } from '../../src/records/records.ts'
import { type EngineUnderTest, startEngineUnderTest } from './engine.ts'
import { createTcpPeer, createUdpPeer, type Peer, type Received, sipResponse, tagIn, unique } from './sip-peer.ts'

export const domain = 'example.org'

export interface CallsUnderTest {
  engine: EngineUnderTest
  calls: Calls
  records: CallRecord[]
  facts: { name: FactName; fact: unknown }[]
  /** Makes `peer` a contact of `user`, as a REGISTER would; protocol `ws` makes it one that is taken for a browser. */
  bind(user: string, peer: Peer, change?: Partial<Binding>): void
  unbindAll(): void
  readonly bindings: readonly Binding[]
  close(): Promise<void>
}

interface Cluster {
  life: string
  secrets: string[]
}

/** The B2BUA on a real engine over loopback. Whoever a From names counts as authenticated; `mallory` proves to be Mallory. */
export async function startCalls(
  change: Partial<Parameters<typeof createCalls>[0]['config']> = {},
  options: {
    t1?: number
    media?: Media
    others?: (engine: EngineUnderTest) => Others
    life?: string
    cluster?: Cluster
  } = {},
): Promise<CallsUnderTest> {
  const { life = '' } = options
  const engine = await startEngineUnderTest(options)
  const bindings: Binding[] = []
  const records: CallRecord[] = []
  const facts: CallsUnderTest['facts'] = []
  const events = createEvents()
  events.onAny((name, fact) => facts.push({ name, fact }))
  const people = new Map(
    ['alice', 'bob', 'carol', 'mallory'].map(user => [user, `${user[0]!.toUpperCase()}${user.slice(1)} Ö`]),
  )
  const calls = createCalls({
    srf: engine.srf,
    config: {
      ringSeconds: 60,
      most: 1000,
      mostForks: 10,
      mostRedirects: 5,
      sessionExpires: 1800,
      minSe: 90,
      historyDays: 1,
      browserMedia: 'direct',
      record: 'admins',
      musicOnHold: true,
      ...change,
    },
    domain,
    isOwn: host => host === domain || host === '127.0.0.1',
    find: user => {
      const displayName = people.get(user)
      return displayName === undefined ? undefined : { user, displayName, enabled: true }
    },
    bindings: aor => bindings.filter(binding => binding.aor === aor),
    // Here the GRUU of a device names its port.
    bindingsOfGruu: async uri => bindings.filter(binding => uri.endsWith(`;gr=${binding.source.port}`)),
    media: options.media,
    others: options.others?.(engine),
    records: { add: record => records.push(record) },
    events,
    log: createSilentLog(),
  })
  const registered = (aor: string) =>
    events.emit('registered', {
      aor,
      contact: '',
      expires: 1,
      protocol: 'tcp',
      source: '',
      renewed: false,
      userAgent: '',
    })
  route(engine.srf, calls, binding => bindings.push({ ...binding, node: life }), registered)
  return {
    engine,
    calls,
    records,
    facts,
    bind: (user, peer, change) => bindings.push({ ...bindingOf(user, peer.port), node: life, ...change }),
    unbindAll: () => bindings.splice(0),
    bindings,
    async close() {
      await calls.close()
      await engine.close()
    },
  }
}

type Request = Srf.SrfRequest
function route(srf: Srf, calls: Calls, bind: (binding: Binding) => void, registered: (aor: string) => void): void {
  srf.use((request: Request & { sessionToken?: string }, res) => {
    if (request.method === 'REGISTER') {
      const { sessionToken: flow = '', source_address: address } = request
      const [user, contact] = [/sip:([^@]*)@/.exec(request.get('To'))?.[1] ?? '', request.get('Contact')]
      const port = Number(request.source_port)
      const aor = `sip:${user}@${domain}`
      bind({
        ...bindingOf(user, port),
        contact: contact.slice(1, -1),
        flow,
        protocol: 'tcp',
        source: { address, port },
      })
      registered(aor)
      return void res.send(200)
    }
    if (/;tag=/.test(request.get('To'))) {
      calls.outOfDialog(request, res).catch((error: unknown) => refuse(res, error))
      return
    }
    const user = request.get('X-Proven') || (/sip:([^@]*)@/.exec(request.get('From'))?.[1] ?? '')
    const caller = { user, displayName: `${user} Ö` }
    calls.invite(request, res, caller).catch((error: unknown) => refuse(res, error))
  })
  // srf asks its engine for a method when it gets a handler for it; what comes has been answered above.
  const handlers = srf as unknown as Record<string, (handler: () => void) => void>
  for (const method of ['invite', 'register', 'bye', 'refer', 'info', 'update']) handlers[method]!(() => undefined)
}

function refuse(res: Srf.SrfResponse, error: unknown): void {
  if (!(error instanceof Refusal)) throw error
  res.send(error.sipStatus, { headers: error.headers })
}

function bindingOf(user: string, port: number): Binding {
  return {
    aor: `sip:${user}@${domain}`,
    contact: `sip:${user}@127.0.0.1:${port}`,
    callId: unique(),
    cseq: 1,
    q: 1,
    expiresAt: Date.now() + 1e6,
    path: [],
    flow: '',
    protocol: 'udp',
    source: { address: '127.0.0.1', port },
    userAgent: 'peer',
    registeredAt: 0,
    updatedAt: 0,
    node: '',
  }
}

/** One side of a dialog that a test plays by hand. */
export class Side {
  readonly peer: Peer
  callId = unique()
  user: string
  ours = unique()
  theirs = ''
  target = `sip:bob@${domain}`
  to = `<sip:bob@${domain}>`
  from: string
  sequence = 0
  invite: Received | undefined

  readonly transport: 'UDP' | 'TCP'

  constructor(peer: Peer, user: string, transport: 'UDP' | 'TCP' = 'UDP') {
    this.peer = peer
    this.transport = transport
    this.user = user
    this.from = `"Claimed" <sip:${user}@${domain}>`
  }

  /** A request as this side sends it, inside the dialog when there is one. */
  say(method: string, options: { body?: string; headers?: string[]; sequence?: number; branch?: string } = {}): string {
    const { body = '', headers = [], branch = unique() } = options
    const sequence = options.sequence ?? ++this.sequence
    this.peer.send(
      [
        `${method} ${this.target} SIP/2.0`,
        `Via: SIP/2.0/${this.transport} 127.0.0.1:${this.peer.port};branch=z9hG4bK${branch};rport`,
        'Max-Forwards: 70',
        `From: ${this.from};tag=${this.ours}`,
        `To: ${this.to}${this.theirs === '' ? '' : `;tag=${this.theirs}`}`,
        `Call-ID: ${this.callId}`,
        `CSeq: ${sequence} ${method}`,
        `Contact: <sip:${this.user}@127.0.0.1:${this.peer.port}${this.transport === 'TCP' ? ';transport=tcp' : ''}>`,
        ...headers,
        ...(body === '' || headers.some(h => h.startsWith('Content-Type')) ? [] : ['Content-Type: application/sdp']),
        `Content-Length: ${Buffer.byteLength(body)}`,
        '',
        body,
      ].join('\r\n'),
    )
    return branch
  }

  /** Takes over tag and target of a response to our INVITE. */
  learn(response: Received): Received {
    this.theirs = tagIn(response.header('To'))
    const contact = /<([^>]*)>/.exec(response.header('Contact'))?.[1]
    if (contact) this.target = contact
    return response
  }

  /** Waits for an INVITE and makes its dialog this side's. */
  async invited(): Promise<Received> {
    const invite = await this.peer.request('INVITE')
    this.invite = invite
    this.callId = invite.header('Call-ID')
    this.theirs = tagIn(invite.header('From'))
    this.from = invite.header('To')
    this.to = invite.header('From').replace(/;tag=.*/, '')
    this.target = /<([^>]*)>/.exec(invite.header('Contact'))?.[1] ?? ''
    return invite
  }

  answer(request: Received, status: number, options: { body?: string; headers?: string[] } = {}): void {
    this.peer.send(sipResponse(request, status, { tag: this.ours, contact: this.peer.port, ...options }))
  }
}

export async function createSide(port: number, user: string): Promise<Side> {
  return new Side(await createUdpPeer(port), user)
}

/** A phone behind TCP that has registered. */
export async function createTcpSide(port: number, user: string): Promise<Side> {
  const side = new Side(await createTcpPeer(port), user, 'TCP')
  side.to = `<sip:${user}@${domain}>`
  side.say('REGISTER')
  await side.peer.status(200)
  return side
}

/** An SDP that is told from others by its port, with a line that must come through byte for byte. */
export const sdp = (port: number, more = '') =>
  `v=0\r\no=- ${port} 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio ${port} RTP/AVP 0 101\r\na=x-näme\r\n${more}`

/** Makes a call between two sides. */
export async function connect(alice: Side, bob: Side): Promise<void> {
  alice.say('INVITE', { body: sdp(4000) })
  const invite = await bob.invited()
  bob.answer(invite, 180)
  alice.learn(await alice.peer.status(180))
  bob.answer(invite, 200, { body: sdp(5000) })
  await bob.peer.request('ACK')
  alice.learn(await alice.peer.status(200))
  alice.say('ACK', { sequence: alice.sequence })
}

export async function hangUp(from: Side, to: Side): Promise<void> {
  from.say('BYE')
  to.answer(await to.peer.request('BYE'), 200)
  await from.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
}

/** Waits for the NOTIFY with that status and answers it. */
export async function notified(referrer: Side, status: number): Promise<string> {
  const notify = await referrer.peer.request('NOTIFY')
  referrer.answer(notify, 200)
  assert.match(notify.body, new RegExp(`^SIP/2.0 ${status} `))
  assert.match(notify.header('Event'), /^refer;id=\d+$/)
  assert.match(notify.header('Content-Type'), /^message\/sipfrag/)
  assert.match(notify.header('Subscription-State'), status >= 200 ? /^terminated/ : /^active/)
  return notify.body
}

/** Answers the next request of that method with 200; its body. */
export async function accept(side: Side, method: string, body = ''): Promise<string> {
  const request = await side.peer.request(method)
  side.answer(request, 200, { body })
  if (method === 'INVITE') await side.peer.request('ACK')
  return request.body
}

/** The Replaces value that names a side's dialog, as whoever else receives it sees it. */
export const replaces = (side: Side) => `${side.callId};to-tag=${side.theirs};from-tag=${side.ours}`
