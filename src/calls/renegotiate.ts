import type { Stream } from '../media/media.ts'
import { profileOf } from '../media/sdp/streams.ts'
import type { Anchor, End } from './anchor.ts'
import { allow } from './headers.ts'
import type { Answer, Leg } from './leg.ts'
import { likeOffer } from './sdp.ts'
import type { Headers, Incoming, Sent } from './sip.ts'

// A re-INVITE or UPDATE in a call whose media passes this server, or is to pass it from now on. The other end is asked only
// when it has to send or hear something else than before; a new ICE way, another port or codec is this server's matter.

export interface Renegotiation {
  anchor: Anchor
  leg: Leg
  peer: Leg
  req: Incoming
  /** The request that the other end gets, to cancel it. */
  onSent(sent: Sent): void
}

/** What the sender gets: 200 with a body, or the other end's refusal. `onAck` when the ACK brings the answer. */
export interface Outcome {
  status: number
  reason?: string | undefined
  body?: string
  onAck?(answer: string | undefined): Promise<void>
  /** The other end's answer, when it was asked. */
  asked?: Answer
}

/** Whether both ends are on this server. */
export function isAnchored(leg: Leg, peer: Leg): boolean {
  return leg.end.leg !== undefined && peer.end.leg !== undefined
}

/** A browser that finds no direct way to the other asks for this server's (docs/media.md). */
export function wantsRelay(req: Incoming, leg: Leg, peer: Leg): boolean {
  if (leg.end.leg !== undefined || peer.end.leg !== undefined || !req.body) return false
  const both = leg.end.profile === 'webrtc' && peer.end.profile === 'webrtc'
  return both && (req.get('Media-Path') ?? '').trim().toLowerCase() === 'relay'
}

// Two browsers that begin new DTLS associations at once would shake hands with each other, where the direct way still
// carries something: the second one begins when the first has come to the server, or after this time.
const switchMs = 2000

/** Puts a direct call of two browsers on this server. Throws Refusal. */
export async function relay(how: Renegotiation): Promise<Outcome> {
  const { anchor, leg, peer, req } = how
  const offer = req.body ?? ''
  try {
    const sdp = await anchor.offer(peer.end, { like: offer, after: peer.remoteSdp })
    const flows = anchor.flows(peer.end, switchMs)
    const asked = await ask(how, sdp)
    if (asked.status >= 300) return refused(how, asked)
    await anchor.accept(peer.end, asked.response?.body)
    const again = await ask(how, await anchor.reoffer(peer.end))
    if (again.status >= 300) return refused(how, again)
    await anchor.accept(peer.end, again.response?.body)
    await flows
    const body = await anchor.answer(leg.end, offer, peer.end)
    await anchor.connect(leg.end, peer.end)
    return { status: 200, body, asked }
  } catch (error) {
    leg.end.release()
    peer.end.release()
    throw error
  }
}

function refused({ leg, peer }: Renegotiation, asked: Answer): Outcome {
  leg.end.release()
  peer.end.release()
  return { status: asked.status, reason: asked.reason, asked }
}

/** A new offer in a call that is on this server. Throws Refusal. */
export async function renegotiate(how: Renegotiation): Promise<Outcome> {
  const { anchor, leg, peer, req } = how
  const offer = req.body
  if (!offer) {
    const body = await anchor.reoffer(leg.end)
    return {
      status: 200,
      body,
      async onAck(answer) {
        await anchor.accept(leg.end, answer)
        await anchor.connect(leg.end, peer.end)
      },
    }
  }
  const before = anchor.streams(peer.end)
  const wanted = wantedOf(anchor, offer, before, peer.end)
  let asked: Answer | undefined
  if (wanted) {
    asked = await ask(how, await anchor.reoffer(peer.end, wanted))
    if (asked.status >= 300) return { status: asked.status, reason: asked.reason, asked }
    await anchor.accept(peer.end, asked.response?.body)
  }
  const body = await anchor.answer(leg.end, offer, peer.end)
  await anchor.connect(leg.end, peer.end)
  return { status: 200, body, ...(asked ? { asked } : {}) }
}

/** What the other end must be offered for this offer; undefined when it has that already. */
function wantedOf(anchor: Anchor, offer: string, before: readonly Stream[], peer: End): Stream[] | undefined {
  const now = likeOffer(offer, profileOf(offer) === 'webrtc' && peer.profile === 'webrtc' ? 'webrtc' : 'plain')
  const wanted = now.map(({ kind, direction, codecs }, at) => {
    const had = before[at]
    // Who waits listens to the music, also when the holder wants nothing to flow.
    const music = direction === 'inactive' && kind === 'audio' && anchor.hasMusic
    return {
      kind,
      direction: music ? ('sendonly' as const) : direction,
      codecs: had?.codecs.length ? had.codecs : codecs,
    }
  })
  const same = wanted.length === before.length && wanted.every((one, at) => isLike(one, before[at]))
  return same ? undefined : wanted
}

function isLike(one: Stream, other: Stream | undefined): boolean {
  return other !== undefined && one.kind === other.kind && one.direction === other.direction
}

async function ask({ peer, req, onSent }: Renegotiation, body: string): Promise<Answer> {
  const method = req.method === 'UPDATE' && peer.allows('UPDATE') && peer.confirmed ? 'UPDATE' : 'INVITE'
  const headers: Headers = { Allow: allow, Supported: 'timer, replaces', 'Content-Type': 'application/sdp' }
  const answer = await peer.send(method, { headers, body, onSent })
  if (answer.status < 300 && answer.response !== undefined) {
    if (method === 'INVITE') answer.ack()
    peer.localSdp = body
    peer.learn(answer.response)
  }
  return answer
}
