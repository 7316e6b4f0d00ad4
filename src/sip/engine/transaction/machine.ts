import type { Logger } from '../../../log.ts'
import type { SipMessage } from '../message/message.ts'
import type { Flow, Target } from '../transport/transport.ts'
import type { Timers } from './timers.ts'
import type { OpenFlow } from './transaction.ts'

/** What a machine gets from the layer. */
export interface Ground {
  timers: Timers
  /** How long an application may leave an INVITE without a final answer, in milliseconds. */
  unansweredMs: number
  openFlow: OpenFlow
  log: Logger
}

/** Starts a timer that does not hold the process. */
export function after(ms: number, fired: () => void): NodeJS.Timeout {
  return setTimeout(fired, ms).unref()
}

/** Where a response goes when the connection of its request is closed (RFC 3261 section 18.2.2). */
export function returnTarget(request: SipMessage, flow: Flow): Target {
  const via = request.via
  return {
    protocol: flow.protocol,
    address: via.params.get('received') ?? via.host,
    port: via.port ?? (flow.protocol === 'tls' ? 5061 : 5060),
  }
}

/**
 * Sends a response over the request's connection, or over a new one when that is closed. A lost datagram is left to
 * the timers; `failed` says that a response over a connection can not be delivered.
 */
export function reply(ground: Ground, flow: Flow, request: SipMessage, bytes: Buffer, failed: (error: Error) => void) {
  if (!flow.reliable) {
    flow.send(bytes, error => ground.log.debug({ error, flow: flow.id }, 'response not sent'))
    return
  }
  const again = () => {
    ground
      .openFlow(returnTarget(request, flow))
      .then(other => other.send(bytes, failed))
      .catch(failed)
  }
  if (flow.closed) again()
  else flow.send(bytes, again)
}
