import { createHash, randomUUID } from 'node:crypto'
import { WebSocket } from 'ws'
import { sampleOf } from '../../src/media/codec/g711.ts'
import { applyDocument, endpointOf, membersOf, type SeenRoster } from './roster.ts'
import { createRtpPhone, type RtpPhone } from './rtp-phone.ts'
import type { TestServer } from './server.ts'
import { createUdpPeer, type Received, readMessage, sipResponse, tagIn, unique } from './sip-peer.ts'
import { shareOf } from './tone.ts'

// A light participant of meetings: its signalling is whole, and as a phone it sends a tone as PCMU and listens. As a
// browser it speaks SIP over WebSocket with the SDP of one, but has no media: what a mesh is told can be tested by it.

export interface MemberOptions {
  server: TestServer
  user: string
  password: string
  /** Hz; 0 is silence. Phones only. */
  tone?: number
  browser?: boolean
}

interface Dialog {
  callId: string
  /** Our From and their To, with tags. */
  ours: string
  theirs: string
  target: string
  sequence: number
  /** Route set (RFC 3261 section 12.1). */
  routes?: string[]
}

export interface Offer {
  directions: string[]
  headers: Received
}

const md5 = (text: string) => createHash('md5').update(text).digest('hex')
const tickMs = 20
// Samples in which a tone is looked for.
const piece = 800

export async function openMember(options: MemberOptions): Promise<Member> {
  const member = new Member(options)
  await member.open()
  return member
}

export class Member {
  readonly user: string
  readonly tone: number
  roster: SeenRoster | undefined
  /** Why the subscription to it has ended; '' while it has not. */
  unsubscribed = ''
  /** JSON bodies that the focus sent. */
  readonly told: Record<string, unknown>[] = []
  /** Status lines of `message/sipfrag`. */
  readonly notes: number[] = []
  /** re-INVITEs: the directions of their m-lines. */
  readonly offers: Offer[] = []
  /** INVITEs of others, by their Call-ID, that this member has taken. */
  readonly invites: Received[] = []
  answers = true
  ended = true
  byeReason = ''
  contact = ''
  /** What it registers; a GRUU is for others. */
  #bound = ''
  readonly #options: MemberOptions
  readonly #instance = randomUUID()
  readonly #waiting = new Set<() => void>()
  readonly #pending = new Map<string, (response: Received) => void>()
  readonly #seen = new Set<string>()
  #send: (text: string) => void = () => undefined
  #close: () => void = () => undefined
  /** Over UDP: to another port. */
  #turn: ((port: number) => void) | undefined
  #via = ''
  #rtp: RtpPhone | undefined
  #ticking: NodeJS.Timeout | undefined
  #sequence = 0
  #dialog: Dialog | undefined
  #subscription: Dialog | undefined
  /** Where the pair calls of a mesh and other calls are. */
  readonly #calls = new Map<string, Dialog>()
  #sdpVersion = 1

  constructor(options: MemberOptions) {
    this.#options = options
    this.user = options.user
    this.tone = options.tone ?? 0
  }

