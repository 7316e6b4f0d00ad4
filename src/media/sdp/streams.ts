import type { Direction, Profile, Stream } from '../media.ts'
import { codecsOf, isMedia, nameOf } from './codecs.ts'
import type { Session } from './description.ts'

/**
 * What the sender of an SDP speaks: WebRTC where it has ICE and DTLS-SRTP (RFC 8827 section 6.5), plain RTP otherwise. Seen
 * without parsing, because every call is asked.
 */
export function profileOf(sdp: string): Profile {
  const secured = sdp.includes('a=fingerprint:') && sdp.includes('RTP/SAVP')
  return secured && sdp.includes('a=ice-ufrag:') ? 'webrtc' : 'plain'
}

/** What the lines of a description are to us, its directions mirrored; rejected lines and data channels are left out. */
export function streamsOf(session: Session): Stream[] {
  return session.media.flatMap(line => {
    const { type: kind } = line
    if ((kind !== 'audio' && kind !== 'video') || (line.port === 0 && line.bundleOnly === undefined)) return []
    const codecs = new Set(codecsOf(line).filter(isMedia).map(nameOf))
    return [{ kind, direction: mirror(line.direction ?? session.direction ?? 'sendrecv'), codecs: [...codecs] }]
  })
}

/** The same direction seen from the other side (RFC 3264 section 6.1). */
export function mirror(direction: Direction): Direction {
  if (direction === 'sendonly') return 'recvonly'
  return direction === 'recvonly' ? 'sendonly' : direction
}

/** What both directions, seen from the same side, allow. */
export function direct(one: Direction, other: Direction): Direction {
  const send = sends(one) && sends(other)
  const receive = receives(one) && receives(other)
  return send ? (receive ? 'sendrecv' : 'sendonly') : receive ? 'recvonly' : 'inactive'
}

export function sends(direction: Direction): boolean {
  return direction === 'sendrecv' || direction === 'sendonly'
}

export function receives(direction: Direction): boolean {
  return direction === 'sendrecv' || direction === 'recvonly'
}
