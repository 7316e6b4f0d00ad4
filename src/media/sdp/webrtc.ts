import type { types } from 'mediasoup'
import type { Direction } from '../media.ts'
import type { Session } from './description.ts'

/** What a browser's description says, in mediasoup's words. */
export interface WebRtcSession {
  /** Of the o= line. */
  id: string
  version: number
  ice: { ufrag: string; pwd: string; lite: boolean }
  /** The party's DTLS side, ready for `transport.connect`: `client` where it says actpass, since we answer passive. */
  dtls: types.DtlsParameters
  /** mids of each BUNDLE group (RFC 8843); one group with the first line where there is none. */
  bundles: readonly (readonly string[])[]
  lines: readonly WebRtcLine[]
}

export interface WebRtcLine {
  mid: string
  kind: 'audio' | 'video' | 'application' | 'other'
  /** Of the m= line, kept to answer it: `UDP/TLS/RTP/SAVPF`, `UDP/DTLS/SCTP` … */
  protocol: string
  formats: string
  /** Port 0 and not bundle-only. */
  rejected: boolean
  /** The party's. */
  direction: Direction
  /** As the party numbers them, best first; rtx, red, CN and telephone-event among them. */
  codecs: readonly types.RtpCodecParameters[]
  extensions: readonly Extension[]
  /** What it sends in several sizes (RFC 8853), as it lists them; empty without simulcast. */
  rids: readonly string[]
  /** Announced sources (RFC 5576), repair flows folded into theirs. */
  sources: readonly Source[]
  /** `stream track` of RFC 8830, or undefined. */
  msid: string | undefined
  cname: string | undefined
  rtcpMux: boolean
}

export interface Extension {
  id: number
  uri: string
}

export interface Source {
  ssrc: number
  rtxSsrc?: number | undefined
}

/** Reads a browser's offer or answer; refuses `not-acceptable-here` without ICE, a fingerprint or rtcp-mux. */
export function readWebRtc(session: Session): WebRtcSession {
  throw new Error(`not yet: ${session.media.length}`)
}

/** Whether the party's ICE was restarted between two of its descriptions (RFC 8839 section 4.4.1.1.1). */
export function iceRestarted(previous: WebRtcSession, next: WebRtcSession): boolean {
  return previous.ice.ufrag !== next.ice.ufrag || previous.ice.pwd !== next.ice.pwd
}
