import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import tls from 'node:tls'
import { WebSocket } from 'ws'
import { issueServer, makeAuthority } from '../../src/certificates/authority.ts'
import { createEvents, type Protocol } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import type { LocalAddress } from '../../src/network/interfaces.ts'
import type { SipMessage } from '../../src/sip/engine/message/message.ts'
import { createTransportLayer, type TransportDeps } from '../../src/sip/engine/transport/layer.ts'
import type { Flow } from '../../src/sip/engine/transport/transport.ts'
import { limits } from './limits.ts'

export const protocols: Protocol[] = ['udp', 'tcp', 'tls', 'ws', 'wss']

export function localAddress(address: string): LocalAddress {
  const family = address.includes(':') ? 6 : 4
  return { interface: 'lo', address, family, netmask: '', prefix: family === 6 ? 128 : 8, internal: true, scope: 0 }
}

export function optionsRequest(callId: string, body = ''): string {
  return [
    'OPTIONS sip:vaartha.local SIP/2.0',
    'Via: SIP/2.0/UDP phone.invalid:5060;branch=z9hG4bKa;rport',
    'From: <sip:a@vaartha.local>;tag=1',
    'To: <sip:vaartha.local>',
    `Call-ID: ${callId}`,
    'CSeq: 1 OPTIONS',
    'Max-Forwards: 70',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n')
}

const now = Date.now()
const authority = await makeAuthority('test', now)
export const ca = authority.cert
/** Certificates of the test authority: two for the loopback addresses, and one for a name that is not ours. */
export const [first, second, foreign] = await Promise.all([
  issueServer(authority, ['sip.test', '127.0.0.1', '127.0.0.2', '::1'], now),
  issueServer(authority, ['sip.test', '127.0.0.1', '127.0.0.2', '::1'], now),
  issueServer(authority, ['other.test'], now),
])

type Connections = TransportDeps['config']['connections']

export interface Wanted {
  addresses?: string[]
  connections?: Partial<Connections>
  messageBytes?: number
  config?: Partial<Record<Protocol, number>>
  deps?: Partial<TransportDeps>
}

/** A transport layer with every protocol on free ports, and what it told. */
export async function startTransport(wanted: Wanted = {}) {
  const arrived: { message: SipMessage; flow: Flow }[] = []
  const malformed: string[] = []
  const closed: Flow[] = []
  const waiting = new Set<() => void>()
  const wake = () => waiting.forEach(look => void look())
  let own = (wanted.addresses ?? ['127.0.0.1']).map(localAddress)
  const followers = new Set<(now: LocalAddress[]) => void>()
  const reloaders = new Set<() => void>()
  let pair = first!
  const layer = createTransportLayer({
    config: {
      ...{ udp: 1, tcp: 1, tls: 1, ws: 1, wss: 1 },
      ...wanted.config,
      limits: { ...limits, ...(wanted.messageBytes === undefined ? {} : { messageBytes: wanted.messageBytes }) },
      connections: { most: 100, mostPerAddress: 50, idleSeconds: 60, connectSeconds: 2, ...wanted.connections },
    },
    addresses: {
      current: () => own,
      onChange: follower => {
        followers.add(follower)
        return () => followers.delete(follower)
      },
    },
    allowed: () => true,
    tls: {
      current: () => ({ ...pair, ca }),
      onChange: reloader => {
        reloaders.add(reloader)
        return () => reloaders.delete(reloader)
      },
    },
    user: {
      onMessage(message, flow) {
        arrived.push({ message, flow })
        wake()
      },
      onMalformed(failure) {
        malformed.push(failure.message)
        wake()
      },
      onFlowClosed(flow) {
        closed.push(flow)
        wake()
      },
    },
    events: createEvents(),
    log: createSilentLog(),
    ports: 'ephemeral',
    ...wanted.deps,
  })
  await layer.listen()
  return {
    layer,
    arrived,
    malformed,
    closed,
    /** Resolves when `fact` holds; looked at after everything that the layer tells, and every few milliseconds. */
    until(fact: () => boolean): Promise<void> {
      return new Promise(resolve => {
        const look = () => {
          if (!fact()) return
          clearInterval(timer)
          waiting.delete(look)
          resolve()
        }
        const timer = setInterval(look, 5)
        waiting.add(look)
        look()
      })
    },
    port: (protocol: Protocol, address = '127.0.0.1') =>
      layer.points().find(point => point.protocol === protocol && point.address === address)?.port ?? 0,
    move(addresses: string[]): void {
      own = addresses.map(localAddress)
      for (const follower of followers) follower(own)
    },
    present(next: typeof pair): void {
      pair = next
      for (const reloader of reloaders) reloader()
    },
  }
}

/** The phone's end of one flow, the same for every protocol. */
export interface Phone {
  send(text: string): void
  /** What came and was not yet taken, as soon as there is something. */
  next(): Promise<string>
  port(): number
  /** The serial number of the server's certificate, over TLS. */
  serial(): string | undefined
  closed: Promise<unknown>
  /** Goes away without a word, over TCP and WS by a reset. */
  vanish(): void
}

export async function connectPhone(protocol: Protocol, port: number, address = '127.0.0.1'): Promise<Phone> {
  if (protocol === 'udp') return udpPhone(port, address)
  if (protocol === 'ws' || protocol === 'wss') return webPhone(protocol, port, address)
  const options = { host: address, port, ca }
  const socket = protocol === 'tls' ? tls.connect(options) : connect(options)
  await once(socket, protocol === 'tls' ? 'secureConnect' : 'connect')
  const inbox = createInbox()
  socket.on('data', inbox.put)
  socket.on('error', () => {})
  const serial = socket instanceof tls.TLSSocket ? socket.getPeerCertificate().serialNumber : undefined
  return { ...phoneOf(socket, inbox.next), serial: () => serial, send: text => socket.write(text) }
}

function phoneOf(socket: Socket, next: () => Promise<string>) {
  return {
    next,
    port: () => socket.localPort ?? 0,
    serial: (): string | undefined => undefined,
    closed: once(socket, 'close'),
    vanish: () => (socket instanceof tls.TLSSocket ? socket.destroy() : socket.resetAndDestroy()),
  }
}

async function udpPhone(port: number, address: string): Promise<Phone> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  socket.bind(0, address)
  await once(socket, 'listening')
  const inbox = createInbox()
  socket.on('message', inbox.put)
  return {
    send: text => socket.send(text, port, address),
    next: inbox.next,
    port: () => socket.address().port,
    serial: () => undefined,
    closed: once(socket, 'close'),
    vanish: () => socket.close(),
  }
}

async function webPhone(protocol: 'ws' | 'wss', port: number, address: string): Promise<Phone> {
  const host = address.includes(':') ? `[${address}]` : address
  const web = new WebSocket(`${protocol}://${host}:${port}/sip`, 'sip', { ca })
  const inbox = createInbox()
  web.on('message', inbox.put)
  web.on('error', () => {})
  let socket: Socket | undefined
  web.on('upgrade', response => (socket = response.socket))
  await once(web, 'open')
  return { ...phoneOf(socket!, inbox.next), send: text => web.send(text) }
}

function createInbox() {
  const came: string[] = []
  let wake = () => {}
  return {
    put(bytes: unknown): void {
      came.push(String(bytes))
      wake()
    },
    async next(): Promise<string> {
      while (came.length === 0) await new Promise<void>(resolve => (wake = resolve))
      return came.shift()!
    },
  }
}
