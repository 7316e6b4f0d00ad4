import { cleanToken, cleanUri, cleanValue } from './clean.ts'
import { SipMessage } from './sip-message.ts'
import { reasonPhrase } from './status.ts'

/** A request without any header. */
export function createRequest(method: string, uri: string): SipMessage {
  return new SipMessage({ method: cleanToken(method), uri: cleanUri(uri), version: '2.0', status: 0, reason: '' })
}

const repeated = new Set(['via', 'from', 'to', 'call-id', 'cseq'])
const repeatedBy100 = new Set([...repeated, 'timestamp'])

/** A response with Via (all), From, To, Call-ID and CSeq of the request (RFC 3261 section 8.2.6), Timestamp for 100. */
export function createResponse(request: SipMessage, status: number, reason = reasonPhrase(status)): SipMessage {
  const lines = request.linesOf(status === 100 ? repeatedBy100 : repeated)
  return new SipMessage({ method: '', uri: '', version: '2.0', status, reason: cleanValue(reason) }, lines)
}
