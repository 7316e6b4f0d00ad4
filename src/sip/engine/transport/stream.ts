import { constants } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import tls, { type SecureContextOptions } from 'node:tls'
import type { SipConfig } from '../../../config/schema.ts'
import { createFramer } from '../message/framer.ts'
import { ParseFailure } from '../message/message.ts'
import type { Connection, Endpoint, FlowTable, Wire } from './flows.ts'
import type { Receiver } from './receive.ts'

export const keepAliveMs = 30_000

export interface StreamDeps {
  config: Pick<SipConfig, 'limits' | 'connections'>
  flows: FlowTable
  receiver: Receiver
  allowed(address: string): boolean
  onDropped(address: string): void
  advertise(protocol: 'tcp' | 'tls' | 'ws' | 'wss', local: Endpoint, remote: string): { host: string; port: number }
}

/** The server's key and certificate, as the certificates room keeps them; `ca` is trusted when we dial. */
export interface TlsMaterial {
  current(): SecureContextOptions
  onChange(listener: () => void): () => void
}

export interface StreamListener {
  readonly local: Endpoint
  /** New connections get the new certificate; open ones go on as they are. */
  reload?(context: SecureContextOptions): void
  close(): Promise<void>
}

/** What every TLS socket of ours has: no old versions, and no renegotiation, which lets a peer make us calculate for ever. */
export const tlsRules = { minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_RENEGOTIATION } as const

/** Refuses a socket at the accept when its peer may not talk to us or a limit is reached; counts it otherwise. */
export function guardAccept(server: Server, deps: StreamDeps): void {
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress
    const release = address !== undefined && deps.allowed(address) ? deps.flows.admit(address) : undefined
    if (!release) {
      deps.onDropped(address ?? '')
      socket.destroy()
      return
    }
    socket.once('close', release)
    // Errors before the handshake ends concern this peer only.
    socket.on('error', () => {})
  })
}

/** Follows the TLS handshakes of a server; the returned function ends those that are under way, so that nobody waits. */
export function trackHandshakes(server: Server): () => void {
  const underWay = new Map<string, Socket>()
  const keyOf = (socket: Socket) => `${socket.remoteAddress} ${socket.remotePort}`
  server.on('connection', (socket: Socket) => {
    const key = keyOf(socket)
    underWay.set(key, socket)
    socket.once('close', () => {
      if (underWay.get(key) === socket) underWay.delete(key)
    })
  })
  server.on('secureConnection', (socket: Socket) => underWay.delete(keyOf(socket)))
  return () => {
    for (const socket of underWay.values()) socket.destroy()
  }
}

export function listenOn(server: Server, address: string, port: number): Promise<Endpoint> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: address, port, ipv6Only: true, exclusive: true }, () => {
      server.removeListener('error', reject)
      // Later errors are failed accepts (no more file descriptors, say): the peer tries again.
      server.on('error', () => {})
      const bound = server.address()
      resolve({ address, port: typeof bound === 'object' && bound ? bound.port : port })
    })
  })
}

/** Listens for TCP, or for TLS when a secure context is given. */
export async function openStream(
  address: string,
  port: number,
  deps: StreamDeps,
  context?: SecureContextOptions,
): Promise<StreamListener> {
  const accept = (socket: Socket) => {
    if (!socket.destroyed && socket.remoteAddress) serveStream(socket, context ? 'tls' : 'tcp', deps)
  }
  if (!context) {
    const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs })
    guardAccept(server, deps)
    server.on('connection', accept)
    return { local: await listenOn(server, address, port), close: () => closeServer(server) }
  }
  const handshakeTimeout = deps.config.connections.connectSeconds * 1000
  const server = tls.createServer({ ...context, ...tlsRules, handshakeTimeout, noDelay: true })
  guardAccept(server, deps)
  const endHandshakes = trackHandshakes(server)
  server.on('secureConnection', accept)
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  return {
    local: await listenOn(server, address, port),
    reload: next => server.setSecureContext({ ...next, ...tlsRules }),
    close() {
      const closed = closeServer(server)
      endHandshakes()
      return closed
    },
  }
}

export function closeServer(server: Server): Promise<void> {
  return new Promise(resolve => server.close(() => resolve()))
}

/** Reads and writes SIP on a connection that stands; `serverName` is what its certificate was verified for. */
export function serveStream(
  socket: Socket,
  protocol: 'tcp' | 'tls',
  deps: StreamDeps,
  serverName?: string,
): Connection {
  socket.setNoDelay(true)
  const local = { address: socket.localAddress ?? '', port: socket.localPort ?? 0 }
  const remote = { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 }
  const advertised = deps.advertise(protocol, local, remote.address)
  const connection = deps.flows.open({ protocol, local, remote, advertised, serverName }, wireOf(socket))
  const framer = createFramer(deps.config.limits, {
    onMessage(bytes) {
      if (!connection.closed && !deps.receiver.message(bytes, connection)) connection.close()
    },
    onPing: () => connection.pong(),
  })
  socket.on('data', chunk => {
    if (connection.closed) return
    connection.touch()
    try {
      framer.push(chunk)
    } catch (error) {
      if (!(error instanceof ParseFailure)) throw error
      // What follows can not be told from the wreck: report it, so that a request is still answered 400, and hang up.
      deps.receiver.malformed(error, connection)
      connection.close()
    }
  })
  // A reset or a broken pipe ends this connection; 'close' follows and says so.
  socket.on('error', () => connection.destroy())
  socket.on('end', () => connection.close())
  socket.on('close', () => connection.ended())
  return connection
}

function wireOf(socket: Socket): Wire {
  return {
    queued: () => socket.writableLength,
    write: (bytes, done) => socket.write(bytes, done),
    end: () => socket.destroySoon(),
    destroy: () => socket.destroy(),
  }
}
