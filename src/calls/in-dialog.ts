import { Refusal } from '../errors.ts'
import type { CallResult } from '../events.ts'
import type { Logger } from '../log.ts'
import type { Anchor } from './anchor.ts'
import { cancelSent } from './fork.ts'
import { allow, flat, fromAnswer, fromMidCall, reasonHeader } from './headers.ts'
import type { Answer, Leg } from './leg.ts'
import { isHeld } from './outcome.ts'
import { isAnchored, relay, renegotiate, wantsRelay } from './renegotiate.ts'
import { type Headers, type Incoming, type Reply, reply, type Sent } from './sip.ts'

/** What a request inside a dialog needs of its call. */
export interface Conversation {
  readonly state: string
  readonly anchor: Anchor
  readonly log: Logger
  held: boolean
  /** Its media is being brought to this server. */
  readonly moving: boolean
  peerOf(leg: Leg): Leg | undefined
  changed(change: 'held' | 'resumed' | 'media'): void
  end(how: { status: number; reason: string; result?: CallResult; cause?: Headers }): void
}

const passedMethods = new Set(['INFO', 'MESSAGE', 'NOTIFY'])
const refusedMethods = new Set(['SUBSCRIBE', 'PUBLISH', 'REGISTER', 'REFER'])

/** A request inside one leg's dialog: passed on to the other leg, or answered here. */
export function passOn(call: Conversation, leg: Leg, req: Incoming, res: Reply): void {
  const { method } = req
  if (method === 'BYE') return onBye(call, leg, req, res)
  if (method === 'OPTIONS') {
    return reply(res, 200, { headers: { Allow: allow, Accept: 'application/sdp', Supported: 'timer, replaces' } })
  }
  // What a provisional response of ours needs; the callee's own one is acknowledged on its own leg.
  if (method === 'PRACK') return reply(res, req.body ? 488 : 200)
  if (method === 'INVITE' || method === 'UPDATE') return negotiate(call, leg, req, res)
  if (passedMethods.has(method)) return void pass(call, leg, req, res)
  reply(res, refusedMethods.has(method) ? 405 : 501, { headers: { Allow: allow } })
}

function onBye(call: Conversation, leg: Leg, req: Incoming, res: Reply): void {
  if (req.source === 'network') reply(res, 200)
  leg.drop()
  const reason = req.get('Reason')
  const words = req.source === 'application' ? (/text="([^"]*)"/.exec(reason ?? '')?.[1] ?? 'engine') : 'hung up'
  call.end({
    status: 487,
    reason: `${words} (${leg.party.user})`,
    result: 'cancelled',
    cause: reason ? { Reason: reason } : {},
  })
}

async function pass(call: Conversation, leg: Leg, req: Incoming, res: Reply): Promise<void> {
  const peer = call.peerOf(leg)
  if (peer === undefined || peer.ended) return reply(res, call.state === 'ended' ? 481 : 480)
  const answer = await peer.send(req.method, { headers: fromMidCall(req), body: req.body })
  reply(res, answer.status, {
    reason: answer.reason,
    ...(answer.response ? { headers: fromAnswer(answer.response), body: answer.response.body } : {}),
  })
  endIfGone(call, peer, answer)
}

/** A peer that answers 481 or 408 inside its dialog has no dialog any more (RFC 3261 section 12.2.1.2). */
function endIfGone(call: Conversation, peer: Leg, answer: Answer): void {
  if (answer.status !== 481 && answer.status !== 408) return
  peer.drop()
  call.end({ status: 480, reason: `the connection of ${peer.party.user} was lost` })
}

/** re-INVITE and UPDATE: the offer goes to the other leg, its answer comes back, and either may refuse. */
function negotiate(call: Conversation, leg: Leg, req: Incoming, res: Reply): void {
  const peer = call.peerOf(leg)
  const isInvite = req.method === 'INVITE'
  if (peer === undefined || peer.ended || !leg.confirmed) {
    if (!isInvite && !req.body) return reply(res, 200, { headers: { Allow: allow } })
    return reply(res, call.state === 'ended' ? 481 : 491)
  }
  // A request that changes nothing only refreshes this leg's session timer (RFC 4028 section 7.4, RFC 3264 section 8).
  const refreshes = req.body ? req.body === leg.remoteSdp && leg.localSdp !== '' : !isInvite
  if (refreshes) {
    return reply(res, 200, {
      headers: { Allow: allow, ...sdpType(req.body) },
      body: req.body ? leg.localSdp : undefined,
    })
  }
  // What one was told of a dead node's media cannot be shown to the other, so both hear our offers first.
  if (leg.unplaced || peer.unplaced) return reply(res, 491)
  // Offers that cross: whoever asks while we are asking waits (491); a second one of their own comes too early (500).
  if (leg.asking || peer.asked || call.moving) return reply(res, 491)
  if (leg.asked || leg.onAck || peer.asking) return reply(res, 500, { headers: { 'Retry-After': '3' } })
  if (isAnchored(leg, peer) || wantsRelay(req, leg, peer)) void exchangeAnchored(call, leg, peer, req, res)
  else void exchange(call, leg, peer, req, res)
}

