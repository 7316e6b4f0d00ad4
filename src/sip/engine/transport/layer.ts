import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import tls, { type SecureContextOptions } from 'node:tls'
import type { SipConfig } from '../../../config/schema.ts'
import type { Events, Protocol } from '../../../events.ts'
import type { Logger } from '../../../log.ts'
import { createAllowed } from '../../../network/allowed.ts'
import type { AddressWatch, LocalAddress } from '../../../network/interfaces.ts'
import { type Connection, createFlowTable, type Endpoint } from './flows.ts'
import { createReceiver } from './receive.ts'
import { chooseSource, findDefaultSource } from './route.ts'
import { dial, openStream, type StreamDeps, type StreamListener } from './stream.ts'
import type { Flow, ListeningPoint, Target, TransportLayer, TransportUser } from './transport.ts'
import { openUdp, readUdpId, type UdpListener } from './udp.ts'
import { createUpgrade, openWebSocket } from './websocket.ts'

const protocols = ['udp', 'tcp', 'tls', 'ws', 'wss'] as const
const retryMs = 2000

/** The server's key and certificate, as the certificates room keeps them. */
export interface TlsMaterial {
  current(): SecureContextOptions
  onChange(listener: () => void): () => void
}

export interface TransportDeps {
  config: Pick<SipConfig, Protocol | 'limits' | 'connections'>
  addresses: Pick<AddressWatch, 'current' | 'onChange'>
  allowed(address: string): boolean
  /** Given to peers outside the LAN; '' or absent: the interface's own address. */
  publicAddress?: string
  /** Needed when `tls` or `wss` is on. */
  tls?: TlsMaterial
  user: TransportUser
  events: Events
  log: Logger
  /** Every protocol whose port is not 0 listens on a free port. */
  ports?: 'ephemeral'
}

export interface SipTransports extends TransportLayer {
  /** Takes a WebSocket upgrade from an HTTP server, for `/sip` on the HTTP and HTTPS ports. */
  acceptUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, secure: boolean): void
  /** `flows` are connections; `udp` counts sockets; `dropped` what came from peers that may not talk to us or above a limit. */
  stats(): { flows: number; byProtocol: Record<Protocol, number>; dropped: number }
}

interface Listener {
  protocol: Protocol
  address: LocalAddress
  local: Endpoint
  udp?: UdpListener
  reload?: StreamListener['reload']
  close(): Promise<void>
}

