import type { Limits } from '../../../config/schema.ts'
import { type Line, lineOf, readLine } from './headers.ts'
import { ParseFailure, SipMessage, type StartLine } from './message.ts'
import { classes, DIGIT, isAll, readNumber, SPACE, TOKEN, trimEnd } from './syntax.ts'

export { checkMessage } from './check.ts'

/** What stands before the empty line; `fault` is the first thing wrong with it, '' when nothing is. */
export interface Head {
  start: StartLine
  lines: Line[]
  fault: string
}

/** Parses one whole message (a datagram, or what the framer cut out). Throws ParseFailure, nothing else. */
export function parseMessage(bytes: Buffer, limits: Limits): SipMessage {
  if (bytes.length > limits.messageBytes) throw new ParseFailure('message too long')
  let from = 0
  while (bytes[from] === 13 && bytes[from + 1] === 10) from += 2
  const empty = bytes.indexOf('\r\n\r\n', from, 'latin1')
  const headEnd = empty === -1 ? bytes.length : empty + 2
  const head = readHead(bytes.toString('latin1', from, headEnd), limits)
  const bodyStart = Math.min(headEnd + 2, bytes.length)
  const came = bytes.length - bodyStart
  const declared = declaredLength(head.lines)
  if (empty === -1) head.fault ||= 'no empty line after the headers'
  if (Number.isNaN(declared)) head.fault ||= 'malformed Content-Length'
  if (declared > came) head.fault ||= 'Content-Length is larger than the message'
  // Over UDP what lies behind the declared length is no part of the message (RFC 3261 section 18.3).
  const length = declared >= 0 && declared < came ? declared : came
  const body = length === 0 ? undefined : bytes.subarray(bodyStart, bodyStart + length)
  const message = new SipMessage(head.start, head.lines, body, limits)
  if (head.fault !== '') throw new ParseFailure(head.fault, message)
  return message
}

/** Reads start line and headers, each with its CRLF. Throws ParseFailure when the start line is no SIP. */
export function readHead(text: string, limits: Limits): Head {
  const startEnd = text.indexOf('\r\n')
  const head: Head = { ...readStartLine(startEnd === -1 ? text : text.slice(0, startEnd), limits), lines: [] }
  if (startEnd === -1) return head
  for (let at = startEnd + 2; at < text.length; ) {
    let cr = text.indexOf('\r', at)
    const folded = cr !== -1 && (classes[text.charCodeAt(cr + 2)]! & SPACE) !== 0
    if (folded) cr = foldEnd(text, cr)
    const end = cr === -1 ? text.length : cr
    if (head.lines.length >= limits.headers) {
      head.fault ||= 'too many headers'
      break
    }
    const kept = head.lines.length
    if (end - at > limits.headerBytes) head.fault ||= 'header too long'
    else {
      const line = folded ? unfold(text.slice(at, end)) : readLine(text, at, end)
      if (line === undefined) head.fault ||= 'malformed header line'
      else head.lines.push(line)
    }
    if (cr === -1 || text.charCodeAt(cr + 1) !== 10 || hasLoneLf(text, at, end, folded)) {
      head.fault ||= 'line break that is not CRLF'
      // What follows can not be told from headers that somebody smuggles in.
      head.lines.length = kept
      if (cr === -1) break
      const next = text.indexOf('\r\n', end)
      if (next === -1) break
      at = next + 2
      continue
    }
    at = end + 2
  }
  return head
}

/** Where the line ends whose first piece ends at `cr`: at the first CR that no white space follows. */
function foldEnd(text: string, cr: number): number {
  while (cr !== -1 && text.charCodeAt(cr + 1) === 10 && (classes[text.charCodeAt(cr + 2)]! & SPACE) !== 0) {
    cr = text.indexOf('\r', cr + 2)
  }
  return cr
}

function hasLoneLf(text: string, start: number, end: number, folded: boolean): boolean {
  let lf = text.indexOf('\n', start)
  while (folded && lf !== -1 && lf < end && text.charCodeAt(lf - 1) === 13) lf = text.indexOf('\n', lf + 1)
  return lf !== -1 && lf < end
}

/** A folded line in one piece, with one space at each fold (RFC 3261 section 7.3.1). */
function unfold(raw: string): Line | undefined {
  const text = raw
    .split('\r\n')
    .map((piece, i) => piece.slice(i === 0 ? 0 : leading(piece), trimEnd(piece, 0, piece.length)))
    .join(' ')
  const line = readLine(text, 0, text.length)
  return line && lineOf(line.name, line.value, line.key)
}

function leading(piece: string): number {
  let at = 0
  while ((classes[piece.charCodeAt(at)]! & SPACE) !== 0) at++
  return at
}

function readStartLine(line: string, limits: Limits): { start: StartLine; fault: string } {
  if (/^sip\/\d/i.test(line)) return { start: readStatusLine(line), fault: '' }
  // Method and version are looked for at the ends, so that a Request-URI with spaces can still be answered 400.
  const end = trimEnd(line, 0, line.length)
  const first = line.indexOf(' ')
  const last = line.lastIndexOf(' ', end - 1)
  const version = line.slice(last + 1, end)
  if (first === last || !isAll(TOKEN, line, 0, first) || !/^sip\/\d{1,9}\.\d{1,9}$/i.test(version)) {
    throw new ParseFailure('no SIP start line')
  }
  const uri = line.slice(first + 1, last)
  const start = { method: line.slice(0, first), uri, version: version.slice(4), status: 0, reason: '' }
  let fault = end === line.length ? '' : 'white space after the SIP version'
  if (uri.length > limits.uriBytes) fault ||= 'Request-URI too long'
  if (/[\r\n]/.test(uri)) throw new ParseFailure('no SIP start line')
  return { start, fault }
}

function readStatusLine(line: string): StartLine {
  const space = line.indexOf(' ')
  const version = line.slice(4, space)
  const status = readNumber(line.slice(space + 1, space + 4), 699)
  const next = line.charCodeAt(space + 4)
  const ends = line.length === space + 4 || next === 32
  const dot = version.indexOf('.')
  const versioned = isAll(DIGIT, version, 0, dot) && isAll(DIGIT, version, dot + 1)
  if (space === -1 || !versioned || status === undefined || status < 100 || !ends || /[\r\n]/.test(line)) {
    throw new ParseFailure('no SIP start line')
  }
  return { method: '', uri: '', version, status, reason: line.slice(space + 5) }
}

/** The body's length in bytes as the headers have it: -1 when absent, NaN when malformed or when two lines disagree. */
export function declaredLength(lines: readonly Line[]): number {
  let length = -1
  for (const line of lines) {
    if (line.key !== 'content-length') continue
    const value = readNumber(line.value, 2 ** 31 - 1)
    if (value === undefined || (length !== -1 && length !== value)) return Number.NaN
    length = value
  }
  return length
}
