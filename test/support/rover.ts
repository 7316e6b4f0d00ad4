import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { digestHeader } from './digest.ts'
import { phoneSdp } from './phone.ts'
import { createRtpPhone, type RtpPhone } from './rtp-phone.ts'
import { type Received, readMessage, sipResponse, tagIn, unique } from './sip-peer.ts'

// A phone that looks after itself, as those do that people buy: it knows both servers, registers anew when a connection
// breaks, and asks the next server when one refuses (RFC 3263 section 4.3, RFC 5626). It answers whoever calls.

export interface RoverOptions {
  user: string
  password: string
  domain: string
  /** SIP ports of the servers on loopback, in the order in which DNS names them. */
  servers: readonly number[]
  /** `outbound`: a connection to each server; `tcp` and `udp`: a registration at one of them. */
  by: 'outbound' | 'tcp' | 'udp'
  /** It has a voice, and keeps what it hears. */
  sounds?: boolean
}

/** A call that this phone has a part in. */
export interface Talk {
  readonly callId: string
  /** Settled when it is over. */
  readonly over: Promise<void>
  isOver(): boolean
  /** How often it was told where the call lives. */
  moves: number
  /** Final status of the BYE; 0: nobody has answered. */
  hangUp(): Promise<number>
}

export interface Rover {
  readonly user: string
  readonly by: RoverOptions['by']
  /** Calls taken and not over. */
  readonly talks: ReadonlySet<Talk>
  readonly rtp: RtpPhone | undefined
  /** Resolves when it is registered as it should be. */
  registered(): Promise<void>
  /** The talk, or the status of the last server that refused, and how many servers were asked. */
  call(user: string): Promise<{ talk?: Talk; status: number; asked: number }>
  close(): void
}

interface Line {
  server: number
  regId: number
  registered: boolean
  send: ((text: string) => void) | undefined
  close(): void
}

interface Dialog extends Talk {
  callId: string
  local: string
  remote: string
  target: string
  routes: string[]
  sequence: number
  end(): void
}

const retryMs = 300
const refreshMs = 3000
const answerMs = 4000
const ringMs = 20_000