/** The SIP transports: one socket for each address and protocol, and every connection (RFC 3261 section 18). */
export function createTransportLayer(deps: TransportDeps): SipTransports {
  const { config, user, events, log } = deps
  const listeners = new Map<string, Listener>()
  const dialing = new Map<string, Promise<Connection>>()
  const upgradePorts = new Set<number>()
  const isLan = createAllowed([])
  let defaults: string[] = []
  let dropped = 0
  let closed = false
  let work: Promise<void> = Promise.resolve()
  let retry: NodeJS.Timeout | undefined
  let trusted: string[] | undefined
  const unsubscribe: (() => void)[] = []

  const receiver = createReceiver({ limits: config.limits, user, events, log })
  const fact = (connection: Connection) => {
    return { flow: connection.id, protocol: connection.protocol, source: connection.remote.address }
  }
  const flows = createFlowTable({
    most: config.connections.most,
    mostPerAddress: config.connections.mostPerAddress,
    idleMs: config.connections.idleSeconds * 1000,
    onOpened: connection => events.emit('flowOpened', fact(connection)),
    onSent: receiver.sent,
    onClosed(connection) {
      events.emit('flowClosed', fact(connection))
      user.onFlowClosed(connection)
    },
  })
  const shared: StreamDeps = {
    config,
    flows,
    receiver,
    allowed: deps.allowed,
    onDropped(source) {
      dropped++
      log.debug({ source }, 'peer refused')
    },
    advertise,
  }
  const upgrade = createUpgrade(shared, false)

  function advertise(protocol: Protocol, local: Endpoint, remote: string): { host: string; port: number } {
    const host = deps.publicAddress && !isLan(remote) ? deps.publicAddress : local.address
    return { host, port: listenerFor(protocol, local.address)?.local.port ?? local.port }
  }
  function listenerFor(protocol: Protocol, address: string): Listener | undefined {
    const exact = listeners.get(`${protocol} ${address}`)
    if (exact || protocol === 'ws' || protocol === 'wss') return exact
    for (const listener of listeners.values()) if (listener.protocol === protocol) return listener
    return undefined
  }

  async function open(protocol: Protocol, address: LocalAddress): Promise<void> {
    const port = deps.ports === 'ephemeral' ? 0 : config[protocol]
    const context = protocol === 'tls' || protocol === 'wss' ? secureContext(protocol) : undefined
    const listener: Listener =
      protocol === 'udp'
        ? await openUdpListener(address, port)
        : {
            ...(await (protocol === 'tcp' || protocol === 'tls' ? openStream : openWebSocket)(
              address.address,
              port,
              shared,
              context,
            )),
            protocol,
            address,
          }
    listeners.set(`${protocol} ${address.address}`, listener)
    log.debug({ protocol, ...listener.local }, 'listening')
  }
  async function openUdpListener(address: LocalAddress, port: number): Promise<Listener> {
    const advertiseUdp = (local: Endpoint, remote: string) => advertise('udp', local, remote)
    const udp = await openUdp(address, port, { ...shared, advertise: advertiseUdp })
    return { protocol: 'udp', address, local: udp.local, udp, close: udp.close }
  }
  function secureContext(protocol: Protocol): SecureContextOptions {
    if (!deps.tls) throw new Error(`sip.${protocol} is on, but there is no certificate`)
    return serverContext(deps.tls)
  }

  /** Opens what is missing and closes what is gone. `strict`: the first failure is thrown, else it is tried again. */
  async function reconcile(strict: boolean): Promise<void> {
    if (closed) return
    const wanted = new Map<string, [Protocol, LocalAddress]>()
    for (const address of deps.addresses.current()) {
      for (const protocol of protocols) {
        if (config[protocol] !== 0) wanted.set(`${protocol} ${address.address}`, [protocol, address])
      }
    }
    for (const [key, listener] of [...listeners]) {
      if (wanted.has(key)) continue
      listeners.delete(key)
      await closeListener(listener)
    }
    for (const [key, [protocol, address]] of wanted) {
      if (listeners.has(key)) continue
      try {
        await open(protocol, address)
      } catch (cause) {
        const error = explain(cause, protocol, address.address, config[protocol])
        // An IPv6 address that has just come is checked for duplicates first and can not be bound until then.
        if (strict && codeOf(cause) !== 'EADDRNOTAVAIL') throw error
        log.warn({ err: error, protocol, address: address.address }, 'not listening yet, will try again')
        again()
      }
    }
    const found = await Promise.all([findDefaultSource(4), findDefaultSource(6)])
    defaults = found.filter(address => address !== undefined)
  }
  function again(): void {
    clearTimeout(retry)
    retry = setTimeout(follow, retryMs)
    retry.unref()
  }
  function follow(): void {
    work = work.then(() => reconcile(false)).catch(err => log.error({ err }, 'following the addresses failed'))
  }
  /** A server waits for its connections when it closes; they stay open here, so nobody waits. */
  async function closeListener(listener: Listener): Promise<void> {
    const done = listener.close()
    if (listener.udp) await done
    else done.catch(err => log.debug({ err }, 'closing a listener failed'))
  }
  function reload(): void {
    trusted = undefined
    if (!deps.tls) return
    for (const listener of listeners.values()) listener.reload?.(serverContext(deps.tls))
  }

  function udpTo(target: Endpoint): Flow | undefined {
    const own = [...listeners.values()].filter(l => l.udp).map(l => l.address)
    const source = chooseSource(target.address, own, defaults)
    return source && listeners.get(`udp ${source.address}`)?.udp?.flowTo({ address: target.address, port: target.port })
  }
  function find(target: Target): Flow | undefined {
    return target.protocol === 'udp' ? udpTo(target) : flows.byTarget(target)
  }
  function udpById(id: string): Flow | undefined {
    for (const { udp } of listeners.values()) {
      const remote = udp && readUdpId(id, udp.local)
      if (remote) return udp.flowTo(remote)
    }
    return undefined
  }
  function trust(): string[] {
    const own = deps.tls?.current().ca
    trusted ??= [...tls.getCACertificates('default'), ...[own ?? []].flat().map(String)]
    return trusted
  }
  function connect(target: Target): Promise<Connection> {
    const { protocol } = target
    if (protocol !== 'tcp' && protocol !== 'tls') {
      return Promise.reject(new Error(`no ${protocol} flow to ${target.address}, and it can not be opened from here`))
    }
    if (closed || config[protocol] === 0) return Promise.reject(new Error(`${protocol} is off`))
    const key = `${protocol} ${target.address} ${target.port} ${target.serverName ?? ''}`
    let pending = dialing.get(key)
    if (!pending) {
      pending = dial({ ...target, protocol }, shared, trust).finally(() => dialing.delete(key))
      dialing.set(key, pending)
    }
    return pending
  }
  async function shut(): Promise<void> {
    for (const end of unsubscribe.splice(0)) end()
    clearTimeout(retry)
    await work
    const closing = [...listeners.values()].map(listener => listener.close())
    listeners.clear()
    upgrade.close()
    await Promise.allSettled([...dialing.values()])
    await flows.close()
    await Promise.all(closing)
  }
  let shutting: Promise<void> | undefined

  return {
    async listen() {
      work = reconcile(true)
      try {
        await work
      } catch (error) {
        work = Promise.resolve()
        closed = true
        await (shutting = shut())
        throw error
      }
      unsubscribe.push(deps.addresses.onChange(follow))
      if (deps.tls) unsubscribe.push(deps.tls.onChange(reload))
    },
    points: () =>
      [...listeners.values()].map(({ protocol, local }): ListeningPoint => {
        return { protocol, ...local, advertised: { host: local.address, port: local.port } }
      }),
    find,
    flowById: id => flows.byId(id) ?? udpById(id),
    open(target) {
      const found = find(target)
      return found ? Promise.resolve(found) : connect(target)
    },
    isOwn(host, port, protocol) {
      const plain = (host.startsWith('[') ? host.slice(1, -1) : host).toLowerCase()
      for (const listener of listeners.values()) {
        if (listener.local.port !== port && !upgradePorts.has(port)) continue
        if (protocol !== undefined && listener.protocol !== protocol && !upgradePorts.has(port)) continue
        if (plain === listener.local.address || plain === deps.publicAddress?.toLowerCase()) return true
      }
      return false
    },
    acceptUpgrade(request, socket, head, secure) {
      // Record-Route and Via of such a connection name the HTTP server's port, so it is one of ours from now on.
      if (request.socket.localPort) upgradePorts.add(request.socket.localPort)
      upgrade.accept(request, socket, head, secure)
    },
    stats() {
      const byProtocol = flows.count()
      const connections = byProtocol.tcp + byProtocol.tls + byProtocol.ws + byProtocol.wss
      for (const { udp } of listeners.values()) if (udp) byProtocol.udp++
      return { flows: connections, byProtocol, dropped }
    },
    close() {
      closed = true
      shutting ??= shut()
      return shutting
    },
  }
}

/** Of the material, only what a server needs: an authority given to a server would mean client certificates. */
function serverContext(material: TlsMaterial): SecureContextOptions {
  const { key, cert } = material.current()
  return { key, cert }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

function explain(cause: unknown, protocol: Protocol, address: string, port: number): Error {
  const code = codeOf(cause)
  const place = `${protocol.toUpperCase()} port ${port} on ${address}`
  const why: Record<string, string> = {
    EADDRINUSE: `${place} is in use by another program: stop that, or choose another port with sip.${protocol}`,
    EACCES: `${place} may not be opened by this user: choose a port above 1023 with sip.${protocol}`,
  }
  const text = why[code ?? ''] ?? `${place} can not be opened: ${(cause as Error).message}`
  return Object.assign(new Error(text, { cause }), code === undefined ? {} : { code })
}
