import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { LegEvent, Stream } from '../media/media.ts'
import type { Anchor, End } from './anchor.ts'
import { writeDigit } from './dtmf.ts'
import type { Branch, Fork } from './fork.ts'
import { bodyOf, reasonHeader } from './headers.ts'
import type { Leg } from './leg.ts'
import type { Target } from './route.ts'
import { isSecure, knowsDigits, likeOffer } from './sdp.ts'
import type { Ack, Headers, Message } from './sip.ts'

// Offers and answers of a call whose media passes this server, while it is being made. Each function gives the body that
// goes to the other side: as it came, or one of ours.

/** What this needs of a call. */
export interface Anchored {
  readonly anchor: Anchor
  readonly callerEnd: End
  /** The caller's offer; undefined for a late one. */
  readonly offered: string | undefined
  readonly ended: boolean
  readonly forks: readonly Fork[]
  readonly log: Logger
  peerOf(leg: Leg): Leg | undefined
  end(how: { status: number; reason: string; cause?: Headers }): void
  fail(error: unknown): void
  /** Something is not as it was kept. */
  touch?(): void
}

/** The contacts that can be rung now. Throws Refusal: 503 with the reason when all need a part of the server that is not there. */
export function reachable(call: Anchored, targets: readonly Target[]): readonly Target[] {
  const { anchor, callerEnd } = call
  let refusal: Refusal | undefined
  const within = targets.filter(target => {
    if (!anchor.between(callerEnd, target)) return true
    refusal ??= anchor.missing([callerEnd, target])
    return refusal === undefined
  })
  if (within.length === 0 && refusal) throw refusal
  return within
}

/** The offer for a contact that is to be rung. */
export function offerFor(call: Anchored, branch: Branch): string | undefined | Promise<string> {
  const { anchor, callerEnd, offered } = call
  if (offered === undefined || !anchor.between(callerEnd, branch.end)) return offered
  return anchor.offer(branch.end, { like: offered })
}

/**
 * Another offer for a contact that did not take the first one: a phone that wants SDES keys, or that knows none, gets what
 * it wants, and the server stands between; so does one that came by WebSocket and is no browser.
 */
export function otherOffer(call: Anchored, { end }: Branch): Promise<string> | undefined {
  const { anchor, callerEnd, offered } = call
  if (offered === undefined) return undefined
  const direct = end.leg === undefined
  const secure = direct ? end.profile === 'plain' && !isSecure(offered) : end.profile === 'plain'
  if (direct && callerEnd.profile === 'webrtc' && !anchor.isReady()) return undefined
  end.profile = 'plain'
  return anchor.offer(end, { like: offered, secure })
}

/** What the caller gets of a branch's early media. With contacts of both kinds that is nothing: it could not change ways. */
export function early(call: Anchored, branch: Branch, sdp: string): string | undefined | Promise<string | undefined> {
  const { anchor, callerEnd, offered } = call
  const anchored = call.forks.flatMap(fork => fork.branches).filter(({ end }) => end.leg !== undefined)
  if (anchored.length === 0) return offered === undefined && anchor.between(callerEnd, branch.end) ? undefined : sdp
  if (offered === undefined || branch.end.leg === undefined) return undefined
  return through(call, branch.end, sdp, offered).catch((error: unknown) => {
    call.log.info({ err: error }, 'no early media')
    return undefined
  })
}

async function through(call: Anchored, end: End, sdp: string | undefined, offered: string): Promise<string> {
  const { anchor, callerEnd } = call
  // The answer may have come in a reliable 183 before.
  if (sdp !== undefined || end.heard === '') await anchor.accept(end, sdp)
  // The caller has heard an answer already, when another contact's media came before: it stays.
  const body = callerEnd.leg === undefined ? await anchor.answer(callerEnd, offered, end) : callerEnd.sdp
  await anchor.connect(callerEnd, end)
  return body
}

/** What the caller gets with the 200. */
export function answerThrough(call: Anchored, leg: Leg, sdp: string | undefined): string | undefined | Promise<string> {
  const { anchor, callerEnd, offered } = call
  if (offered === undefined) {
    if (sdp === undefined || !anchor.between(callerEnd, leg.end)) return sdp
    return anchor.offer(callerEnd, { like: sdp })
  }
  if (leg.end.leg === undefined) {
    callerEnd.release()
    return sdp
  }
  return through(call, leg.end, sdp, offered)
}

/** The caller's ACK of a late offer: its answer goes to the callee. */
export function acknowledge(call: Anchored, caller: Leg, leg: Leg, answer: Message, ack: Ack): void {
  if (caller.end.leg === undefined) {
    leg.localSdp = answer.body ?? ''
    return ack(bodyOf(answer))
  }
  const { anchor } = call
  const done = async () => {
    await anchor.accept(caller.end, answer.body)
    leg.localSdp = await anchor.answer(leg.end, leg.remoteSdp, caller.end)
    ack({ body: leg.localSdp, headers: { 'Content-Type': 'application/sdp' } })
    await anchor.connect(caller.end, leg.end)
    call.touch?.()
  }
  done().catch((error: unknown) => {
    ack()
    call.fail(error)
  })
}

