import type { Direction, Profile, Stream } from '../media.ts'
import { codecsOf, isMedia, nameOf } from './codecs.ts'
import type { Session } from './description.ts'

/** What a description speaks: WebRTC where a line has ICE and DTLS-SRTP, plain RTP otherwise. */
export function profileOf(session: Session): Profile {
  const secured = session.media.some(
    line =>
      line.protocol.startsWith('UDP/TLS/') ||
      ((line.fingerprint ?? session.fingerprint) !== undefined && line.protocol.includes('SAVP')),
  )
  const ice = session.media.some(line => (line.iceUfrag ?? session.iceUfrag) !== undefined)
  return secured && ice ? 'webrtc' : 'plain'
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
