import type { SipMessage } from '../message/message.ts'
import type { Flow, Target } from '../transport/transport.ts'

// What the layers above see of transactions (RFC 3261 section 17). The four machines stand in files of their own.

export interface ServerTransaction {
  /** UUID, the admin protocol's transaction id. */
  readonly id: string
  readonly request: SipMessage
  readonly flow: Flow
  /** Size of the request on the wire. */
  readonly bytes: number
  readonly invite: boolean
  /** The last status sent; 0 before the first. */
  readonly status: number
  readonly ended: boolean
  /** Sends a response, which must be complete: Via, To tag, Contact … are the dialog layer's work. Ignored after a final one. */
  respond(response: SipMessage): void
  /** Set by the owner; called when a CANCEL matched this INVITE (its 200 and the INVITE's 487 are the owner's work). */
  onCancel?: (cancel: ServerTransaction) => void
  /** Called once for a non-2xx final of an INVITE: the ACK came, or Timer H fired (`false`). */
  onAcknowledged?: (acknowledged: boolean) => void
  /** Called once when the machine is in Terminated. */
  onEnd?: () => void
}

export interface ClientTransactionUser {
  /** Any response, 100 too. Repeats of a final are absorbed, except repeats of a 2xx to an INVITE (RFC 6026 section 7.2). */
  onResponse(response: SipMessage, flow: Flow, bytes: number): void
  /** Timer B or F fired: nobody answered. */
  onTimeout(): void
  /** The request could not be sent, or its connection broke before a final response. */
  onTransportError(error: Error): void
  onEnd?(): void
}

export interface ClientTransaction {
  readonly id: string
  readonly request: SipMessage
  /** The flow that the request went out on. */
  readonly flow: Flow
  readonly invite: boolean
  /** The last status received; 0 before the first. */
  readonly status: number
  readonly ended: boolean
  /**
   * Sends CANCEL for this INVITE (section 9.1): at once when a provisional has come, else as soon as one comes, never
   * after a final. `headers` are added to it (Reason). Returns the CANCEL as built.
   */
  cancel(headers?: [name: string, value: string][]): SipMessage
}

export interface TransactionUser {
  /** A new request, not an ACK, that belongs to no transaction; merged requests (482) never come up. */
  onRequest(transaction: ServerTransaction): void
  /** An ACK that belongs to no INVITE server transaction with a non-2xx final: the ACK of a 2xx, or a stray one. */
  onAck(ack: SipMessage, flow: Flow, bytes: number): void
  /** A response that matches no client transaction (section 18.1.2): a 2xx of an INVITE after its transaction ended, or a stray. */
  onStrayResponse(response: SipMessage, flow: Flow): void
}

export interface TransactionLayer {
  /**
   * Starts a client transaction over `flow`. The request must be complete but for its top Via, which this call puts on
   * with a fresh branch and the flow's advertised address; `tail` ends the branch (a proxy's loop mark). Throws
   * nothing; failures come through `user`.
   */
  send(request: SipMessage, flow: Flow, user: ClientTransactionUser, tail?: string): ClientTransaction
  /** Sends an ACK for a 2xx, or anything else that needs no transaction; puts the Via on. */
  sendStateless(message: SipMessage, flow: Flow): void
  serverTransaction(id: string): ServerTransaction | undefined
  clientTransaction(id: string): ClientTransaction | undefined
  stats(): { server: number; client: number }
  close(): void
}

/** Picks the flow for a target: an open one, or a new connection. */
export type OpenFlow = (target: Target) => Promise<Flow>
