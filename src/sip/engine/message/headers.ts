import { cleanToken, cleanValue } from './clean.ts'
import { classes, SPACE, TOKEN, trimEnd } from './syntax.ts'

// Header names and header lines. A line never changes once it is made, so copies of a message share their lines, and a
// run of untouched lines is written back as one piece of the text it came in.

interface KnownName {
  key: string
  list: boolean
}

const lists =
  'Via Contact Route Record-Route Path Service-Route Accept Accept-Encoding Accept-Language Accept-Contact Reject-Contact ' +
  'Alert-Info Allow Allow-Events Call-Info Content-Encoding Content-Language Diversion Error-Info Geolocation ' +
  'History-Info In-Reply-To P-Asserted-Identity P-Associated-URI P-Preferred-Identity Proxy-Require Reason Recv-Info ' +
  'Request-Disposition Require Resource-Priority Security-Client Security-Server Security-Verify Supported Unsupported Warning'
const singles =
  'From To Call-ID CSeq Max-Forwards Content-Type Content-Length Content-Disposition Expires Min-Expires Min-SE ' +
  'Session-Expires User-Agent Server Authorization Proxy-Authorization WWW-Authenticate Proxy-Authenticate ' +
  'Authentication-Info Event Subscription-State Refer-To Referred-By Replaces Subject Organization Date Timestamp ' +
  'RAck RSeq Privacy Identity Identity-Info MIME-Version Priority Reply-To Retry-After SIP-ETag SIP-If-Match'
const compact: Record<string, string> = {
  a: 'accept-contact',
  b: 'referred-by',
  c: 'content-type',
  d: 'request-disposition',
  e: 'content-encoding',
  f: 'from',
  i: 'call-id',
  j: 'reject-contact',
  k: 'supported',
  l: 'content-length',
  m: 'contact',
  n: 'identity-info',
  o: 'event',
  r: 'refer-to',
  s: 'subject',
  t: 'to',
  u: 'allow-events',
  v: 'via',
  x: 'session-expires',
  y: 'identity',
}

/** Every spelling worth finding at once: usual, lower case, compact. */
const spellings = new Map<string, KnownName>()
/** The same by hash of the lower-case spelling, to find a name in the text without cutting it out. */
const byHash: ({ spelling: string; known: KnownName } | undefined)[] = new Array(4096)
const lower = new Uint8Array(256)
for (let code = 0; code < 256; code++) {
  if ((classes[code]! & TOKEN) !== 0) lower[code] = code >= 0x41 && code <= 0x5a ? code + 32 : code
}

function learn(spelling: string, known: KnownName) {
  spellings.set(spelling, known)
  spellings.set(spelling.toLowerCase(), known)
  let hash = 0
  for (const character of spelling.toLowerCase()) hash = nextHash(hash, character.charCodeAt(0))
  byHash[hash] ??= { spelling: spelling.toLowerCase(), known }
}
const nextHash = (hash: number, code: number) => (hash * 31 + code) & 4095

for (const name of lists.split(' ')) learn(name, { key: name.toLowerCase(), list: true })
for (const name of singles.split(' ')) learn(name, { key: name.toLowerCase(), list: false })
for (const [short, key] of Object.entries(compact)) {
  learn(short, spellings.get(key)!)
  spellings.set(short.toUpperCase(), spellings.get(key)!)
}

/** The one key of a header name in any spelling: its long form in lower case. */
export function keyOf(name: string): string {
  const known = spellings.get(name)
  if (known !== undefined) return known.key
  const key = name.toLowerCase()
  return spellings.get(key)?.key ?? key
}

/** Whether a header's value is a comma-separated list (RFC 3261 section 7.3.1); an unknown one is taken as it is. */
export function isList(key: string): boolean {
  return spellings.get(key)?.list ?? false
}

/** One header line: stretches of a text that may hold many. */
export class Line {
  readonly key: string
  readonly text: string
  readonly start: number
  /** Behind the CRLF. */
  readonly end: number
  readonly #nameEnd: number
  readonly #valueStart: number
  readonly #valueEnd: number

  constructor(
    key: string,
    text: string,
    [start, nameEnd, valueStart, valueEnd, end]: readonly [number, number, number, number, number],
  ) {
    this.key = key
    this.text = text
    this.start = start
    this.end = end
    this.#nameEnd = nameEnd
    this.#valueStart = valueStart
    this.#valueEnd = valueEnd
  }

  get name(): string {
    return this.text.slice(this.start, this.#nameEnd)
  }

  get value(): string {
    return this.text.slice(this.#valueStart, this.#valueEnd)
  }
}

/** A new line for a value that an application gives. */
export function makeLine(name: string, value: string, key = keyOf(name)): Line {
  return lineOf(cleanToken(name), cleanValue(value), key)
}

/** A line of its own for parts that were received. */
export function lineOf(name: string, value: string, key: string): Line {
  const text = `${name}: ${value}\r\n`
  const valueStart = name.length + 2
  return new Line(key, text, [0, name.length, valueStart, text.length - 2, text.length])
}

/** Reads the line at start..end (its CRLF left out); undefined when it has no name and colon. */
export function readLine(text: string, start: number, end: number): Line | undefined {
  let hash = 0
  let at = start
  for (; at < end; at++) {
    const code = lower[text.charCodeAt(at)]!
    if (code === 0) break
    hash = nextHash(hash, code)
  }
  const nameEnd = at
  while (at < end && (classes[text.charCodeAt(at)]! & SPACE) !== 0) at++
  if (nameEnd === start || text.charCodeAt(at) !== 0x3a) return undefined
  const colon = at++
  while (at < end && (classes[text.charCodeAt(at)]! & SPACE) !== 0) at++
  const key = findKey(text, start, nameEnd, hash)
  const valueEnd = trimEnd(text, at, end)
  // White space before the colon is not passed on: many parsers do not know that it may stand there.
  if (colon !== nameEnd) return lineOf(text.slice(start, nameEnd), text.slice(at, valueEnd), key)
  return new Line(key, text, [start, nameEnd, at, valueEnd, end + 2])
}

function findKey(text: string, start: number, end: number, hash: number): string {
  const found = byHash[hash]
  if (found === undefined || found.spelling.length !== end - start) return keyOf(text.slice(start, end))
  for (let i = start; i < end; i++) {
    if (lower[text.charCodeAt(i)] !== found.spelling.charCodeAt(i - start)) return keyOf(text.slice(start, end))
  }
  return found.known.key
}