  get #aor(): string {
    return `sip:${this.user}@${this.#options.server.domain}`
  }

  async open(): Promise<void> {
    const { server, browser } = this.#options
    if (browser) {
      await this.#connect(server.ports.http)
      const host = `${unique()}.invalid`
      this.#via = `SIP/2.0/WS ${host}`
      this.contact = `sip:${unique()}@${host};transport=ws`
    } else {
      const peer = await createUdpPeer(server.ports.sip, message => this.#take(message))
      this.#via = `SIP/2.0/UDP 127.0.0.1:${peer.port}`
      this.contact = `sip:${this.user}@127.0.0.1:${peer.port}`
      this.#send = text => peer.send(text)
      this.#close = () => peer.close()
      this.#turn = port => peer.turnTo?.(port)
      this.#rtp = await createRtpPhone({ tone: this.tone })
    }
    await this.#register()
  }

  async #connect(port: number): Promise<void> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/sip`, 'sip')
    await new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject))
    socket.on('message', bytes => this.#take(readMessage(String(bytes))))
    this.#send = text => socket.send(text)
    this.#close = () => socket.terminate()
  }

  async #register(): Promise<void> {
    const about = { callId: unique(), ours: `<${this.#aor}>;tag=${unique()}`, theirs: `<${this.#aor}>` }
    const instance = this.#options.browser ? `;+sip.instance="<urn:uuid:${this.#instance}>";reg-id=1` : ''
    if (!this.contact.includes(';gr')) this.#bound = this.contact
    const answer = await this.#ask('REGISTER', `sip:${this.#options.server.domain}`, about, {
      contact: `<${this.#bound}>${instance}`,
      headers: ['Expires: 600', 'Supported: gruu, outbound, path'],
    })
    if (answer.status !== 200) throw new Error(`${this.user}: REGISTER ${answer.status}`)
    const gruu = /pub-gruu="([^"]+)"/.exec(answer.header('Contact'))?.[1]
    if (gruu) this.contact = gruu
  }

  /** From now on it talks to another node. As a browser it connects and registers there, since its connection is gone. */
  async turnTo(server: TestServer): Promise<void> {
    this.#turn?.(server.ports.sip)
    if (this.#turn !== undefined) return
    await this.#connect(server.ports.http)
    await this.#register()
  }

  /** Calls an address of the domain; the final response. */
  async call(user: string, headers: string[] = []): Promise<Received> {
    const uri = user.startsWith('sip:') ? user : `sip:${user}@${this.#options.server.domain}`
    const about = { callId: unique(), ours: `<${this.#aor}>;tag=${unique()}`, theirs: `<${uri}>` }
    const answer = await this.#ask('INVITE', uri, about, { headers, body: this.#sdp() })
    if (answer.status >= 300) return answer
    const target = /<([^>]*)>/.exec(answer.header('Contact'))?.[1] ?? uri
    const dialog = { ...about, theirs: answer.header('To'), target, sequence: this.#sequence, routes: routesOf(answer) }
    this.#write('ACK', target, dialog, { sequence: this.#sequence })
    this.ended = false
    this.#dialog = dialog
    this.#aim(answer.body)
    return answer
  }

  /** Calls another browser beside the call with the meeting. */
  async pair(uri: string, header: string): Promise<Received> {
    const about = { callId: unique(), ours: `<${this.#aor}>;tag=${unique()}`, theirs: `<${uri}>` }
    const answer = await this.#ask('INVITE', uri, about, { headers: [header], body: this.#sdp() })
    if (answer.status >= 300) return answer
    const target = /<([^>]*)>/.exec(answer.header('Contact'))?.[1] ?? uri
    const dialog = { ...about, theirs: answer.header('To'), target, sequence: this.#sequence, routes: routesOf(answer) }
    this.#write('ACK', target, dialog, { sequence: this.#sequence })
    this.#calls.set(about.callId, dialog)
    return answer
  }

  /** Ends the calls of `pair`, made or taken. */
  async endPairs(): Promise<void> {
    const all = [...this.#calls.values()]
    this.#calls.clear()
    await Promise.all(all.map(dialog => this.#ask('BYE', dialog.target, dialog, {})))
  }

  /** The endpoint of a member in the roster: where a browser calls it. */
  endpointOf(member: string): string {
    return endpointOf(this.roster!, member)
  }

  /** The dialog of the last call, as a Replaces value. */
  get replaces(): string {
    const { callId, ours, theirs } = this.#dialog!
    return `${callId};to-tag=${tagIn(theirs)};from-tag=${tagIn(ours)}`
  }

  /** Calls as another browser page of the same person would: the old dialog is forgotten here. */
  async comeBack(user: string, headers: string[] = []): Promise<Received> {
    return this.call(user, [`Replaces: ${this.replaces}`, 'Require: replaces', ...headers])
  }

  info(message: unknown): Promise<number> {
    return this.#inDialog('INFO', ['Content-Type: application/vaartha-meeting+json'], JSON.stringify(message))
  }

  refer(to: string): Promise<number> {
    return this.#inDialog('REFER', [`Refer-To: ${to}`])
  }

  /** Presses keys by INFO. */
  async press(keys: string): Promise<void> {
    for (const key of keys) {
      const body = `Signal=${key}\r\nDuration=100\r\n`
      const status = await this.#inDialog('INFO', ['Content-Type: application/dtmf-relay'], body)
      if (status !== 200) throw new Error(`${this.user}: key ${key}: ${status}`)
    }
  }

  /** Presses keys as telephone events (RFC 4733). */
  async dial(keys: string): Promise<void> {
    for (const key of keys) await this.#rtp!.press(key, 100)
  }

  async #inDialog(method: string, headers: string[], body = ''): Promise<number> {
    const dialog = this.#dialog!
    return (await this.#ask(method, dialog.target, dialog, { headers, body })).status
  }

  async hangUp(): Promise<void> {
    await this.#inDialog('BYE', [])
    this.ended = true
    clearInterval(this.#ticking)
  }

  /** Subscribes to a roster; the status of the answer. */
  async subscribe(user: string, expires = 600): Promise<number> {
    const uri = `sip:${user}@${this.#options.server.domain}`
    const about = { callId: unique(), ours: `<${this.#aor}>;tag=${unique()}`, theirs: `<${uri}>` }
    const headers = ['Event: conference', `Expires: ${expires}`, 'Accept: application/conference-info+xml']
    this.roster = undefined
    this.unsubscribed = ''
    this.#subscription = { ...about, target: uri, sequence: 0 }
    const answer = await this.#ask('SUBSCRIBE', uri, about, { headers })
    const target = /<([^>]*)>/.exec(answer.header('Contact'))?.[1] ?? uri
    const sequence = this.#sequence
    this.#subscription = { ...about, theirs: answer.header('To'), target, sequence, routes: routesOf(answer) }
    return answer.status
  }

  /** Sends another SUBSCRIBE in the dialog of the first. */
  async resubscribe(expires: number): Promise<number> {
    const one = this.#subscription!
    const headers = ['Event: conference', `Expires: ${expires}`]
    return (await this.#ask('SUBSCRIBE', one.target, one, { headers })).status
  }

  /** Who is in, from the roster: member id → status. */
  get members(): Map<string, string> {
    return this.roster ? membersOf(this.roster) : new Map()
  }

  /** Resolves when `condition` holds, looked at after each message and packet. */
  until(condition: () => boolean, what: string, ms = 10_000): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer)
        clearInterval(again)
        this.#waiting.delete(look)
      }
      const look = () => {
        if (!condition()) return
        end()
        resolve()
      }
      const timer = setTimeout(() => {
        end()
        const seen = JSON.stringify({ members: [...this.members], topology: this.roster?.topology })
        reject(new Error(`${this.user} has waited in vain for ${what}; it knows ${seen}`))
      }, ms)
      const again = setInterval(look, 50)
      this.#waiting.add(look)
      look()
    })
  }

  /**
   * Share of the energy of the last 400 ms, and since `from`, that lies at each of these frequencies: of pieces of 100 ms,
   * because a tone that a jitter buffer has moved by half its length would cancel itself in the whole.
   */
  heard(tones: readonly number[], from = 0): number[] {
    const since = Math.max(from, performance.now() - 400)
    const packets = (this.#rtp?.sounds() ?? []).filter(packet => packet.at > since)
    const samples = Float32Array.from(
      packets.flatMap(({ payload }) => [...payload].map(byte => sampleOf('PCMU', byte) / 32768)),
    )
    if (samples.length < 2400) return tones.map(() => 0)
    const sound = { rate: 8000, samples }
    const starts = Array.from({ length: Math.floor(samples.length / piece) }, (_, at) => at * piece)
    const energies = starts.map(at => samples.subarray(at, at + piece).reduce((sum, x) => sum + x * x, 0))
    const all = energies.reduce((sum, energy) => sum + energy, 0)
    return tones.map(hz => {
      const found = starts.reduce((sum, at, i) => sum + energies[i]! * shareOf(sound, hz, at, at + piece), 0)
      return all === 0 ? 0 : found / all
    })
  }

  /** The longest time since `from` in which a tone was not heard, in ms. */
  longestWithout(hz: number, from: number): number {
    const heard = (this.#rtp?.sounds() ?? []).filter(({ at, payload }) => {
      const samples = Float32Array.from(payload, byte => sampleOf('PCMU', byte) / 32768)
      return at > from && shareOf({ rate: 8000, samples }, hz) > 0.1
    })
    const times = [from, ...heard.map(({ at }) => at), performance.now()]
    return Math.round(Math.max(...times.slice(1).map((at, n) => at - times[n]!)))
  }

  /** Resolves when these tones are heard at once, and none of the others. */
  async hears(tones: readonly number[], { not = [] as readonly number[], ms = 10_000 } = {}): Promise<void> {
    const least = 0.2 / Math.max(1, tones.length)
    let last: number[] = []
    const began = performance.now()
    const fits = () => {
      last = this.heard([...tones, ...not], began)
      return last.every((share, i) => (i < tones.length ? share > least : share < 0.02))
    }
    try {
      await this.until(fits, `tones ${tones} without ${not}`, ms)
    } catch (error) {
      const all = Array.from({ length: 36 }, (_, at) => 250 + 50 * at)
      const shares = this.heard(all).map((share, at) => [all[at]!, share] as const)
      const loudest = shares.toSorted((a, b) => b[1] - a[1]).slice(0, 4)
      const seen = loudest.map(([hz, share]) => `${hz} Hz ${share.toFixed(2)}`).join(', ')
      throw new Error(`${(error as Error).message}; heard ${last.map(share => share.toFixed(3))}; ${seen}`, {
        cause: error,
      })
    }
  }

  close(): void {
    clearInterval(this.#ticking)
    this.#rtp?.close()
    this.#close()
  }

  #take(message: Received): void {
    if (message.method === '') this.#onResponse(message)
    else this.#onRequest(message)
    for (const look of this.#waiting) look()
  }

  #onResponse(response: Received): void {
    if (response.status < 200) return
    this.#pending.get(`${response.header('Call-ID')} ${response.header('CSeq')}`)?.(response)
  }

  #onRequest(request: Received): void {
    if (request.method === 'ACK') return
    const key = `${request.method} ${request.header('Via')}`
    const reply = (status: number, more: Parameters<typeof sipResponse>[2] = {}) =>
      this.#send(sipResponse(request, status, { tag: tagIn(request.header('To')) || this.#instance, ...more }))
    // A repeat is answered again and not taken twice.
    if (this.#seen.has(key) && request.method !== 'INVITE') return reply(200)
    const isNew = !this.#seen.has(key)
    this.#seen.add(key)
    switch (request.method) {
      case 'NOTIFY':
        reply(200)
        return this.#onNotify(request)
      case 'INFO':
        reply(200)
        // Keys that the other one has pressed are no messages.
        if (/json/.test(request.header('Content-Type')))
          this.told.push(JSON.parse(request.body) as Record<string, unknown>)
        return
      case 'BYE':
        reply(200)
        if (request.header('Call-ID') !== this.#dialog?.callId)
          return void this.#calls.delete(request.header('Call-ID'))
        this.ended = true
        this.byeReason = request.header('Reason')
        clearInterval(this.#ticking)
        return
      case 'INVITE':
        if (isNew) this.#onInvite(request, reply)
        return
      default:
        return reply(200)
    }
  }

  #onInvite(request: Received, reply: (status: number, more?: { headers?: string[]; body?: string }) => void): void {
    const headers = [`Contact: <${this.contact}>`]
    if (tagIn(request.header('To')) !== '') {
      const directions = directionsIn(request.body)
      if (request.header('Call-ID') === this.#dialog?.callId) this.offers.push({ directions, headers: request })
      this.#aim(request.body)
      return reply(200, { headers, body: this.#answer(request.body) })
    }
    this.invites.push(request)
    const recorded = request.all('Record-Route')
    headers.push(...recorded.map(line => `Record-Route: ${line}`))
    if (!this.answers) return reply(180, { headers })
    const dialog: Dialog = {
      callId: request.header('Call-ID'),
      ours: `${request.header('To')};tag=${this.#instance}`,
      theirs: request.header('From'),
      target: /<([^>]*)>/.exec(request.header('Contact'))?.[1] ?? '',
      sequence: 0,
      routes: recorded.flatMap(line => line.split(',')).map(route => route.trim()),
    }
    // A pair of a mesh is another call beside the one with the meeting.
    if (request.header('Vaartha-Mesh') !== '') this.#calls.set(dialog.callId, dialog)
    else {
      this.#dialog = dialog
      this.ended = false
    }
    const mesh = this.#options.browser ? ['Vaartha-Mesh: 1'] : []
    reply(200, { headers: [...headers, ...mesh], body: this.#answer(request.body) })
    this.#aim(request.body)
  }

  #onNotify(request: Received): void {
    if (request.header('Event').startsWith('refer')) {
      this.notes.push(Number(/SIP\/2\.0 (\d+)/.exec(request.body)?.[1] ?? 0))
    } else if (request.header('Call-ID') === this.#subscription?.callId) {
      if (request.body !== '') this.roster = applyDocument(this.roster, request.body)
      this.unsubscribed = /^terminated;reason=(\w+)/.exec(request.header('Subscription-State'))?.[1] ?? ''
    }
  }

  /** Sends a request, proves who it is when asked, and gives the final response. */
  async #ask(
    method: string,
    uri: string,
    about: Pick<Dialog, 'callId' | 'ours' | 'theirs' | 'routes'>,
    { headers = [], body = '', contact }: { headers?: string[]; body?: string; contact?: string },
  ): Promise<Received> {
    const more = contact === undefined ? {} : { contact }
    const first = await this.#exchange(method, uri, about, { headers, body, ...more })
    if (first.status !== 401 && first.status !== 407) return first
    const proof = this.#prove(method, uri, first)
    return this.#exchange(method, uri, about, { headers: [...headers, proof], body, ...more })
  }

  #exchange(
    method: string,
    uri: string,
    about: Pick<Dialog, 'callId' | 'ours' | 'theirs' | 'routes'>,
    parts: { headers: string[]; body: string; contact?: string },
  ): Promise<Received> {
    const sequence = ++this.#sequence
    const key = `${about.callId} ${sequence} ${method}`
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.user}: no answer to ${method} ${uri}`)), 15_000)
      this.#pending.set(key, response => {
        clearTimeout(timer)
        this.#pending.delete(key)
        if (method === 'INVITE' && response.status >= 300) {
          this.#write('ACK', uri, { ...about, theirs: response.header('To') }, { sequence })
        }
        resolve(response)
      })
      this.#write(method, uri, about, { ...parts, sequence })
    })
  }

  #write(
    method: string,
    uri: string,
    about: Pick<Dialog, 'callId' | 'ours' | 'theirs' | 'routes'>,
    {
      headers = [],
      body = '',
      sequence = 1,
      contact = `<${this.contact}>`,
    }: {
      headers?: string[]
      body?: string
      sequence?: number
      contact?: string
    },
  ): void {
    const typed = body === '' || headers.some(header => header.startsWith('Content-Type'))
    this.#send(
      [
        `${method} ${uri} SIP/2.0`,
        `Via: ${this.#via};branch=z9hG4bK${unique()};rport`,
        'Max-Forwards: 70',
        `From: ${about.ours}`,
        `To: ${about.theirs}`,
        `Call-ID: ${about.callId}`,
        `CSeq: ${sequence} ${method}`,
        `Contact: ${contact}`,
        ...(about.routes ?? []).map(route => `Route: ${route}`),
        ...headers,
        ...(typed ? [] : ['Content-Type: application/sdp']),
        `Content-Length: ${Buffer.byteLength(body)}`,
        '',
        body,
      ].join('\r\n'),
    )
  }

  #prove(method: string, uri: string, response: Received): string {
    const proxy = response.status === 407
    const all = response.all(proxy ? 'Proxy-Authenticate' : 'WWW-Authenticate')
    const challenge = all.find(value => value.includes('algorithm=MD5')) ?? ''
    const [realm, nonce, opaque] = ['realm', 'nonce', 'opaque'].map(
      name => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1] ?? '',
    )
    const ha1 = md5(`${this.user}:${realm}:${this.#options.password}`)
    const proof = md5(`${ha1}:${nonce}:00000001:c:auth:${md5(`${method}:${uri}`)}`)
    return `${proxy ? 'Proxy-' : ''}Authorization: Digest username="${this.user}", realm="${realm}", nonce="${nonce}", uri="${uri}", response="${proof}", algorithm=MD5, cnonce="c", opaque="${opaque}", qop=auth, nc=00000001`
  }

  /** Sends the tone to where an SDP says. */
  #aim(sdp: string): void {
    const rtp = this.#rtp
    const port = Number(/^m=audio (\d+)/m.exec(sdp)?.[1] ?? 0)
    if (rtp === undefined || port === 0) return
    rtp.aim({ rtpPort: port, rtcpPort: Number(/^a=rtcp:(\d+)/m.exec(sdp)?.[1] ?? port + 1) })
    clearInterval(this.#ticking)
    if (this.tone === 0) return
    let sent = 0
    const began = performance.now()
    this.#ticking = setInterval(() => {
      const due = Math.floor((performance.now() - began) / tickMs)
      if (due > sent) void rtp.talk(due - sent)
      sent = Math.max(sent, due)
    }, tickMs)
  }

  #sdp(): string {
    return this.#options.browser
      ? this.#browserSdp('actpass', [['audio', 'sendrecv', '0']])
      : this.#phoneSdp('sendrecv')
  }

  #answer(offer: string): string {
    const answers: Record<string, string> = { sendonly: 'recvonly', recvonly: 'sendonly' }
    const lines = offer.split(/\r?\n(?=m=)/).slice(1)
    const parts = lines.map((line): [string, string, string] => {
      const direction = /^a=(sendrecv|sendonly|recvonly|inactive)/m.exec(line)?.[1] ?? 'sendrecv'
      return [/^m=(\w+)/.exec(line)?.[1] ?? '', answers[direction] ?? direction, /^a=mid:(\S+)/m.exec(line)?.[1] ?? '0']
    })
    return this.#options.browser ? this.#browserSdp('active', parts) : this.#phoneSdp(parts[0]?.[1] ?? 'sendrecv')
  }

  #phoneSdp(direction: string): string {
    const { port } = this.#rtp!
    const head = `v=0\r\no=- 1 ${this.#sdpVersion++} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n`
    const line = `m=audio ${port} RTP/AVP 0 101\r\na=rtcp:${this.#rtp!.rtcpPort}\r\n`
    return `${head}${line}a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=${direction}\r\n`
  }

  #browserSdp(setup: string, lines: readonly [kind: string, direction: string, mid: string][]): string {
    const fingerprint = createHash('sha256')
      .update(this.#instance)
      .digest('hex')
      .toUpperCase()
      .replace(/..(?=.)/g, '$&:')
    const common = [
      'c=IN IP4 0.0.0.0',
      `a=ice-ufrag:${this.#instance.slice(0, 8)}`,
      `a=ice-pwd:${this.#instance.replaceAll('-', '')}`,
      `a=fingerprint:sha-256 ${fingerprint}`,
      `a=setup:${setup}`,
      'a=rtcp-mux',
    ]
    const codecs: Record<string, string[]> = {
      audio: ['a=rtpmap:111 opus/48000/2', 'a=fmtp:111 minptime=10;useinbandfec=1', 'a=rtpmap:0 PCMU/8000'],
      video: ['a=rtpmap:96 VP8/90000', 'a=rtcp-fb:96 nack', 'a=rtcp-fb:96 nack pli'],
    }
    const parts = lines.flatMap(([kind, direction, mid], at) => [
      `m=${kind} 9 UDP/TLS/RTP/SAVPF ${kind === 'audio' ? '111 0' : '96'}`,
      ...common,
      `a=mid:${mid}`,
      `a=${direction}`,
      'a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid',
      ...codecs[kind]!,
      ...(direction === 'sendrecv' || direction === 'sendonly' ? [`a=ssrc:${1000 + at} cname:${this.user}`] : []),
    ])
    const bundle = `a=group:BUNDLE ${lines.map(([, , mid]) => mid).join(' ')}`
    const head = ['v=0', `o=- 1 ${this.#sdpVersion++} IN IP4 127.0.0.1`, 's=-', 't=0 0', bundle]
    return `${[...head, ...parts].join('\r\n')}\r\n`
  }
}

function directionsIn(sdp: string): string[] {
  return sdp
    .split(/\r?\n(?=m=)/)
    .slice(1)
    .map(line => /^a=(sendrecv|sendonly|recvonly|inactive)/m.exec(line)?.[1] ?? 'sendrecv')
}

/** The route set of who has sent the request that this answers: the last to record itself comes first. */
function routesOf(answer: Received): string[] {
  const lines = answer.all('Record-Route').flatMap(line => line.split(','))
  return lines.map(route => route.trim()).reverse()
}
