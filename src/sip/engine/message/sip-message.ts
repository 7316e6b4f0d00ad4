import { cleanUri, cleanValue } from './clean.ts'
import { isList, keyOf, type Line, lineOf, makeLine } from './headers.ts'
import { type NameAddr, readNameAddr } from './name-addr.ts'
import { classes, elementEnd, isAll, readNumber, SPACE, skip, splitList, TOKEN } from './syntax.ts'
import { parseUri, type Uri } from './uri.ts'
import { readVia, type Via } from './via.ts'

/** What a message is not: `message` says in plain words why. The only thing that reading a stranger's bytes throws. */
export class ParseFailure extends Error {
  override readonly name = 'ParseFailure'
  /** What could be read; undefined when not even the start line could. */
  readonly partial: SipMessage | undefined

  constructor(reason: string, partial?: SipMessage) {
    super(reason)
    this.partial = partial
  }
}

/** Limits on what is read later than the message itself; the slice of `sip.limits` that a message keeps. */
export interface ValueLimits {
  readonly values: number
  readonly uriBytes: number
  readonly parameters: number
}
/** Those of text that did not come in a message. */
export const ordinary: ValueLimits = { values: 64, uriBytes: 2048, parameters: 64 }

export interface StartLine {
  /** '' in a response. */
  method: string
  uri: string
  /** '2.0' as received. */
  version: string
  /** 0 in a request. */
  status: number
  reason: string
}

interface Parsed {
  via?: Via
  from?: NameAddr
  to?: NameAddr
  cseq?: { number: number; method: string }
  contact?: NameAddr[] | '*'
  route?: NameAddr[]
  'record-route'?: NameAddr[]
}

const empty = Buffer.alloc(0)

/**
 * A request or response. Header text is byte text: one character is one byte, so what is not understood is written back
 * as it came; `utf8` and `bytes` turn it into what a person reads and back.
 */
export class SipMessage {
  readonly isRequest: boolean
  /** SIP version as received; always written as 2.0. */
  readonly version: string
  /** 0 in a request. */
  readonly status: number
  readonly reason: string
  readonly #method: string
  #uri: string
  #lines: Line[]
  #parsed: Parsed = {}
  readonly #limits: ValueLimits
  body: Buffer

  constructor(start: StartLine, lines: Line[] = [], body: Buffer = empty, limits: ValueLimits = ordinary) {
    this.isRequest = start.status === 0
    this.version = start.version
    this.status = start.status
    this.reason = start.reason
    this.#method = start.method
    this.#uri = start.uri
    this.#lines = lines
    this.#limits = limits
    this.body = body
  }

  /** Of a response: the method of its CSeq, '' when that is malformed. */
  get method(): string {
    if (this.isRequest) return this.#method
    return (this.#parsed.cseq ?? readCseq(this.get('cseq') ?? ''))?.method ?? ''
  }

  /** Request-URI text; '' in a response. Writable: retargeting. */
  get uri(): string {
    return this.#uri
  }

  set uri(value: string) {
    this.#uri = cleanUri(value)
  }

  /** Most values that one header may have. */
  get mostValues(): number {
    return this.#limits.values
  }

  #first(key: string): number {
    const lines = this.#lines
    for (let i = 0; i < lines.length; i++) if (lines[i]!.key === key) return i
    return -1
  }

  #changed(key: string) {
    if (key in this.#parsed) delete this.#parsed[key as keyof Parsed]
  }

  /** The first header line's value, unfolded and trimmed. */
  get(name: string): string | undefined {
    return this.#lines[this.#first(keyOf(name))]?.value
  }

  /** Every value: lines of the name, split at commas for headers that are lists; empty ones are left out. */
  getAll(name: string): string[] {
    const key = keyOf(name)
    const list = isList(key)
    const values: string[] = []
    for (const line of this.#lines) {
      if (line.key !== key) continue
      const value = line.value
      if (!list || !value.includes(',')) values.push(value)
      else values.push(...splitList(value))
    }
    return list ? values.filter(value => value !== '') : values
  }

