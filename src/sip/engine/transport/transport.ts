import type { Protocol } from '../../../events.ts'
import type { ParseFailure, SipMessage } from '../message/message.ts'

// The seam between bytes and messages. A Flow is one way to one peer: a connection of a stream transport, or the pair
// (our socket, the peer's address) over UDP (RFC 5626 section 2). Layers above see messages and flows, never sockets.

/** Where a message should go, after name resolution. */
export interface Target {
  protocol: Protocol
  /** IPv4 or IPv6 address, IPv6 without brackets. */
  address: string
  port: number
  /** Name that the peer's TLS certificate must hold; the address when absent. */
  serverName?: string
}

export interface Flow {
  /** Unique in this process; for a stream it names one connection for ever, so a re-used port is never mistaken for it. */
  readonly id: string
  readonly protocol: Protocol
  /** Our end of the socket. */
  readonly local: { address: string; port: number }
  readonly remote: { address: string; port: number }
  /** True for all but UDP: no retransmissions are needed (RFC 3261 section 17). */
  readonly reliable: boolean
  readonly closed: boolean
  /** What peers should be told to reach us over this protocol and interface: for Via, Contact and Record-Route. */
  readonly advertised: { host: string; port: number }
  /** Writes one whole message. `failed` is called at most once, later, when it could not be sent; send never throws. */
  send(bytes: Buffer, failed?: (error: Error) => void): void
  /** Closes the connection; nothing over UDP. */
  close(): void
}

/** What the transport layer tells the layer above; registered once, before `listen`. */
export interface TransportUser {
  /** A message that parsed. `bytes` is its size on the wire. The top Via of a request already has received and rport. */
  onMessage(message: SipMessage, flow: Flow, bytes: number): void
  /** Something that did not parse; `failure.partial` holds what could be read, so that a request can be answered 400. */
  onMalformed(failure: ParseFailure, flow: Flow): void
  onFlowClosed(flow: Flow): void
}

/** One listening point, as the admin protocol and Contact headers name it. */
export interface ListeningPoint {
  protocol: Protocol
  address: string
  port: number
  advertised: { host: string; port: number }
}

export interface TransportLayer {
  /** Opens all configured listeners; rejects with an error that names the port in use. */
  listen(): Promise<void>
  /** All open listeners. */
  points(): ListeningPoint[]
  /** The open flow to this target, if there is one. Over UDP there always is one while a socket of that family listens. */
  find(target: Target): Flow | undefined
  flowById(id: string): Flow | undefined
  /** The open flow to this target, or a new connection. Rejects when none can be had (ws and wss are never dialled). */
  open(target: Target): Promise<Flow>
  /** True when host and port name one of our own listeners. */
  isOwn(host: string, port: number, protocol?: Protocol): boolean
  stats(): { flows: number; byProtocol: Record<Protocol, number> }
  close(): Promise<void>
}
