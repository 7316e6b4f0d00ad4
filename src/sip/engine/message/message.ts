import type { Uri } from './uri.ts'
// Temporary declarations of the API; to be replaced by the implementation.
export interface NameAddr {
  /** Display name, unquoted and unescaped, still latin1 byte text; undefined when absent. */
  display: string | undefined
  /** URI text as received. */
  uriText: string
  /** Parsed on first use; undefined when invalid. */
  readonly uri: Uri | undefined
  /** Header parameters (after '>'), names lower case. */
  params: Map<string, string | undefined>
}
export interface Via {
  /** 'UDP', 'TCP', 'TLS', 'WS', 'WSS' as received, upper case. */
  transport: string
  host: string
  port: number | undefined
  params: Map<string, string | undefined>
  readonly branch: string | undefined
}
export declare class SipMessage {
  readonly isRequest: boolean
  /** Of a response: the method of its CSeq. */
  readonly method: string
  /** Request-URI text; '' in a response. Writable: retargeting. */
  uri: string
  /** 0 in a request. */
  readonly status: number
  readonly reason: string
  body: Buffer
  /** Latin1 text of all values of that name joined by ', ' is NOT what this gives: it is the first header line's value, unfolded and trimmed. */
  get(name: string): string | undefined
  /** Every value: lines of the name, split at commas for headers that are lists. */
  getAll(name: string): string[]
  has(name: string): boolean
  /** Replaces all lines of that name, at the first one's place, else at the end. */
  set(name: string, value: string | readonly string[]): void
  prepend(name: string, value: string): void
  append(name: string, value: string): void
  remove(name: string): void
  /** Takes the first value (not line) off. */
  removeFirst(name: string): void
  /** Replaces the first value (not line). */
  replaceFirst(name: string, value: string): void
  /** Header lines in order, names as received. */
  headers(): Iterable<[name: string, value: string]>
  // Parsed on first use, cached until that header changes. They throw ParseFailure when malformed; after `checkMessage`
  // returned undefined those of mandatory headers never throw.
  get via(): Via
  get from(): NameAddr
  get to(): NameAddr
  get fromTag(): string | undefined
  get toTag(): string | undefined
  get callId(): string
  get cseq(): { number: number; method: string }
  /** '*' for Contact: *. */
  get contacts(): NameAddr[] | '*'
  get routes(): NameAddr[]
  get recordRoutes(): NameAddr[]
  get maxForwards(): number | undefined
  get requestUri(): Uri | undefined
  clone(): SipMessage
  /** Start line, headers, right Content-Length, empty line, body. */
  toBuffer(): Buffer
}
export declare class ParseFailure extends Error {
  /** What could be read; undefined when not even the start line could. */
  readonly partial: SipMessage | undefined
  constructor(reason: string, partial?: SipMessage)
}
export declare function createRequest(method: string, uri: string): SipMessage
/** A response with Via (all), From, To, Call-ID and CSeq of the request (RFC 3261 section 8.2.6), Timestamp for 100. */
export declare function createResponse(request: SipMessage, status: number, reason?: string): SipMessage
export declare function reasonPhrase(status: number): string
/** Parses a From, To, Contact, Route … value. Throws ParseFailure. */
export declare function parseNameAddr(text: string): NameAddr
export declare function formatNameAddr(value: { display?: string | undefined; uriText: string; params?: ReadonlyMap<string, string | undefined> }): string