  /** How many lines of that name there are. */
  count(name: string): number {
    const key = keyOf(name)
    let count = 0
    for (const line of this.#lines) if (line.key === key) count++
    return count
  }

  has(name: string): boolean {
    return this.#first(keyOf(name)) !== -1
  }

  /** Replaces all lines of that name, at the first one's place, else at the end. */
  set(name: string, value: string | readonly string[]): void {
    const key = keyOf(name)
    const fresh = (typeof value === 'string' ? [value] : value).map(text => makeLine(name, text, key))
    const first = this.#first(key)
    if (first === -1) this.#lines.push(...fresh)
    else {
      const kept = this.#lines.filter(line => line.key !== key)
      kept.splice(first, 0, ...fresh)
      this.#lines = kept
    }
    this.#changed(key)
  }

  /** Adds a line before the first of that name; where there is none, a Via comes first and anything else last. */
  prepend(name: string, value: string): void {
    const key = keyOf(name)
    const first = this.#first(key)
    const place = first !== -1 ? first : key === 'via' ? 0 : this.#lines.length
    this.#lines.splice(place, 0, makeLine(name, value, key))
    this.#changed(key)
  }

  /** Adds a line behind the last of that name, else at the end. */
  append(name: string, value: string): void {
    const key = keyOf(name)
    const last = this.#lines.findLastIndex(line => line.key === key)
    this.#lines.splice(last === -1 ? this.#lines.length : last + 1, 0, makeLine(name, value, key))
    this.#changed(key)
  }

  remove(name: string): void {
    const key = keyOf(name)
    if (this.#first(key) === -1) return
    this.#lines = this.#lines.filter(line => line.key !== key)
    this.#changed(key)
  }

  /** Takes the first value (not line) off. */
  removeFirst(name: string): void {
    this.#replace(name, undefined)
  }

  /** Replaces the first value (not line); adds it when there is none. */
  replaceFirst(name: string, value: string): void {
    if (this.has(name)) this.#replace(name, value)
    else this.prepend(name, value)
  }

  #replace(name: string, value: string | undefined) {
    const key = keyOf(name)
    const first = this.#first(key)
    const line = this.#lines[first]
    if (line === undefined) return
    const text = line.value
    const end = isList(key) ? elementEnd(text, 0) : text.length
    const rest = text.slice(skip(SPACE, text, end + 1, text.length))
    const values = [value === undefined ? '' : cleanValue(value), rest].filter(part => part !== '')
    if (values.length === 0) this.#lines.splice(first, 1)
    else this.#lines[first] = lineOf(line.name, values.join(', '), key)
    this.#changed(key)
  }

  /** Header lines in order, names as received. */
  *headers(): Iterable<[name: string, value: string]> {
    for (const line of this.#lines) yield [line.name, line.value]
  }

  /** Keys (long lower-case names) and values of all lines, for checks that look at many headers. */
  lines(): readonly { readonly key: string; readonly value: string }[] {
    return this.#lines
  }

  /** Keeps only the lines whose key is in the set; for responses, which repeat some of the request's. */
  linesOf(keys: ReadonlySet<string>): Line[] {
    return this.#lines.filter(line => keys.has(line.key))
  }

  // Parsed on first use, cached until that header changes. They throw ParseFailure when malformed; after `checkMessage`
  // returned undefined those of mandatory headers never throw. What they return is read, not written: to change a
  // header, format the changed parts and use `set` or `replaceFirst`.

  /** The first Via value. */
  get via(): Via {
    return (this.#parsed.via ??= this.#readVia())
  }

  #readVia(): Via {
    const text = this.#need('Via')
    const via = readVia(text.slice(0, elementEnd(text, 0)).trimEnd(), this.#limits.parameters)
    if (via === undefined) throw new ParseFailure('malformed Via')
    return via
  }

  get from(): NameAddr {
    return (this.#parsed.from ??= this.#address('From'))
  }

  get to(): NameAddr {
    return (this.#parsed.to ??= this.#address('To'))
  }

  get fromTag(): string | undefined {
    return this.from.params.get('tag')
  }

  get toTag(): string | undefined {
    return this.to.params.get('tag')
  }

  get callId(): string {
    return this.#need('Call-ID')
  }

  get cseq(): { number: number; method: string } {
    if (this.#parsed.cseq !== undefined) return this.#parsed.cseq
    const cseq = readCseq(this.#need('CSeq'))
    if (cseq === undefined) throw new ParseFailure('malformed CSeq')
    return (this.#parsed.cseq = cseq)
  }

  /** '*' for Contact: *. */
  get contacts(): NameAddr[] | '*' {
    if (this.#parsed.contact !== undefined) return this.#parsed.contact
    const star = this.count('contact') === 1 && this.get('contact') === '*'
    return (this.#parsed.contact = star ? '*' : this.#addresses('contact'))
  }

  get routes(): NameAddr[] {
    return (this.#parsed.route ??= this.#addresses('route'))
  }

  get recordRoutes(): NameAddr[] {
    return (this.#parsed['record-route'] ??= this.#addresses('record-route'))
  }

  /** Undefined when absent; 0 to 255. */
  get maxForwards(): number | undefined {
    const text = this.get('max-forwards')
    if (text === undefined) return undefined
    const hops = readNumber(text, 255)
    if (hops === undefined) throw new ParseFailure('malformed Max-Forwards')
    return hops
  }

  /** Undefined when it is no valid URI, and in a response. */
  get requestUri(): Uri | undefined {
    return parseUri(this.#uri, this.#limits)
  }

  /** All Via values; throws ParseFailure when one is malformed or there are too many. */
  vias(): Via[] {
    return this.#values('via').map(text => {
      const via = readVia(text, this.#limits.parameters)
      if (via === undefined) throw new ParseFailure('malformed Via')
      return via
    })
  }

  #need(name: string): string {
    const value = this.get(name)
    if (value === undefined || value === '') throw new ParseFailure(`no ${name}`)
    return value
  }

  #address(name: string): NameAddr {
    const address = readNameAddr(this.#need(name), this.#limits)
    if (address === undefined) throw new ParseFailure(`malformed ${name}`)
    return address
  }

  /** Like getAll, but keeps empty elements (RFC 4475 section 3.1.2.1: they are malformed) and counts. */
  #values(key: string): string[] {
    const values: string[] = []
    for (const line of this.#lines) {
      if (line.key !== key) continue
      values.push(...splitList(line.value))
      if (values.length > this.#limits.values) throw new ParseFailure(`too many ${key} values`)
    }
    return values
  }

  #addresses(key: string): NameAddr[] {
    return this.#values(key).map(text => {
      const address = readNameAddr(text, this.#limits)
      if (address === undefined) throw new ParseFailure(`malformed ${key}`)
      return address
    })
  }

  /** A copy that can be changed without changing this one; they share the lines and the body's bytes. */
  clone(): SipMessage {
    const { version, status, reason } = this
    const start = { method: this.#method, uri: this.#uri, version, status, reason }
    return new SipMessage(start, this.#lines.slice(), this.body, this.#limits)
  }

  /** Start line, headers, right Content-Length, empty line, body. */
  toBuffer(): Buffer {
    const length = this.body.length
    let head = this.isRequest ? `${this.#method} ${this.#uri} SIP/2.0\r\n` : `SIP/2.0 ${this.status} ${this.reason}\r\n`
    let counted = false
    for (let i = 0; i < this.#lines.length; i++) {
      let line = this.#lines[i]!
      if (line.key === 'content-length') {
        if (counted) continue
        counted = true
        if (line.value !== String(length)) line = lineOf(line.name, String(length), line.key)
      }
      const start = line.start
      let end = line.end
      // Neighbours that still lie side by side in one text are taken as one piece.
      for (let next = this.#lines[i + 1]; next?.text === line.text && next.start === end; next = this.#lines[i + 1]) {
        if (next.key === 'content-length' && (counted || next.value !== String(length))) break
        counted ||= next.key === 'content-length'
        end = next.end
        i++
      }
      head += line.text.slice(start, end)
    }
    head += counted ? '\r\n' : `Content-Length: ${length}\r\n\r\n`
    const bytes = Buffer.allocUnsafe(head.length + length)
    bytes.write(head, 'latin1')
    if (length > 0) this.body.copy(bytes, head.length)
    return bytes
  }
}

function readCseq(text: string): { number: number; method: string } | undefined {
  let at = 0
  while (at < text.length && (classes[text.charCodeAt(at)]! & SPACE) === 0) at++
  // RFC 3261 section 8.1.1.5: the number is below 2**31.
  const number = readNumber(text.slice(0, at), 2 ** 31 - 1)
  const method = text.slice(skip(SPACE, text, at, text.length))
  return number === undefined || !isAll(TOKEN, method) ? undefined : { number, method }
}