/** What the media room tells of a leg of a call. */
export function onMedia(call: Anchored, leg: Leg, event: LegEvent): void {
  if (call.ended) return
  if (event.type === 'dtmf') return pressFor(call, leg, event)
  if (event.type === 'lost') {
    const why = `the media of ${leg.party.user} was lost`
    return call.end({ status: 480, reason: `${why}: ${event.why}`, cause: reasonHeader(480, 'Media lost') })
  }
  // An early dialog cannot be asked anew.
  if ((event.type !== 'rebuilt' && event.type !== 'more') || !leg.confirmed) return
  reoffer(call, leg).then(
    status => {
      // Without more all goes on as it is.
      if (status >= 300 && event.type === 'rebuilt')
        call.end({ status: 480, reason: `${leg.party.user} did not follow its media (${status})` })
    },
    (error: unknown) => call.fail(error),
  )
}

/** A key reaches a phone without telephone events (RFC 4733) as INFO, and a browser too: its scripts are told of no others. */
function pressFor(call: Anchored, leg: Leg, digit: { digit: string; ms: number }): void {
  const peer = call.peerOf(leg)
  if (peer?.end.leg === undefined || peer.ended || !peer.allows('INFO')) return
  if (peer.end.profile === 'plain' && knowsDigits(peer.remoteSdp)) return
  void peer.send('INFO', writeDigit(digit))
}

/** A re-INVITE of ours with what the leg's media needs now, or with other streams; gives the final status. */
export async function reoffer(call: Anchored, leg: Leg, streams?: readonly Stream[]): Promise<number> {
  const { anchor } = call
  const answer = await leg.offer(() => anchor.reoffer(leg.end, streams), { 'Content-Type': 'application/sdp' })
  if (answer.status === 481 || answer.status === 408) leg.drop()
  if (answer.status < 300) await anchor.accept(leg.end, answer.response?.body)
  return answer.status
}

/**
 * Brings a leg whose media went directly, or was held, to this server with its media flowing; gives the final status. The
 * caller of this connects it with `partner`.
 */
export async function enter(call: Anchored, leg: Leg, partner: End, headers: Headers): Promise<number> {
  const { anchor } = call
  if (leg.end.leg !== undefined) {
    const streams = anchor.streams(leg.end)
    await anchor.hold(leg.end, false)
    if (streams.every(({ direction }) => direction === 'sendrecv')) return 200
    return reoffer(call, leg, flowing(streams))
  }
  const before = leg.remoteSdp
  const streams = preferring(anchor.streams(partner), flowing(likeOffer(before, partner.profile)))
  const secure = leg.end.profile === 'plain' && isSecure(before)
  const sdp = await anchor.offer(leg.end, { streams, after: before, secure })
  const answer = await leg.offer(sdp, { ...headers, 'Content-Type': 'application/sdp' })
  try {
    if (answer.status < 300) await anchor.accept(leg.end, answer.response?.body)
    else leg.end.release()
    // A browser is told where we are when it knows who we are.
    if (answer.status < 300 && leg.end.profile === 'webrtc') return reoffer(call, leg)
    return answer.status
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    leg.end.release()
    return error.sipStatus
  }
}

/** The m-lines to offer to whoever is to talk with `stay` from now on. */
export function likeLeg(call: Anchored, stay: Leg, to: End): Stream[] {
  const agreed = call.anchor.streams(stay.end)
  const audio: Stream = { kind: 'audio', direction: 'sendrecv', codecs: agreed[0]?.codecs ?? [] }
  if (stay.end.leg === undefined) return flowing(likeOffer(stay.remoteSdp, to.profile))
  const all = ['opus', 'G722', 'PCMA', 'PCMU']
  return [{ ...audio, codecs: [...new Set([...audio.codecs, ...all])] }]
}

const flowing = (streams: readonly Stream[]) => streams.map(stream => ({ ...stream, direction: 'sendrecv' as const }))

/** The same m-lines, with the codecs that the partner uses first, so that nothing has to be translated. */
function preferring(agreed: readonly Stream[], streams: readonly Stream[]): Stream[] {
  return streams.map(stream => {
    const first = agreed.find(({ kind }) => kind === stream.kind)?.codecs ?? []
    const isFirst = (codec: string) => first.some(one => one.toLowerCase() === codec.toLowerCase())
    return { ...stream, codecs: stream.codecs.toSorted((a, b) => Number(isFirst(b)) - Number(isFirst(a))) }
  })
}
