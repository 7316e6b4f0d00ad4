import type { Limits } from '../../../config/schema.ts'
// Temporary declarations of the API; to be replaced by the implementation.
/** Cuts a byte stream into messages by Content-Length (RFC 3261 section 18.3). */
export interface Framer {
  /** Throws ParseFailure when the stream can not be cut any more (bad or missing Content-Length, limit broken): close the connection. */
  push(chunk: Buffer): void
}
export declare function createFramer(
  limits: Limits,
  to: { onMessage(bytes: Buffer): void; /** CRLF CRLF came between messages (RFC 5626 section 3.5.1). */ onPing(): void },
): Framer
