import { createSocket, type Socket } from 'node:dgram'
import { createConnection, type Socket as Stream } from 'node:net'
import { WebSocket } from 'ws'

// A SIP phone without a mind of its own: a test says each line, and waits for what comes.

export interface Received {
  text: string
  startLine: string
  method: string
  status: number
  body: string
  /** First value line of that header; '' when absent. */
  header(name: string): string
  all(name: string): string[]
}

export interface Peer {
  readonly port: number
  /** Its own. */
  readonly address: string
  send(text: string): void
  /** Over UDP: from now on it talks to another port. */
  turnTo?(to: number): void
  /** The next message that fits and was not taken before; rejects after `ms`. */
  wait(fits: (message: Received) => boolean, ms?: number): Promise<Received>
  request(method: string, ms?: number): Promise<Received>
  status(status: number, ms?: number): Promise<Received>
  /** Everything received and not taken. */
  untaken(): Received[]
  close(): void
}

export function readMessage(text: string): Received {
  const end = text.indexOf('\r\n\r\n')
  const [startLine = '', ...lines] = text.slice(0, end).split('\r\n')
  const all = (name: string) =>
    lines
      .filter(line => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
      .map(line => line.slice(name.length + 1).trim())
  return {
    text,
    startLine,
    method: startLine.startsWith('SIP/') ? '' : (startLine.split(' ')[0] ?? ''),
    status: startLine.startsWith('SIP/') ? Number(startLine.split(' ')[1]) : 0,
    body: text.slice(end + 4),
    header: name => all(name)[0] ?? '',
    all,
  }
}

function createInbox(
  transmit: (text: string) => void,
  close: () => void,
  port: number,
  address = '127.0.0.1',
): Peer & { push(text: string): void } {
  const inbox: Received[] = []
  const waiting: { fits: (message: Received) => boolean; give: (message: Received) => void }[] = []
  const wait: Peer['wait'] = (fits, ms = 3000) => {
    const at = inbox.findIndex(fits)
    if (at >= 0) return Promise.resolve(inbox.splice(at, 1)[0]!)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(entry), 1)
        reject(new Error(`nothing fitting came; untaken: ${inbox.map(m => m.startLine).join(' | ')}`))
      }, ms)
      const entry = {
        fits,
        give: (message: Received) => {
          clearTimeout(timer)
          resolve(message)
        },
      }
      waiting.push(entry)
    })
  }
  return {
    port,
    address,
    send: transmit,
    wait,
    request: (method, ms) => wait(message => message.method === method, ms),
    status: (status, ms) => wait(message => message.status === status, ms),
    untaken: () => inbox,
    close,
    push(text) {
      const message = readMessage(text)
      const at = waiting.findIndex(entry => entry.fits(message))
      if (at < 0) inbox.push(message)
      else waiting.splice(at, 1)[0]!.give(message)
    },
  }
}

const mostRemembered = 1000

/**
 * True for a request that came before (RFC 3261 section 17.2.3). A busy machine delays an answer beyond T1; a test
 * that then took the repeat for its next request would answer a transaction that is over, and wait for ever.
 */
function createRepeatCheck(): (message: Received) => boolean {
  const seen = new Set<string>()
  return message => {
    if (message.method === '' || message.method === 'ACK') return false
    const key = `${message.method} ${message.header('Via')}`
    if (seen.has(key)) return true
    if (seen.size === mostRemembered) seen.clear()
    seen.add(key)
    return false
  }
}

/**
 * A peer over UDP on a free port of 127.0.0.1, talking to `to`; it absorbs repeated requests, as any phone does.
 * With `listen`, each message goes there at once, repeats too, and nothing can be waited for. With `way`, it has the
 * address `own` and talks to the one of `server`.
 */
export async function createUdpPeer(
  to: number,
  listen?: (message: Received) => void,
  way = { own: '127.0.0.1', server: '127.0.0.1' },
): Promise<Peer> {
  const socket: Socket = createSocket('udp4')
  await new Promise<void>(resolve => socket.bind(0, way.own, resolve))
  const { port } = socket.address()
  let there = to
  const inbox = createInbox(
    text => socket.send(text, there, way.server),
    () => socket.close(),
    port,
    way.own,
  )
  const peer = Object.assign(inbox, {
    turnTo(other: number) {
      there = other
    },
  })
  const isRepeat = createRepeatCheck()
  socket.on('message', bytes => {
    const text = bytes.toString()
    if (listen) listen(readMessage(text))
    else if (!isRepeat(readMessage(text))) peer.push(text)
  })
  return peer
}

