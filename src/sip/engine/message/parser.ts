import type { Limits } from '../../../config/schema.ts'
import type { SipMessage } from './message.ts'
// Temporary declarations of the API; to be replaced by the implementation.
/** Parses one whole message (a datagram, or what the framer cut out). Throws ParseFailure, nothing else. */
export declare function parseMessage(bytes: Buffer, limits: Limits): SipMessage
/**
 * What RFC 3261 demands of a message before anything acts on it, and RFC 4475 of a server: undefined when it is sound;
 * else the answer a request gets (a response is dropped).
 */
export declare function checkMessage(message: SipMessage): { status: number; reason: string } | undefined
