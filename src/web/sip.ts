import { UA, WebSocketInterface } from 'jssip'
import type { AnswerOptions, RTCSession } from 'jssip/lib/RTCSession'
import type { Socket } from 'jssip/lib/Socket'
import type { CallOptions, IncomingRTCSessionEvent, RTCSessionEvent } from 'jssip/lib/UA'
import { connectNext, connectNow } from './jssip.ts'
import type { Profile } from './profiles.ts'
import { type Pulse, question, startPulse } from './pulse.ts'

export type Registration = 'connecting' | 'online' | 'offline' | 'refused'

/** The SIP side of one signed-in profile. */
export interface Sip {
  readonly ua: UA
  connected(): boolean
  registered(): boolean
  call(target: string, options: CallOptions): RTCSession
  /** Tries to connect at once instead of at the next turn. */
  hurry(): void
  close(): void
}

export interface SipDeps {
  profile: Profile
  /** `wss://host/sip`, and those of other nodes, which are tried when it is gone. */
  urls: readonly string[]
  /** `url` is where that is tried, or was. */
  onRegistration(state: Registration, url: string): void
  onIncoming(event: IncomingRTCSessionEvent): void
  /** In a call a server that does not answer is noticed sooner. */
  busy(): boolean
  /** The connection is there again, after it was not; `moved`: to another server. */
  onReconnected(moved: boolean): void
}

const registerSeconds = 600
const nextMs = 50
// A server that stands still takes connections and never answers in them.
const connectMs = 8000

/** Registers and keeps registered, over a connection that is made anew whenever it breaks (RFC 7118). */
export function connectSip(deps: SipDeps): Sip {
  const { profile, urls, onIncoming, onReconnected } = deps
  let tries = 0
  let last: string | undefined
  let url = urls[0] ?? ''
  let pulse: Pulse | undefined
  let connecting: ReturnType<typeof setTimeout> | undefined
  const onRegistration = (state: Registration) => deps.onRegistration(state, url)
  const ua = new UA({
    sockets: urls.map((one, at) => ({ socket: new WebSocketInterface(one), weight: urls.length - at })),
    uri: `sip:${profile.user}@${profile.domain}`,
    authorization_user: profile.user,
    realm: profile.domain,
    ha1: profile.ha1,
    display_name: profile.displayName || profile.user,
    instance_id: instanceOfTab(),
    register: true,
    register_expires: registerSeconds,
    session_timers: true,
    connection_recovery_min_interval: 1,
    connection_recovery_max_interval: 8,
    // The server offers MD5 alone to what begins so; JsSIP reads no other challenge.
    user_agent: 'JsSIP Vaartha web phone',
  })
  let current: Socket | undefined
  /** Takes a connection for broken that does not close by itself. */
  const lose = (socket: Socket) => {
    const ondisconnect = socket.ondisconnect.bind(socket)
    socket.disconnect()
    ondisconnect(true)
  }
  const rest = () => {
    pulse?.stop()
    clearTimeout(connecting)
  }
  ua.on('connecting', ({ socket }) => {
    rest()
    current = socket
    url = socket.url
    connecting = setTimeout(() => lose(socket), connectMs)
    onRegistration('connecting')
  })
  ua.on('connected', () => {
    rest()
    tries = 0
    if (current !== undefined) pulse = listenFor(current, deps.busy, lose)
    const moved = last !== undefined && last !== url
    const again = last !== undefined
    last = url
    if (again) onReconnected(moved)
  })
  ua.on('disconnected', ({ error }) => {
    rest()
    onRegistration('offline')
    // Where there are several servers, each is tried once without waiting.
    if (error && urls.length > 1 && tries++ < urls.length) setTimeout(() => connectNext(ua), nextMs)
  })
  ua.on('registered', () => onRegistration('online'))
  ua.on('unregistered', () => onRegistration('offline'))
  ua.on('registrationFailed', ({ response }) =>
    onRegistration(isRefusal(response?.status_code) ? 'refused' : 'offline'),
  )
  ua.on('newRTCSession', (event: RTCSessionEvent) => {
    if (event.originator === 'remote') onIncoming(event as IncomingRTCSessionEvent)
  })
  ua.start()
  return {
    ua,
    connected: () => ua.isConnected(),
    registered: () => ua.isRegistered(),
    call: (target, options) => ua.call(target, options),
    hurry() {
      connectNow(ua)
      pulse?.hurry()
    },
    close: () => ua.stop(),
  }
}

/** Whatever comes over the connection shows that its server is there. */
function listenFor(socket: Socket, busy: () => boolean, onDead: (socket: Socket) => void): Pulse {
  const pulse = startPulse({ ask: () => void socket.send(question), busy, onDead: () => onDead(socket) })
  const ondata = socket.ondata.bind(socket)
  socket.ondata = event => {
    pulse.heard()
    ondata(event)
  }
  return pulse
}

/**
 * How this phone calls and answers: with a stream that it opened itself, and without servers that help to get through a
 * NAT. It says that it wants to hear whether the call is recorded (RFC 6086).
 */
export function withStream(stream: MediaStream): CallOptions & AnswerOptions {
  return { mediaStream: stream, pcConfig: { iceServers: [] }, extraHeaders: [`Recv-Info: ${recordingPackage}`] }
}

/** The Info Package in which the server tells of the recording of a call, and is asked for it (docs/web-phone.md). */
export const recordingPackage = 'x-vaartha-recording'

/** What the server tells so; nothing when it is something else. */
export function readNews(body: string): { recording?: boolean; refused?: string } {
  try {
    const { recording, refused } = JSON.parse(body) as { recording?: unknown; refused?: unknown }
    if (typeof recording !== 'boolean') return {}
    return { recording, ...(typeof refused === 'string' ? { refused } : {}) }
  } catch {
    // Another INFO, that is no JSON.
    return {}
  }
}

function isRefusal(status: number | undefined): boolean {
  return status === 401 || status === 403 || status === 407
}

/** RFC 5626 section 4.1: the same over a reload, another one for each tab, so that each can be called by its GRUU. */
function instanceOfTab(): string {
  const key = 'vaartha.instance'
  const kept = sessionStorage.getItem(key)
  if (kept !== null) return kept
  const random = crypto.getRandomValues(new Uint8Array(16))
  random[6] = (random[6]! & 0x0f) | 0x40
  random[8] = (random[8]! & 0x3f) | 0x80
  const hex = Array.from(random, byte => byte.toString(16).padStart(2, '0')).join('')
  const made = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
  sessionStorage.setItem(key, made)
  return made
}
