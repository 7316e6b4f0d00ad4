import { isUtf8 } from 'node:buffer'
import { createServer, type IncomingMessage } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { SecureContextOptions } from 'node:tls'
import { type WebSocket, WebSocketServer } from 'ws'
import { ParseFailure } from '../message/message.ts'
import type { Wire } from './flows.ts'
import {
  closeServer,
  guardAccept,
  listenOn,
  type StreamDeps,
  type StreamListener,
  tlsRules,
  trackHandshakes,
} from './stream.ts'

export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer, secure: boolean) => void

/**
 * Takes WebSocket upgrades from any HTTP server (RFC 7118). A client that does not offer the sub-protocol `sip` gets
 * 400, one that may not talk to us 403, one above a limit 503. `counted`: the socket was counted at its accept.
 */
export function createUpgrade(deps: StreamDeps, counted: boolean): { accept: Upgrade; close(): void } {
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: deps.config.limits.messageBytes,
    handleProtocols: offered => (offered.has('sip') ? 'sip' : false),
  })
  return {
    close: () => sockets.close(),
    accept(request, socket, head, secure) {
      const address = plain(request.socket.remoteAddress)
      if (!deps.allowed(address)) {
        deps.onDropped(address)
        return refuse(socket, '403 Forbidden')
      }
      if (!offersSip(request)) return refuse(socket, '400 Bad Request')
      if (!counted) {
        const release = deps.flows.admit(address)
        if (!release) return refuse(socket, '503 Service Unavailable')
        socket.once('close', release)
      }
      sockets.handleUpgrade(request, socket, head, websocket => serve(websocket, request.socket, secure, deps))
    },
  }
}

function offersSip(request: IncomingMessage): boolean {
  const offered = request.headers['sec-websocket-protocol'] ?? ''
  return offered.split(',').some(name => name.trim() === 'sip')
}

function refuse(socket: Duplex, status: string): void {
  socket.on('error', () => {})
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy())
}

/** A WebSocket listener of its own; secure when a context is given. */
export async function openWebSocket(
  address: string,
  port: number,
  deps: StreamDeps,
  context?: SecureContextOptions,
): Promise<StreamListener> {
  const headersTimeout = deps.config.connections.connectSeconds * 1000
  const timeouts = { headersTimeout, requestTimeout: headersTimeout, connectionsCheckingInterval: 1000 }
  const secure =
    context && createSecureServer({ ...context, ...tlsRules, ...timeouts, handshakeTimeout: headersTimeout })
  const server = secure ?? createServer(timeouts)
  const upgrade = createUpgrade(deps, true)
  guardAccept(server, deps)
  const endHandshakes = secure && trackHandshakes(secure)
  server.on('upgrade', (request, socket, head) => upgrade.accept(request, socket, head, context !== undefined))
  server.on('request', (_request, response) => response.writeHead(426, { Upgrade: 'websocket' }).end())
  return {
    local: await listenOn(server, address, port),
    ...(secure && { reload: (next: SecureContextOptions) => secure.setSecureContext({ ...next, ...tlsRules }) }),
    close() {
      const closed = closeServer(server)
      server.closeAllConnections()
      endHandshakes?.()
      upgrade.close()
      return closed
    },
  }
}

function serve(websocket: WebSocket, socket: Socket, secure: boolean, deps: StreamDeps): void {
  const protocol = secure ? 'wss' : 'ws'
  const local = { address: plain(socket.localAddress), port: socket.localPort ?? 0 }
  const remote = { address: plain(socket.remoteAddress), port: socket.remotePort ?? 0 }
  const advertised = deps.advertise(protocol, local, remote.address)
  socket.setNoDelay(true)
  const connection = deps.flows.open({ protocol, local, remote, advertised }, wireOf(websocket, socket))
  websocket.on('message', data => {
    if (connection.closed) return
    connection.touch()
    const bytes = data as Buffer
    if (isLineEnds(bytes)) {
      if (bytes.length >= 4) connection.pong()
    } else if (!deps.receiver.message(bytes, connection)) connection.close()
  })
  websocket.on('ping', () => connection.touch())
  websocket.on('pong', () => connection.touch())
  websocket.on('error', error => {
    // The library found a frame that is too large or no WebSocket frame at all; it closes by itself.
    if (!connection.closed) deps.receiver.malformed(new ParseFailure(error.message), connection)
    connection.close()
  })
  websocket.on('close', () => connection.ended())
}

/** An HTTP server that listens on `::` for both families reports IPv4 peers as mapped addresses (RFC 4291 section 2.5.5.2). */
function plain(address = ''): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
}

function isLineEnds(bytes: Buffer): boolean {
  if (bytes.length > 4) return false
  for (const byte of bytes) if (byte !== 0x0d && byte !== 0x0a) return false
  return true
}

function wireOf(websocket: WebSocket, socket: Socket): Wire {
  return {
    queued: () => websocket.bufferedAmount,
    // Text is what every browser's SIP library reads; a body that is no UTF-8 needs a binary frame (RFC 6455 section 5.6).
    write: (bytes, done) => websocket.send(bytes, { binary: !isUtf8(bytes) }, done),
    end: () => websocket.close(1000),
    destroy: () => {
      websocket.terminate()
      socket.destroy()
    },
    probe: () => websocket.ping(),
  }
}
