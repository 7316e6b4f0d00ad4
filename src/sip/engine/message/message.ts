import { type NameAddr, readNameAddr } from './name-addr.ts'
import { ordinary, ParseFailure } from './sip-message.ts'

// The room's door: what the layers above use of messages.

export { createRequest, createResponse } from './create.ts'
export { formatNameAddr, type NameAddr } from './name-addr.ts'
export { ParseFailure, SipMessage, type StartLine, type ValueLimits } from './sip-message.ts'
export { reasonPhrase } from './status.ts'
export { bytes, quote, unquote, utf8 } from './syntax.ts'
export { formatVia, type Via } from './via.ts'

/** Parses a From, To, Contact, Route … value. Throws ParseFailure. */
export function parseNameAddr(text: string): NameAddr {
  const address = readNameAddr(text, ordinary)
  if (address === undefined) throw new ParseFailure('malformed address')
  return address
}
