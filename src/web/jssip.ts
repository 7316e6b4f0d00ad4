import type { RTCSession, RTCSessionEventMap } from 'jssip/lib/RTCSession'
import type { UA } from 'jssip/lib/UA'

// The one place that reaches into JsSIP, whose exact version package.json pins. Its own hold() and renegotiate() end a
// call when the other side answers 491 or 500, which are answers that only ask for patience (RFC 3261 section 14.1).

interface Inside {
  _sendReinvite(options: {
    extraHeaders?: string[]
    rtcOfferConstraints?: RTCOfferOptions | null
    eventHandlers: { succeeded(): void; failed(response?: { status_code: number }): void }
  }): void
  _dialog?: { id: { call_id: string; local_tag: string; remote_tag: string } }
}

/** What names a dialog to the server (RFC 3891): its Call-ID and the tags as the server sees them. */
export interface DialogId {
  callId: string
  toTag: string
  fromTag: string
}

export function dialogOf(session: RTCSession): DialogId | undefined {
  const id = (session as unknown as Inside)._dialog?.id
  return id && { callId: id.call_id, toTag: id.remote_tag, fromTag: id.local_tag }
}

/** Tries the next of several servers at once, after the connection to one broke. */
export function connectNext(ua: UA): void {
  const { transport } = ua as unknown as { transport: { _getSocket(): void; connect(): void; isConnected(): boolean } }
  if (transport.isConnected()) return
  transport._getSocket()
  transport.connect()
}

/** Connects at once; by itself JsSIP may wait some seconds for its next try. Calls are not touched. */
export function connectNow(ua: UA): void {
  const { transport } = ua as unknown as { transport: { connect(): void } }
  transport.connect()
}

export function replacesHeader(id: DialogId): string {
  return `Replaces: ${id.callId};to-tag=${id.toTag};from-tag=${id.fromTag}`
}

/** ICE candidates are waited for shortly: all that matter are local. */
export function hurryCandidates(session: RTCSession): void {
  session.on('icecandidate', ({ ready }) => void pause(gatherMs).then(ready))
}

/** Listens to a session for as long as `still` holds. */
export function follow(session: RTCSession, still: () => boolean, handlers: Partial<RTCSessionEventMap>): void {
  hurryCandidates(session)
  for (const [name, handler] of Object.entries(handlers)) {
    const guarded = (...values: unknown[]) => {
      if (still()) (handler as (...values: unknown[]) => void)(...values)
    }
    session.on(name as keyof RTCSessionEventMap, guarded as never)
  }
}

export interface Offer {
  headers?: string[]
  iceRestart?: boolean
}

const tries = 5
const gatherMs = 400

/** A re-INVITE with what the connection now offers; false when it was refused, and then all is as before. */
export async function reoffer(session: RTCSession, offer: Offer = {}): Promise<boolean> {
  for (let n = 0; n < tries; n++) {
    if (!(await ready(session))) return false
    const status = await send(session, offer)
    if (status === 200) return true
    await rollBack(session)
    if (status !== 491 && status !== 500) return false
    // RFC 3261 section 14.1: whoever made the Call-ID waits longer, so that the two do not meet again.
    const own = session.direction === 'outgoing'
    await pause(own ? 2100 + Math.random() * 1900 : Math.random() * 2000)
  }
  return false
}

function send(session: RTCSession, { headers = [], iceRestart = false }: Offer): Promise<number> {
  return new Promise(resolve => {
    const done = (status: number) => {
      session.off('ended', gone)
      resolve(status)
    }
    const gone = () => done(0)
    session.on('ended', gone)
    ;(session as unknown as Inside)._sendReinvite({
      extraHeaders: headers,
      rtcOfferConstraints: iceRestart ? { iceRestart } : null,
      eventHandlers: { succeeded: () => done(200), failed: response => done(response?.status_code ?? 0) },
    })
  })
}

/** Waits, some seconds at most, until no other offer is under way. */
async function ready(session: RTCSession): Promise<boolean> {
  for (let n = 0; n < 50; n++) {
    if (session.isEnded()) return false
    if (session.isReadyToReOffer()) return true
    await pause(100)
  }
  return false
}

async function rollBack(session: RTCSession): Promise<void> {
  if (session.isEnded() || session.connection.signalingState !== 'have-local-offer') return
  await session.connection.setLocalDescription({ type: 'rollback' })
}

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}

/** A name for something that is made here. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), byte => byte.toString(16).padStart(2, '0')).join('')
}
