import { parse as parseLines, type SessionDescription, write } from 'sdp-transform'
import { Refusal } from '../../errors.ts'

/** A parsed session description: bounded, with at least one m-line, and every m-line with a kind, a port and formats. */
export type Session = SessionDescription

const maxBytes = 64 * 1024
const maxMediaLines = 64

/** Reads an SDP text (RFC 8866); refuses `bad-request` what is none, or is larger than anybody needs. */
export function parse(text: string): Session {
  if (text.length > maxBytes) throw new Refusal('bad-request', 'The session description is too large')
  const session = parseLines(text)
  if (session.media.length === 0 || session.media.length > maxMediaLines) throw new Refusal('bad-request', 'No SDP')
  return session
}

/** Writes a description; lines end in CRLF. */
export function format(session: Session): string {
  return write(session)
}
