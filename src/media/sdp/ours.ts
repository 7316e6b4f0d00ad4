import type { types } from 'mediasoup'
import type { Direction } from '../media.ts'
import type { Extension, WebRtcLine } from './webrtc.ts'

// What we have said to a browser. An answer and an offer of ours are the same thing, so the owner of a leg keeps the last
// `OurSession` and makes the next one from it: mids, lines and the session id stay, the version goes up (RFC 3264 section 8).

/** Our end of one BUNDLE group: as `WebRtcTransport` gives it. */
export interface OurTransport {
  ice: types.IceParameters
  candidates: readonly types.IceCandidate[]
  dtls: types.DtlsParameters
}

/** What a consumer sends; without `ssrc` the browser finds its packets by MID or payload type. */
export interface Sender {
  ssrc?: number | undefined
  rtxSsrc?: number | undefined
  cname?: string | undefined
  /** `stream track` (RFC 8830). */
  msid: string
}

export interface OurLine {
  mid: string
  kind: WebRtcLine['kind']
  /** The first field of the m= line. */
  type: string
  protocol: string
  /** For lines without codecs. */
  formats: string
  rejected: boolean
  direction: Direction
  codecs: readonly types.RtpCodecParameters[]
  extensions: readonly Extension[]
  /** rids that we receive (RFC 8853). */
  rids: readonly string[]
  sender: Sender | undefined
  /** Which of the session's transports carries it: 0, as long as browsers bear no second group (router.ts says why). */
  transport: number
}

export interface OurSession {
  id: string
  version: number
  transports: readonly (OurTransport & {
    /** What we say of DTLS: in offers actpass, in answers passive unless the party is that (RFC 8842 section 5). */
    setup: 'active' | 'passive' | 'actpass'
  })[]
  lines: readonly OurLine[]
  /** Number of the next mid that we make up; none is used twice. */
  nextMid: number
}
