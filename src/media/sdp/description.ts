import { parse as parseLines, type SessionDescription, write } from 'sdp-transform'
import { Refusal } from '../../errors.ts'

/** A parsed session description: bounded, with an o= line, and every m-line with a kind, a port, a protocol and formats. */
export type Session = SessionDescription
export type MediaLine = Session['media'][number]

// A browser in a meeting of 25 writes about 4 KiB and 100 lines for each m-line.
const maxBytes = 256 * 1024
const maxLines = 8_000
const maxMediaLines = 64

/** Reads an SDP text (RFC 8866); refuses `bad-request` what is none, or is larger than anybody needs. */
export function parse(text: string): Session {
  if (text.length > maxBytes || !fewLines(text))
    throw new Refusal('bad-request', 'The session description is too large')
  if (!text.startsWith('v=0')) throw new Refusal('bad-request', 'A session description begins with v=0')
  const session = parseLines(text)
  const { media } = session
  if (session.origin === undefined) throw new Refusal('bad-request', 'The session description has no o= line')
  if (media.length === 0) throw new Refusal('bad-request', 'The session description has no m= line')
  if (media.length > maxMediaLines) throw new Refusal('bad-request', 'The session description has too many m= lines')
  for (const line of media) check(line)
  return session
}

/** Writes a description; lines end in CRLF. */
export function format(session: Session): string {
  return write(session)
}

/** A whole number from 0 to `max`, or undefined. */
export function whole(value: unknown, max: number): number | undefined {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value
  return typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= max ? number : undefined
}

// What the parser takes for a number becomes the text again that it was: a mid, a password or a format may be all digits.
function check(line: MediaLine): void {
  if (typeof line.type !== 'string' || line.type === '') throw new Refusal('bad-request', 'An m= line has no kind')
  if (whole(line.port, 65_535) === undefined) throw new Refusal('bad-request', 'An m= line has no port')
  if (typeof line.protocol !== 'string' || line.protocol === '')
    throw new Refusal('bad-request', 'An m= line is cut off')
  line.payloads = line.payloads === undefined ? '' : String(line.payloads).trim()
  if (line.payloads === '') throw new Refusal('bad-request', 'An m= line has no format')
  if (line.mid !== undefined) line.mid = String(line.mid)
}

function fewLines(text: string): boolean {
  let count = 0
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) if (++count > maxLines) return false
  for (let at = text.indexOf('\r'); at >= 0; at = text.indexOf('\r', at + 1)) if (++count > 2 * maxLines) return false
  return true
}