/** The media passes this server, or is to: the other leg is asked only for what changes for it. */
async function exchangeAnchored(call: Conversation, leg: Leg, peer: Leg, req: Incoming, res: Reply): Promise<void> {
  leg.asked = peer.asking = true
  let sent: Sent | undefined
  req.on('cancel', () => {
    if (sent) cancelSent(sent, {})
  })
  req.on('update', (_update, answer) => reply(answer, 491))
  try {
    const how = { anchor: call.anchor, leg, peer, req, onSent: (one: Sent) => (sent = one) }
    const moves = !isAnchored(leg, peer)
    const outcome = await (moves ? relay(how) : renegotiate(how))
    leg.asked = peer.asking = false
    if (call.state === 'ended') return
    if (outcome.asked) endIfGone(call, peer, outcome.asked)
    if (outcome.status >= 300) return reply(res, outcome.status, { reason: outcome.reason })
    if (moves) call.log.info('media moves from the direct way to this server')
    leg.localSdp = outcome.body ?? ''
    if (req.body) leg.remoteSdp = req.body
    if (outcome.onAck) leg.onAck = ack => void onLateAnswer(call, leg, ack, outcome.onAck!)
    reply(res, 200, { headers: { Allow: allow, ...sdpType(outcome.body) }, body: outcome.body })
    if (req.body) {
      report(call, req.body)
      await call.anchor.hold(peer.end, isHeld(req.body))
    }
  } catch (error) {
    if (!(error instanceof Refusal)) call.log.error({ err: error }, 'renegotiation failed by a bug')
    const refusal = error instanceof Refusal ? error : new Refusal('server-error')
    call.log.info({ code: refusal.code, why: refusal.message, by: leg.party.user }, 'renegotiation refused')
    leg.asked = peer.asking = false
    reply(res, refusal.sipStatus, { headers: flat(refusal.headers) })
  }
}

async function onLateAnswer(
  call: Conversation,
  leg: Leg,
  ack: Incoming,
  take: (answer: string | undefined) => Promise<void>,
): Promise<void> {
  try {
    leg.learn(ack)
    await take(ack.body)
    report(call, ack.body ?? '')
  } catch (error) {
    if (!(error instanceof Refusal)) call.log.error({ err: error }, 'late answer failed by a bug')
    call.end({ status: 488, reason: 'no common media', cause: reasonHeader(488, 'No common media') })
  }
}

async function exchange(call: Conversation, leg: Leg, peer: Leg, req: Incoming, res: Reply): Promise<void> {
  leg.asked = peer.asking = true
  let cancelled = false
  let sent: Sent | undefined
  req.on('cancel', () => {
    cancelled = true
    if (sent) cancelSent(sent, {})
  })
  req.on('update', (_update, answer) => reply(answer, 491))
  // A phone without UPDATE is asked by re-INVITE (RFC 3311 section 4).
  const method = req.method === 'UPDATE' && !peer.allows('UPDATE') ? 'INVITE' : req.method
  const headers: Headers = { ...fromMidCall(req), Allow: allow, Supported: 'timer, replaces' }
  const answer = await peer.send(method, { headers, body: req.body, onSent: s => (sent = s) })
  leg.asked = peer.asking = false
  if (answer.status >= 300 || answer.response === undefined) {
    reply(res, answer.status, {
      reason: answer.reason,
      ...(answer.response ? { headers: fromAnswer(answer.response) } : {}),
    })
    return endIfGone(call, peer, answer)
  }
  finish(call, leg, peer, method, req, res, answer, cancelled)
}

function finish(
  call: Conversation,
  leg: Leg,
  peer: Leg,
  method: string,
  req: Incoming,
  res: Reply,
  answer: Answer,
  cancelled: boolean,
): void {
  const body = answer.response?.body
  const late = method === 'INVITE' && !req.body
  if (method === 'INVITE' && (!late || cancelled)) answer.ack()
  if (cancelled || call.state === 'ended') return
  if (req.body) {
    leg.remoteSdp = peer.localSdp = req.body
    report(call, req.body)
  }
  if (body) peer.remoteSdp = leg.localSdp = body
  if (late) {
    leg.onAck = ack => {
      if (ack.body) leg.remoteSdp = peer.localSdp = ack.body
      answer.ack({ ...(ack.body ? { body: ack.body } : {}), headers: fromMidCall(ack) })
      report(call, ack.body ?? '')
    }
  }
  const headers = { Allow: allow, ...(answer.response ? fromAnswer(answer.response) : {}) }
  reply(res, 200, { headers, body }, error => {
    if (error && late) answer.ack()
  })
}

function report(call: Conversation, sdp: string): void {
  const held = isHeld(sdp)
  const change = held === call.held ? 'media' : held ? 'held' : 'resumed'
  call.held = held
  call.changed(change)
}

function sdpType(body: string | undefined): Headers {
  return body ? { 'Content-Type': 'application/sdp' } : {}
}
