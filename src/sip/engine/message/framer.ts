import type { Limits } from '../../../config/schema.ts'
import { ParseFailure, SipMessage } from './message.ts'
import { declaredLength, readHead } from './parser.ts'

/** Cuts a byte stream into messages by Content-Length (RFC 3261 section 18.3). */
export interface Framer {
  /** Throws ParseFailure when the stream can not be cut any more (bad or missing Content-Length, limit broken): close the connection. */
  push(chunk: Buffer): void
}

const none = Buffer.alloc(0)
const CR = 13
const LF = 10

class StreamFramer implements Framer {
  readonly #limits: Limits
  readonly #to: { onMessage(bytes: Buffer): void; onPing(): void }
  /** Bytes start..end are waiting. What lies before `start` belongs to messages already given away and is never written again. */
  #store: Buffer = none
  #start = 0
  #end = 0
  /** Whether `store` was made here, so that bytes may be written behind `end`. */
  #own = false
  /** How far from `start` no empty line has been found. */
  #scanned = 0
  /** Size of the message at `start`; 0 while its headers are incomplete. */
  #size = 0
  /** Whether a CRLF came since the last message or ping. */
  #half = false
  #failure: ParseFailure | undefined

  constructor(limits: Limits, to: { onMessage(bytes: Buffer): void; onPing(): void }) {
    this.#limits = limits
    this.#to = to
  }

  push(chunk: Buffer): void {
    if (this.#failure !== undefined) throw this.#failure
    this.#add(chunk)
    try {
      while (this.#cut());
    } catch (error) {
      if (error instanceof ParseFailure) {
        this.#failure = error
        this.#store = none
      }
      throw error
    }
    if (this.#start === this.#end) {
      this.#store = none
      this.#start = this.#end = 0
      this.#own = false
    }
  }

  #add(chunk: Buffer) {
    const waiting = this.#end - this.#start
    if (waiting === 0) {
      this.#store = chunk
      this.#start = 0
      this.#end = chunk.length
      this.#own = false
      return
    }
    if (!this.#own || this.#end + chunk.length > this.#store.length) {
      // Twice the need, so that a stream that comes byte by byte is copied a constant number of times.
      const store = Buffer.allocUnsafe(2 * (waiting + chunk.length))
      this.#store.copy(store, 0, this.#start, this.#end)
      this.#store = store
      this.#start = 0
      this.#end = waiting
      this.#own = true
    }
    chunk.copy(this.#store, this.#end)
    this.#end += chunk.length
  }

  /** Takes one message or one CRLF off the front; false when more bytes are needed. */
  #cut(): boolean {
    const waiting = this.#end - this.#start
    if (waiting === 0) return false
    if (this.#size === 0) {
      if (this.#store[this.#start] === CR) return this.#keepAlive(waiting)
      if (!this.#findSize(waiting)) return false
    }
    if (waiting < this.#size) return false
    const bytes = this.#store.subarray(this.#start, this.#start + this.#size)
    this.#start += this.#size
    this.#scanned = this.#size = 0
    this.#half = false
    this.#to.onMessage(bytes)
    return true
  }

  #keepAlive(waiting: number): boolean {
    if (waiting < 2) return false
    if (this.#store[this.#start + 1] !== LF) throw new ParseFailure('no SIP start line')
    this.#start += 2
    this.#half = !this.#half
    if (!this.#half) this.#to.onPing()
    return true
  }

  #findSize(waiting: number): boolean {
    const from = this.#start + Math.max(0, this.#scanned - 3)
    const found = this.#store.subarray(0, this.#end).indexOf('\r\n\r\n', from, 'latin1')
    const headLength = found === -1 ? waiting : found + 4 - this.#start
    if (headLength > this.#limits.messageBytes) throw new ParseFailure('message too long')
    this.#scanned = waiting
    if (found === -1) return false
    this.#size = headLength + this.#bodyLength(headLength)
    return true
  }

  #bodyLength(headLength: number): number {
    const { start, lines } = readHead(
      this.#store.toString('latin1', this.#start, this.#start + headLength - 2),
      this.#limits,
    )
    const length = declaredLength(lines)
    const refuse = (reason: string) => new ParseFailure(reason, new SipMessage(start, lines, undefined, this.#limits))
    if (Number.isNaN(length)) throw refuse('malformed Content-Length')
    if (headLength + length > this.#limits.messageBytes) throw refuse('message too long')
    // RFC 3261 section 20.14 demands it on streams; a message that names no type of body can do without.
    if (length === -1 && lines.some(line => line.key === 'content-type')) throw refuse('no Content-Length')
    return Math.max(0, length)
  }
}

/** A framer for one connection; it holds at most one message, and nothing between messages. */
export function createFramer(
  limits: Limits,
  to: {
    onMessage(bytes: Buffer): void
    /** CRLF CRLF came between messages (RFC 5626 section 3.5.1). */
    onPing(): void
  },
): Framer {
  return new StreamFramer(limits, to)
}
