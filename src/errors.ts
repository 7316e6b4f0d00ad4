// Two kinds of failure exist. A Refusal is an answer: it is listed here, and the one boundary of each front (routes.ts
// for SIP, http/http.ts for HTTP) turns it into a response. Anything else that is thrown is a bug: 500 and a log line.

const refusals = {
  'bad-request': [400, 400, 'Bad Request'],
  unauthorized: [401, 401, 'Unauthorized'],
  forbidden: [403, 403, 'Forbidden'],
  'not-found': [404, 404, 'Not Found'],
  'method-not-allowed': [405, 405, 'Method Not Allowed'],
  'proxy-authentication-required': [407, 401, 'Proxy Authentication Required'],
  'request-timeout': [408, 408, 'Request Timeout'],
  'too-large': [413, 413, 'Request Entity Too Large'],
  'unsupported-media': [415, 415, 'Unsupported Media Type'],
  'unsupported-uri-scheme': [416, 400, 'Unsupported URI Scheme'],
  'bad-extension': [420, 400, 'Bad Extension'],
  'interval-too-brief': [423, 400, 'Interval Too Brief'],
  'flow-failed': [430, 502, 'Flow Failed'],
  'first-hop-lacks-outbound': [439, 400, 'First Hop Lacks Outbound Support'],
  'temporarily-unavailable': [480, 404, 'Temporarily Unavailable'],
  'no-such-call': [481, 404, 'Call/Transaction Does Not Exist'],
  'too-many-hops': [483, 400, 'Too Many Hops'],
  'busy-here': [486, 409, 'Busy Here'],
  'too-many-requests': [503, 429, 'Service Unavailable'],
  'request-terminated': [487, 409, 'Request Terminated'],
  'not-acceptable-here': [488, 400, 'Not Acceptable Here'],
  'bad-event': [489, 400, 'Bad Event'],
  'request-pending': [491, 409, 'Request Pending'],
  'server-error': [500, 500, 'Server Internal Error'],
  'store-unavailable': [503, 503, 'Service Unavailable'],
  'media-unavailable': [503, 503, 'Service Unavailable'],
  'node-unavailable': [503, 503, 'Service Unavailable'],
  'too-busy': [503, 503, 'Service Unavailable'],
  'already-exists': [400, 409, 'Already Exists'],
  'bad-config': [500, 500, 'Bad Configuration'],
} as const satisfies Record<string, readonly [sip: number, http: number, reason: string]>

export type RefusalCode = keyof typeof refusals

/** An answer that is not a success. `code` is stable API; the text is for people and may change. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly code: RefusalCode
  readonly sipStatus: number
  readonly httpStatus: number
  /** Reason phrase of the SIP status. */
  readonly reason: string
  /** SIP header lines that the answer must carry, for example `{ 'Min-Expires': '60' }`. */
  readonly headers: Readonly<Record<string, string | string[]>>

  constructor(
    code: RefusalCode,
    message?: string,
    options: { headers?: Record<string, string | string[]>; cause?: unknown } = {},
  ) {
    const [sip, http, reason] = refusals[code]
    // An answer needs no stack, and every second REGISTER is answered by a refusal: collecting one costs microseconds.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message ?? reason, options.cause === undefined ? undefined : { cause: options.cause })
    Error.stackTraceLimit = stackTraceLimit
    this.code = code
    this.sipStatus = sip
    this.httpStatus = http
    this.reason = reason
    this.headers = options.headers ?? {}
  }
}

/** Every refusal there is, for docs/errors.md. */
export function listRefusals(): { code: RefusalCode; sip: number; http: number; reason: string }[] {
  return (Object.keys(refusals) as RefusalCode[]).map(code => {
    const [sip, http, reason] = refusals[code]
    return { code, sip, http, reason }
  })
}
