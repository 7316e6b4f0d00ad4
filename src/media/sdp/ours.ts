import type { types } from 'mediasoup'
import type { Direction, Kind } from '../media.ts'
import type { Extension, WebRtcLine, WebRtcSession } from './webrtc.ts'

// What we have said to a browser. An answer and an offer of ours are the same thing, so the owner of a leg keeps the last
// `OurSession` and makes the next one from it: mids, lines and the session id stay, the version goes up (RFC 3264 section 8).

/** Our end of one BUNDLE group: as `WebRtcTransport` gives it. */
export interface OurTransport {
  ice: types.IceParameters
  candidates: readonly types.IceCandidate[]
  dtls: types.DtlsParameters
}

/** What a consumer sends, from its `rtpParameters`. */
export interface Sender {
  ssrc: number
  rtxSsrc?: number | undefined
  cname: string
  /** `stream track` (RFC 8830). */
  msid: string
}

export interface OurLine {
  mid: string
  kind: WebRtcLine['kind']
  protocol: string
  /** For a rejected line, and for what has no codecs. */
  formats: string
  rejected: boolean
  direction: Direction
  codecs: readonly types.RtpCodecParameters[]
  extensions: readonly Extension[]
  /** rids that we receive (RFC 8853). */
  rids: readonly string[]
  sender: Sender | undefined
  /** Which of the session's transports carries it. */
  transport: number
}

export interface OurSession {
  id: string
  version: number
  /** What we say of DTLS: passive in answers, actpass in offers (RFC 8842 section 5). */
  setup: 'active' | 'passive' | 'actpass'
  transports: readonly OurTransport[]
  lines: readonly OurLine[]
}

/** What we want of one line of an offer; undefined rejects it. */
export interface LineWish {
  direction: Direction
  /** Encoding names, best first; empty: what the party prefers. */
  codecs: readonly string[]
  sender?: Sender | undefined
  /** Whether its simulcast is taken; default yes. */
  simulcast?: boolean | undefined
}

/**
 * Our answer to a browser's offer: same lines, same mids, codecs and extensions in the party's numbers, never more than
 * the router knows. `wishes` goes by index; a line without a wish, or without a common codec, is rejected with port 0.
 * Refuses `not-acceptable-here` when no line is left.
 */
export function answerTo(
  offer: WebRtcSession,
  ours: {
    /** Of the transports before; the first BUNDLE group is answered by the first transport. */
    transports: readonly OurTransport[]
    router: types.RtpCapabilities
    wishes: readonly (LineWish | undefined)[]
    previous?: OurSession | undefined
    /** Session id of a first description. */
    id?: string | undefined
  },
): OurSession {
  throw new Error(`not yet: ${offer.id} ${ours.wishes.length}`)
}

/** A line that we offer: to send what `sender` sends, or to receive. */
export interface OfferWish {
  kind: Kind
  direction: Direction
  /** Of the consumer's `rtpParameters`, or what the router knows of a line that we only receive. */
  parameters: Pick<types.RtpParameters, 'codecs' | 'headerExtensions'>
  sender?: Sender | undefined
  transport: number
  /** Keeps the line with this mid and changes it; without it a free (rejected) line is recycled or one is added. */
  mid?: string | undefined
}

/**
 * Our next offer. Lines of `previous` that no wish names by mid stay as they are, those in `drop` are rejected with port 0
 * and may be recycled by a later offer under a new mid (RFC 8829 section 5.2.2). New ICE parameters in `transports` are an ICE restart.
 */
export function offerNext(
  previous: OurSession | undefined,
  next: {
    transports: readonly OurTransport[]
    wishes: readonly OfferWish[]
    drop?: readonly string[] | undefined
    id?: string | undefined
  },
): OurSession {
  throw new Error(`not yet: ${previous?.id} ${next.wishes.length}`)
}

/** What the party answered to each of our lines, by index; undefined where it rejected. Refuses `not-acceptable-here` what does not fit the offer. */
export function readAnswer(ours: OurSession, answer: WebRtcSession): (WebRtcLine | undefined)[] {
  throw new Error(`not yet: ${ours.id} ${answer.id}`)
}

/** The SDP text of what we say. */
export function writeWebRtc(session: OurSession): string {
  throw new Error(`not yet: ${session.id}`)
}
