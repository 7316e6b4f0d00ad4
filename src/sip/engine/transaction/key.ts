import { randomBytes } from 'node:crypto'
import type { SipMessage } from '../message/message.ts'

/** Marks a branch as made by this process, after the cookie of RFC 3261 section 8.1.1.7. */
export const ownCookie = `z9hG4bKv${randomBytes(4).toString('hex')}`

/** A fresh branch; `tail` carries what a proxy recognises a loop by (section 16.6 step 8). */
export function newBranch(tail = ''): string {
  return `${ownCookie}${randomBytes(9).toString('hex')}${tail && `.${tail}`}`
}

/** The key of a server transaction (RFC 3261 section 17.2.3). An ACK belongs to the INVITE that it acknowledges. */
export function serverKey(message: SipMessage, method = message.method === 'ACK' ? 'INVITE' : message.method): string {
  const via = message.via
  const branch = via.branch
  const sentBy = `${via.host.toLowerCase()}:${via.port ?? ''}`
  if (branch?.startsWith('z9hG4bK')) return `${branch} ${sentBy} ${method}`
  // RFC 2543: no unique branch. The To tag is left out, as that of an ACK is the response's.
  return `${message.uri} ${message.fromTag ?? ''} ${message.callId} ${message.cseq.number} ${sentBy} ${branch ?? ''} ${method}`
}

/** The key of a client transaction (section 17.1.3): our branch and the method of CSeq. */
export function clientKey(branch: string, method: string): string {
  return `${branch} ${method}`
}

/** What two copies of one request that came by different paths share (section 8.2.2.2); undefined within a dialog. */
export function mergeKey(request: SipMessage): string | undefined {
  if (request.toTag !== undefined) return undefined
  return `${request.callId} ${request.cseq.number} ${request.method} ${request.fromTag ?? ''}`
}