/** A peer over one TCP connection. */
export async function createTcpPeer(to: number): Promise<Peer> {
  const socket: Stream = createConnection(to, '127.0.0.1')
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  const peer = createInbox(
    text => socket.write(text),
    () => socket.destroy(),
    socket.localPort!,
  )
  let held = ''
  socket.on('data', chunk => {
    held += chunk.toString('latin1')
    for (;;) {
      const end = held.indexOf('\r\n\r\n')
      if (end < 0) return
      const length = Number(/\r\ncontent-length:\s*(\d+)/i.exec(held.slice(0, end + 2))?.[1] ?? 0)
      if (held.length < end + 4 + length) return
      peer.push(Buffer.from(held.slice(0, end + 4 + length), 'latin1').toString())
      held = held.slice(end + 4 + length)
    }
  })
  socket.on('error', () => {})
  return peer
}

/** A peer over a WebSocket (RFC 7118) at `url`; certificates are not checked. */
export async function createWebSocketPeer(url: string): Promise<Peer> {
  const socket = new WebSocket(url, 'sip', { rejectUnauthorized: false })
  await new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject))
  const peer = createInbox(
    text => socket.send(text),
    () => socket.terminate(),
    9,
  )
  socket.on('message', bytes => peer.push(String(bytes)))
  return peer
}

let counter = 0

/** A number that no other call of this process has given. */
export const unique = () => `${process.pid.toString(36)}${(++counter).toString(36)}`

export interface RequestParts {
  method: string
  uri?: string
  peer: Peer
  callId: string
  sequence?: number
  fromTag?: string
  toTag?: string
  branch?: string
  headers?: string[]
  body?: string
  transport?: 'UDP' | 'TCP'
}

/** A request as a phone would send it. */
export function sipRequest(parts: RequestParts): string {
  const {
    method,
    peer,
    callId,
    sequence = 1,
    fromTag = 'ft',
    toTag,
    branch = unique(),
    headers = [],
    body = '',
  } = parts
  const transport = parts.transport ?? 'UDP'
  const suffix = transport === 'TCP' ? ';transport=tcp' : ''
  return [
    `${method} ${parts.uri ?? 'sip:bob@example.org'} SIP/2.0`,
    `Via: SIP/2.0/${transport} 127.0.0.1:${peer.port};branch=z9hG4bK${branch};rport`,
    'Max-Forwards: 70',
    `From: "Alice" <sip:alice@example.org>;tag=${fromTag}`,
    `To: <sip:bob@example.org>${toTag === undefined ? '' : `;tag=${toTag}`}`,
    `Call-ID: ${callId}`,
    `CSeq: ${sequence} ${method}`,
    `Contact: <sip:alice@127.0.0.1:${peer.port}${suffix}>`,
    ...headers,
    ...(body === '' ? [] : ['Content-Type: application/sdp']),
    `Content-Length: ${Buffer.byteLength(body)}`,
    '',
    body,
  ].join('\r\n')
}

/** An answer of a phone to a request that it got. */
export function sipResponse(
  request: Received,
  status: number,
  options: { tag?: string; contact?: number; headers?: string[]; body?: string } = {},
): string {
  const { tag, contact, headers = [], body = '' } = options
  const to = request.header('To')
  return [
    `SIP/2.0 ${status} Text`,
    ...request.all('Via').map(value => `Via: ${value}`),
    `From: ${request.header('From')}`,
    `To: ${to}${tag === undefined || to.includes('tag=') ? '' : `;tag=${tag}`}`,
    `Call-ID: ${request.header('Call-ID')}`,
    `CSeq: ${request.header('CSeq')}`,
    ...(contact === undefined ? [] : [`Contact: <sip:bob@127.0.0.1:${contact}>`]),
    ...headers,
    ...(body === '' ? [] : ['Content-Type: application/sdp']),
    `Content-Length: ${Buffer.byteLength(body)}`,
    '',
    body,
  ].join('\r\n')
}

/** The tag of a From or To value. */
export const tagIn = (value: string) => /;tag=([^;>\s]+)/.exec(value)?.[1] ?? ''
