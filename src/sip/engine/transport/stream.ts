import { constants } from 'node:crypto'
import { createServer, isIP, type Server, type Socket, connect as tcpConnect } from 'node:net'
import tls, { type SecureContextOptions, type TLSSocket } from 'node:tls'
import type { SipConfig } from '../../../config/schema.ts'
import { createFramer } from '../message/framer.ts'
import { ParseFailure } from '../message/message.ts'
import type { Connection, Endpoint, FlowTable, Wire } from './flows.ts'
import type { Receiver } from './receive.ts'
import type { Target } from './transport.ts'

const keepAliveMs = 30_000

export interface StreamDeps {
  config: Pick<SipConfig, 'limits' | 'connections'>
  flows: FlowTable
  receiver: Receiver
  allowed(address: string): boolean
  onDropped(address: string): void
  advertise(protocol: 'tcp' | 'tls' | 'ws' | 'wss', local: Endpoint, remote: string): { host: string; port: number }
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
    if (!socket.destroyed && socket.remoteAddress) serve(socket, context ? 'tls' : 'tcp', deps)
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
  server.on('secureConnection', accept)
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  return {
    local: await listenOn(server, address, port),
    reload: next => server.setSecureContext({ ...next, ...tlsRules }),
    close: () => closeServer(server),
  }
}

export function closeServer(server: Server): Promise<void> {
  return new Promise(resolve => server.close(() => resolve()))
}

/** Opens a connection to `target`; rejects with the reason when it is refused, too slow, or its certificate is wrong. */
export function dial(
  target: Target & { protocol: 'tcp' | 'tls' },
  deps: StreamDeps,
  trusted: () => string[],
): Promise<Connection> {
  const release = deps.flows.admit(target.address)
  if (!release) return Promise.reject(new Error(`too many connections to open one to ${target.address}`))
  return new Promise((resolve, reject) => {
    const socket = target.protocol === 'tls' ? dialTls(target, trusted()) : tcpConnect(target.port, target.address)
    const seconds = deps.config.connections.connectSeconds
    const timer = setTimeout(() => {
      socket.destroy(new Error(`${target.protocol} ${target.address}:${target.port} did not answer in ${seconds} s`))
    }, seconds * 1000)
    socket.once('close', release)
    socket.once('error', reject)
    socket.once(target.protocol === 'tls' ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer)
      socket.removeListener('error', reject)
      socket.setKeepAlive(true, keepAliveMs)
      resolve(serve(socket, target.protocol, deps, target.serverName ?? target.address))
    })
    socket.once('close', () => {
      clearTimeout(timer)
      reject(new Error(`${target.protocol} ${target.address}:${target.port} closed the connection`))
    })
  })
}

function dialTls(target: Target, ca: string[]): TLSSocket {
  // A name goes into SNI and is what the certificate must hold; an address can not go there (RFC 6066 section 3).
  const name = target.serverName !== undefined && isIP(target.serverName) === 0 ? target.serverName : undefined
  const named = name === undefined ? {} : { servername: name }
  return tls.connect({ host: target.address, port: target.port, ca, ...named, ...tlsRules })
}

function serve(socket: Socket, protocol: 'tcp' | 'tls', deps: StreamDeps, serverName?: string): Connection {
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
