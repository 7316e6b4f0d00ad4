import { isList } from './headers.ts'
import { ParseFailure, type SipMessage } from './message.ts'
import { elementEnd, readNumber } from './syntax.ts'

const single = [
  ['From', 'from'],
  ['To', 'to'],
  ['Call-ID', 'call-id'],
  ['CSeq', 'cseq'],
] as const

/**
 * What RFC 3261 demands of a message before anything acts on it, and RFC 4475 of a server: undefined when it is sound;
 * else the answer a request gets (a response is dropped).
 */
export function checkMessage(message: SipMessage): { status: number; reason: string } | undefined {
  if (message.version !== '2.0') return { status: 505, reason: 'Version Not Supported' }
  try {
    const fault = headerFault(message) ?? (message.isRequest ? requestFault(message) : undefined)
    return fault === undefined ? undefined : { status: 400, reason: `Bad Request (${fault})` }
  } catch (error) {
    if (!(error instanceof ParseFailure)) throw error
    return { status: 400, reason: `Bad Request (${error.message})` }
  }
}

/** What is wrong with a header that requests and responses have; throws ParseFailure where reading finds it. */
function headerFault(message: SipMessage): string | undefined {
  for (const [name, key] of single) if (message.count(key) !== 1) return `not one ${name}`
  if (message.count('max-forwards') > 1) return 'not one Max-Forwards'
  if (message.vias().length === 0) return 'no Via'
  if (message.from.uri === undefined) return 'malformed From'
  if (message.to.uri === undefined) return 'malformed To'
  if (/[ \t]/.test(message.callId)) return 'malformed Call-ID'
  if (message.cseq.method !== message.method) return 'CSeq is of another method'
  const contacts = message.contacts
  if (contacts !== '*' && contacts.some(contact => contact.uri === undefined)) return 'malformed Contact'
  if (contacts === '*' && message.method !== 'REGISTER') return 'malformed Contact'
  if (message.routes.some(route => route.uri === undefined)) return 'malformed Route'
  if (message.recordRoutes.some(route => route.uri === undefined)) return 'malformed Record-Route'
  return lineFault(message)
}

function lineFault(message: SipMessage): string | undefined {
  for (const { key, value } of message.lines()) {
    if (key === 'expires' && readNumber(value, 2 ** 32 - 1) === undefined) return 'malformed Expires'
    if (value.length >= message.mostValues * 2 && isList(key) && values(value) > message.mostValues) {
      return `too many ${key} values`
    }
  }
  return undefined
}

function values(text: string): number {
  let count = 1
  for (let at = elementEnd(text, 0); at < text.length; at = elementEnd(text, at + 1)) count++
  return count
}

function requestFault(message: SipMessage): string | undefined {
  const uri = message.requestUri
  // RFC 3261 section 19.1.1, table 1: headers are not allowed in a Request-URI.
  if (uri === undefined || uri.headers !== '') return 'malformed Request-URI'
  // Reading it throws when it is not 0 to 255; its absence is RFC 2543's right (RFC 4475 section 3.4.1).
  void message.maxForwards
  // RFC 3261 section 10.2.2: '*' removes all bindings and goes with Expires: 0 only.
  if (message.contacts === '*' && readNumber(message.get('expires') ?? '', 0) !== 0) return 'Contact * needs Expires: 0'
  return undefined
}
