import type { SipMessage } from '../message/message.ts'
import type { ServerTransaction } from '../transaction/transaction.ts'
import type { Flow } from '../transport/transport.ts'

export interface ProxyOptions {
  /** URIs to try, best first. A parameter `fl` names the only flow that may be used. */
  targets: string[]
  /** Stay in the path of the dialog (Record-Route), or of the registration (Path). */
  recordRoute: boolean
  forking: 'serial' | 'simultaneous'
  /** Try the contacts of a 3xx too. */
  followRedirects: boolean
  /** When a target that has not answered at all is passed over, in milliseconds. */
  provisionalTimeoutMs: number | undefined
  /** When a target without a final answer is cancelled, in milliseconds. */
  finalTimeoutMs: number | undefined
  /** Put on each copy; where a header may stand once only, they replace it. */
  headers: [name: string, value: string][]
  /** Called for each final response of a target, as it came. */
  onFinal?(response: SipMessage, flow: Flow, bytes: number, target: string): void
  /** Called once, when the caller has a final answer and no branch is open; `error` says why nothing was forwarded. */
  onDone(error?: string): void
  /** Called instead of an answer when no target has said anything at all; the transaction is the caller's again. */
  onUnheard?(): void
}

/** A stateful proxy (RFC 3261 section 16). */
export interface ProxyLayer {
  /** Forwards a request that nobody has answered yet. From now on the transaction is the proxy's. */
  start(transaction: ServerTransaction, options: ProxyOptions): void
  /** Whether the message follows a Record-Route or Path that this process wrote: then `forward` or `forwardAck` is for it. */
  isForUs(message: SipMessage): boolean
  /**
   * Forwards a request by its Route; answers 481 when the Route is not one that we wrote. `unheard` takes the request when
   * it was for another of our nodes, and that one has said nothing at all.
   */
  forward(transaction: ServerTransaction, unheard?: () => void): void
  /** The ACK of a 2xx to a re-INVITE that an application had proxied; false when it is none. */
  followAck(ack: SipMessage): boolean
  /** The same for the ACK of a 2xx, which needs no transaction; dropped when it can not go on. */
  forwardAck(ack: SipMessage, flow: Flow): void
  stats(): { contexts: number }
  close(): void
}
