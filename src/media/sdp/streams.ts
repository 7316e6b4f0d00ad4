import type { Profile, Stream } from '../media.ts'
import type { Session } from './description.ts'

/** What a description speaks: WebRTC where a line has DTLS-SRTP and ICE, plain RTP otherwise. */
export function profileOf(session: Session): Profile {
  throw new Error(`not yet: ${session.media.length}`)
}

/** What the lines of a description are to us, its direction mirrored; rejected lines and data channels left out. */
export function streamsOf(session: Session): Stream[] {
  throw new Error(`not yet: ${session.media.length}`)
}