export async function createRover(options: RoverOptions): Promise<Rover> {
  const { user, password, domain, servers, by } = options
  const aor = `sip:${user}@${domain}`
  const instance = `urn:uuid:00000000-0000-4000-8000-${unique()
    .padStart(12, '0')
    .slice(-12)
    .replace(/[^0-9a-f]/g, '0')}`
  const transport = by === 'udp' ? 'UDP' : 'TCP'
  const rtp = options.sounds ? await createRtpPhone() : undefined
  const pending = new Map<string, (response: Received | undefined) => void>()
  const answered = new Map<string, string>()
  const talks = new Set<Dialog>()
  const closing = new AbortController()
  const { signal } = closing
  const registration = unique()
  let sequence = 0
  let socket: Socket | undefined
  if (by === 'udp') {
    const own = (socket = createSocket('udp4'))
    await new Promise<void>(resolve => own.bind(0, '127.0.0.1', resolve))
    own.on('message', bytes => take(bytes.toString('latin1'), lines.find(line => line.registered) ?? lines[0]!))
  }
  const contact = `sip:${user}@127.0.0.1:${socket?.address().port ?? 9}${by === 'udp' ? '' : ';transport=tcp'}`
  const lines: Line[] = servers.map((server, at) => ({
    ...{ server, regId: at + 1, registered: false },
    send: socket && (text => void (signal.aborted || socket!.send(text, server, '127.0.0.1'))),
    close: () => undefined,
  }))

  /** Opens the connection of a line; false when nobody is there. */
  async function open(line: Line): Promise<boolean> {
    if (line.send !== undefined) return true
    const stream = createConnection(line.server, '127.0.0.1')
    try {
      await once(stream, 'connect', { signal })
    } catch {
      stream.destroy()
      return false
    }
    let held = ''
    stream.setEncoding('latin1').on('data', (chunk: string) => {
      held += chunk
      for (;;) {
        held = held.replace(/^(\r\n)+/, '')
        const end = held.indexOf('\r\n\r\n')
        if (end < 0) return
        const length = Number(/\r\ncontent-length:\s*(\d+)/i.exec(held.slice(0, end + 2))?.[1] ?? 0)
        if (held.length < end + 4 + length) return
        take(held.slice(0, end + 4 + length), line)
        held = held.slice(end + 4 + length)
      }
    })
    stream.on('error', () => undefined)
    stream.once('close', () => {
      if (line.send !== send) return
      line.send = undefined
      line.registered = false
      woken?.()
      for (const [branch, settle] of pending) if (branch.startsWith(`${line.server}-`)) settle(undefined)
    })
    const send = (text: string) => void stream.write(text)
    line.send = send
    line.close = () => stream.destroy()
    return true
  }

  /** Sends a request, and gives its final response; undefined when there is none. */
  async function ask(line: Line, method: string, uri: string, head: string[], body = '', ms = answerMs) {
    const branch = `${line.server}-${unique()}`
    const text = [
      `${method} ${uri} SIP/2.0`,
      `Via: SIP/2.0/${transport} 127.0.0.1:${socket?.address().port ?? 9};branch=z9hG4bK${branch};rport`,
      'Max-Forwards: 70',
      ...head,
      ...(body === '' ? [] : ['Content-Type: application/sdp']),
      `Content-Length: ${body.length}`,
      '',
      body,
    ].join('\r\n')
    if (method === 'ACK') return void line.send?.(text)
    if (line.send === undefined) return undefined
    const done = new AbortController()
    try {
      return await new Promise<Received | undefined>(resolve => {
        const timer = (late: number) =>
          void wait(late, undefined, { signal: done.signal }).then(() => resolve(undefined), () => undefined) // biome-ignore format: short
        timer(method === 'INVITE' ? ringMs : ms)
        let heard = false
        pending.set(branch, response => {
          heard = true
          if (response === undefined || response.status >= 200) resolve(response)
        })
        if (method === 'INVITE') void wait(ms, undefined, { signal: done.signal }).then(() => heard || resolve(undefined), () => undefined) // biome-ignore format: short
        line.send!(text)
        if (by === 'udp') void repeat(() => !heard && line.send?.(text), done.signal)
      })
    } finally {
      pending.delete(branch)
      done.abort()
    }
  }

  /** Asks, and proves itself when it is asked to. */
  async function askProving(line: Line, method: string, uri: string, head: (number: number) => string[], body = '') {
    const first = await ask(line, method, uri, head(++sequence), body)
    if (first?.status !== 401 && first?.status !== 407) return first
    if (method === 'INVITE') acknowledge(line, uri, first)
    const proof = digestHeader(first, { method, uri }, { user, password })
    return await ask(line, method, uri, [...head(++sequence), proof], body)
  }

  const acknowledge = (line: Line, uri: string, of: Received) => {
    const names = ['From', 'To', 'Call-ID'].map(name => `${name}: ${of.header(name)}`)
    void ask(line, 'ACK', uri, [...names, `CSeq: ${Number.parseInt(of.header('CSeq'), 10)} ACK`])
  }

  async function register(line: Line): Promise<boolean> {
    const parameters = by === 'outbound' ? `;reg-id=${line.regId}` : ''
    const head = (number: number) => [
      ...[`From: <${aor}>;tag=${unique()}`, `To: <${aor}>`],
      // Each registration of one device is one of its own (RFC 5626 section 4.2.1).
      ...[`Call-ID: ${registration}${by === 'outbound' ? line.regId : ''}`, `CSeq: ${number} REGISTER`],
      `Contact: <${contact}>${by === 'outbound' ? `;+sip.instance="<${instance}>"` : ''}${parameters};expires=600`,
      ...(by === 'outbound' ? ['Supported: outbound, path'] : []),
    ]
    const response = await askProving(line, 'REGISTER', `sip:${domain}`, head)
    line.registered = response?.status === 200
    return line.registered
  }

  let woken: (() => void) | undefined
  /** Waits until the next look is due, or a connection breaks. */
  async function rest(ms: number): Promise<void> {
    const woke = new Promise<void>(resolve => {
      woken = resolve
    })
    await Promise.race([woke, wait(ms, undefined, { signal }).catch(() => undefined)])
  }

  /** A flow to each server is kept by itself. */
  async function keepFlow(line: Line): Promise<void> {
    while (!signal.aborted) {
      const good = (await open(line)) && (await register(line))
      await wait(good ? refreshMs : retryMs, undefined, { signal }).catch(() => undefined)
    }
  }

  /** At the one that has it; when that does not answer, at the first one that does. */
  async function keepOne(): Promise<void> {
    while (!signal.aborted) {
      const current = lines.find(line => line.registered)
      let good = false
      for (const line of current === undefined ? lines : [current, ...lines.filter(one => one !== current)]) {
        good = (await open(line)) && (await register(line))
        if (!good) continue
        for (const other of lines) if (other !== line) other.registered = false
        break
      }
      await rest(good ? refreshMs : retryMs)
    }
  }

  async function repeat(again: () => unknown, until: AbortSignal): Promise<void> {
    for (let ms = 500; !until.aborted; ms = Math.min(4000, 2 * ms)) {
      await wait(ms, undefined, { signal: until }).catch(() => undefined)
      if (!until.aborted) again()
    }
  }

  function take(text: string, line: Line): void {
    const message = readMessage(text)
    if (message.method === '') {
      const branch = /branch=z9hG4bK([^;\s]*)/.exec(message.header('Via'))?.[1] ?? ''
      pending.get(branch)?.(message)
      return
    }
    // Over UDP any server may ask, whichever has the registration.
    const port = Number(/^SIP\/2\.0\/UDP [^;:]*:(\d+)/.exec(message.header('Via'))?.[1])
    const from = (socket && lines.find(({ server }) => server === port)) ?? line
    const key = `${message.method} ${message.header('Via')}`
    const before = answered.get(key)
    if (before !== undefined) return void (before && from.send?.(before))
    if (message.method !== 'ACK') answered.set(key, '')
    const say = (status: number, more: { tag?: string; headers?: string[]; body?: string } = {}) => {
      const answer = sipResponse(message, status, more)
      answered.set(key, answer)
      from.send?.(answer)
    }
    void handle(message, say)
  }

  const described = () => phoneSdp(rtp?.port ?? 30_000)

  async function handle(
    request: Received,
    say: (status: number, more?: { tag?: string; headers?: string[]; body?: string }) => void,
  ): Promise<void> {
    const { method } = request
    const of = (talk: Dialog) => talk.callId === request.header('Call-ID') && tagIn(talk.remote) === tagIn(request.header('From')) // biome-ignore format: short
    const talk = [...talks].find(of)
    if (method === 'ACK') return
    if (method === 'INVITE' && tagIn(request.header('To')) === '') return ring(request, say)
    if (method === 'CANCEL' || method === 'OPTIONS') return say(200)
    if (talk === undefined) return say(481)
    if (method === 'BYE') {
      say(200)
      return talk.end()
    }
    const target = uriIn(request.header('Contact'))
    if (method === 'INVITE' || method === 'UPDATE') {
      if (target !== '') talk.target = target
      talk.moves++
      aim(request.body)
      const body = method === 'INVITE' || request.body !== '' ? described() : ''
      return say(200, { headers: [`Contact: <${contact}>`, ...(body ? ['Content-Type: application/sdp'] : [])], body })
    }
    say(200)
  }

  async function ring(request: Received, say: Parameters<typeof handle>[1]): Promise<void> {
    const tag = unique()
    say(180, { tag, headers: [`Contact: <${contact}>`] })
    const talk = begin({
      callId: request.header('Call-ID'),
      local: `${request.header('To')};tag=${tag}`,
      remote: request.header('From'),
      target: uriIn(request.header('Contact')),
      routes: request.all('Record-Route'),
      sequence: 0,
    })
    await wait(50)
    aim(request.body)
    const routes = request.all('Record-Route').map(route => `Record-Route: ${route}`)
    say(200, { tag, headers: [...routes, `Contact: <${contact}>`, 'Content-Type: application/sdp'], body: described() })
    if (signal.aborted) talk.end()
  }

  function aim(sdp: string): void {
    const port = Number(/m=audio (\d+)/.exec(sdp)?.[1])
    if (rtp && port > 0) rtp.aim({ rtpPort: port, rtcpPort: port + 1 })
  }

  function begin(of: Pick<Dialog, 'callId' | 'local' | 'remote' | 'target' | 'routes' | 'sequence'>): Dialog {
    let end: () => void = () => undefined
    let isOver = false
    const over = new Promise<void>(resolve => {
      end = resolve
    })
    const talk: Dialog = {
      ...of,
      over,
      moves: 0,
      isOver: () => isOver,
      end() {
        isOver = true
        talks.delete(talk)
        end()
      },
      async hangUp() {
        const head = () => [
          ...(talk.routes.length > 0 ? [`Route: ${talk.routes.join(', ')}`] : []),
          ...[`From: ${talk.local}`, `To: ${talk.remote}`, `Call-ID: ${talk.callId}`, `CSeq: ${++talk.sequence} BYE`],
        ]
        let status = 0
        for (const line of waysTo(talk.routes[0] ?? talk.target)) {
          if (!(await open(line))) continue
          status = (await ask(line, 'BYE', talk.target, head()))?.status ?? 0
          if (status !== 0 && status !== 503 && status !== 408 && status !== 430) break
        }
        talk.end()
        return status
      },
    }
    talks.add(talk)
    return talk
  }

  /** The server that a URI names first, then where it is registered, then the others. */
  function waysTo(uri: string): Line[] {
    const port = Number(/127\.0\.0\.1:(\d+)/.exec(uri)?.[1])
    const rank = (line: Line) => (line.server === port ? 0 : line.registered ? 1 : 2)
    return lines.toSorted((a, b) => rank(a) - rank(b))
  }

  const keeping = by === 'outbound' ? lines.map(keepFlow) : [keepOne()]
  for (const one of keeping) void one.catch((error: unknown) => signal.aborted || Promise.reject(error))

  return {
    user,
    by,
    talks,
    rtp,
    async registered() {
      const good = () =>
        by === 'outbound' ? lines.every(line => line.registered) : lines.some(line => line.registered)
      for (const late = performance.now() + 15_000; !good(); await wait(20)) {
        if (performance.now() > late) throw new Error(`${user} is not registered`)
      }
    },
    async call(other) {
      const uri = `sip:${other}@${domain}`
      let [status, asked] = [0, 0]
      for (const line of lines.toSorted((a, b) => Number(b.registered) - Number(a.registered))) {
        if (!(await open(line))) continue
        asked++
        const [callId, local] = [unique(), `<${aor}>;tag=${unique()}`]
        const head = (number: number) => [
          ...[
            `From: ${local}`,
            `To: <${uri}>`,
            `Call-ID: ${callId}`,
            `CSeq: ${number} INVITE`,
            `Contact: <${contact}>`,
          ],
        ]
        const response = await askProving(line, 'INVITE', uri, head, described())
        status = response?.status ?? 0
        if (response === undefined || status === 503 || status === 430) continue
        const target = status < 300 ? uriIn(response.header('Contact')) : uri
        if (status >= 300) {
          acknowledge(line, uri, response)
          return { status, asked }
        }
        acknowledge(line, target, response)
        aim(response.body)
        const routes = response.all('Record-Route').toReversed()
        const talk = begin({ callId, local, remote: response.header('To'), target, routes, sequence })
        return { talk, status, asked }
      }
      return { status, asked }
    },
    close() {
      closing.abort()
      for (const line of lines) line.close()
      socket?.close()
      rtp?.close()
    },
  }
}

const uriIn = (header: string) => /<([^>]*)>/.exec(header)?.[1] ?? ''
