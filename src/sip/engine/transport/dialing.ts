import { isIP, type Socket, connect as tcpConnect } from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import type { Connection } from './flows.ts'
import { keepAliveMs, type StreamDeps, serveStream, type TlsMaterial, tlsRules } from './stream.ts'
import type { Target } from './transport.ts'

type StreamTarget = Target & { protocol: 'tcp' | 'tls' }

export interface Dialer {
  /** A new connection to `target`, shared by all who ask meanwhile; rejects with the reason when there is none. */
  dial(target: StreamTarget): Promise<Connection>
  /** The authorities may have changed. */
  reload(): void
  /** Gives up what is being dialled, and resolves when that has been told. */
  close(): Promise<void>
}

/** Opens TCP and TLS connections. Certificates are verified by the system's authorities and our own. */
export function createDialer(deps: StreamDeps, material?: TlsMaterial): Dialer {
  const pending = new Map<string, Promise<Connection>>()
  const sockets = new Set<Socket>()
  let trusted: string[] | undefined
  function trust(): string[] {
    trusted ??= [...tls.getCACertificates('default'), ...[material?.current().ca ?? []].flat().map(String)]
    return trusted
  }
  return {
    dial(target) {
      const key = `${target.protocol} ${target.address} ${target.port} ${target.serverName ?? ''}`
      let found = pending.get(key)
      if (!found) {
        found = connect(target, deps, sockets, trust).finally(() => pending.delete(key))
        pending.set(key, found)
      }
      return found
    },
    reload: () => (trusted = undefined),
    async close() {
      for (const socket of sockets) socket.destroy(new Error('the transports are closing'))
      await Promise.allSettled(pending.values())
    },
  }
}

function connect(
  target: StreamTarget,
  deps: StreamDeps,
  dialling: Set<Socket>,
  trust: () => string[],
): Promise<Connection> {
  const { protocol, address, port } = target
  const release = deps.flows.admit(address)
  if (!release) return Promise.reject(new Error(`too many connections to open one to ${address}`))
  return new Promise((resolve, reject) => {
    const socket = protocol === 'tls' ? dialTls(target, trust()) : tcpConnect(port, address)
    dialling.add(socket)
    const seconds = deps.config.connections.connectSeconds
    const late = () => socket.destroy(new Error(`${protocol} ${address}:${port} did not answer in ${seconds} s`))
    const timer = setTimeout(late, seconds * 1000)
    const settled = () => {
      clearTimeout(timer)
      dialling.delete(socket)
    }
    socket.once('error', reject)
    socket.once(protocol === 'tls' ? 'secureConnect' : 'connect', () => {
      settled()
      socket.removeListener('error', reject)
      socket.setKeepAlive(true, keepAliveMs)
      resolve(serveStream(socket, protocol, deps, target.serverName ?? address))
    })
    socket.once('close', () => {
      settled()
      release()
      reject(new Error(`${protocol} ${address}:${port} closed the connection`))
    })
  })
}

function dialTls(target: Target, ca: string[]): TLSSocket {
  // A name goes into SNI and is what the certificate must hold; an address can not go there (RFC 6066 section 3).
  const name = target.serverName !== undefined && isIP(target.serverName) === 0 ? target.serverName : undefined
  const named = name === undefined ? {} : { servername: name }
  return tls.connect({ host: target.address, port: target.port, ca, ...named, ...tlsRules })
}
