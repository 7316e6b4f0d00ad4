import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { SipConfig } from '../../../config/schema.ts'
import type { Events, Protocol } from '../../../events.ts'
import type { Logger } from '../../../log.ts'
import { createAllowed } from '../../../network/allowed.ts'
import type { AddressWatch } from '../../../network/interfaces.ts'
import { createDialer } from './dialing.ts'
import { type Connection, createFlowTable, type Endpoint } from './flows.ts'
import { createListeners } from './listeners.ts'
import { createReceiver } from './receive.ts'
import type { StreamDeps, TlsMaterial } from './stream.ts'
import type { Flow, ListeningPoint, Target, TransportLayer, TransportUser } from './transport.ts'
import { createUpgrade } from './websocket.ts'

export type { TlsMaterial } from './stream.ts'

const mostRemembered = 4096

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

/** The SIP transports: one socket for each address and protocol, and every connection (RFC 3261 section 18). */
export function createTransportLayer(deps: TransportDeps): SipTransports {
  const { config, log } = deps
  const { shared, dropped } = createGround(deps, (...args) => advertise(...args))
  const { flows } = shared
  const udp = {
    ...shared,
    advertise: (local: Endpoint, remote: string) => advertise('udp', local, remote),
    onError: (err: Error, local: Endpoint) => log.debug({ err, ...local }, 'a datagram was lost'),
  }
  const listeners = createListeners({ ...deps, tls: deps.tls, ports: deps.ports, stream: shared, udp })
  const dialer = createDialer(shared, deps.tls)
  const upgrade = createUpgrade(shared, false)
  // Ports of HTTP servers that WebSockets have come from: Record-Route and Via name them.
  const upgradePorts = new Set<string>()
  const isLan = remember(createAllowed([]))
  let closed = false
  let shutting: Promise<void> | undefined
  let unsubscribe = () => {}

  function advertise(protocol: Protocol, local: Endpoint, remote: string): { host: string; port: number } {
    const host = deps.publicAddress && !isLan(remote) ? deps.publicAddress : local.address
    // A connection that we dialled has a port of its own where nobody listens.
    const dialled = protocol === 'tcp' || protocol === 'tls'
    return { host, port: (dialled && listeners.portOf(protocol, local.address)) || local.port }
  }
  function find(target: Target): Flow | undefined {
    return target.protocol === 'udp' ? listeners.udpTo(target) : flows.byTarget(target)
  }
  function open(target: Target): Promise<Flow> {
    const found = find(target)
    if (found) return Promise.resolve(found)
    const { protocol, address } = target
    if (protocol !== 'tcp' && protocol !== 'tls') {
      return Promise.reject(new Error(`no ${protocol} flow to ${address}, and it can not be opened from here`))
    }
    if (closed || config[protocol] === 0) return Promise.reject(new Error(`${protocol} is off`))
    return dialer.dial({ ...target, protocol })
  }
  async function shut(): Promise<void> {
    unsubscribe()
    upgrade.close()
    const listening = listeners.close()
    await dialer.close()
    await flows.close()
    await listening
  }
  function close(): Promise<void> {
    closed = true
    shutting ??= shut()
    return shutting
  }

  return {
    async listen() {
      try {
        await listeners.open()
      } catch (error) {
        await close()
        throw error
      }
      unsubscribe =
        deps.tls?.onChange(() => {
          listeners.reload()
          dialer.reload()
        }) ?? unsubscribe
    },
    points: () =>
      [...listeners.all()].map(({ protocol, local }): ListeningPoint => {
        return { protocol, ...local, advertised: { host: local.address, port: local.port } }
      }),
    find,
    flowById: id => flows.byId(id) ?? listeners.udpById(id),
    open,
    isOwn(host, port, protocol) {
      const plain = (host.startsWith('[') ? host.slice(1, -1) : host).toLowerCase()
      const isPublic = plain !== '' && plain === deps.publicAddress?.toLowerCase()
      for (const { protocol: ours, local } of listeners.all()) {
        const fits = local.port === port && (protocol === undefined || protocol === ours)
        if (fits && (isPublic || plain === local.address)) return true
      }
      const kinds = protocol === undefined ? ['ws', 'wss'] : [protocol]
      if (!kinds.some(kind => upgradePorts.has(`${kind} ${port}`))) return false
      return isPublic || deps.addresses.current().some(({ address }) => address === plain)
    },
    acceptUpgrade(request, socket, head, secure) {
      if (closed) return void socket.destroy()
      upgradePorts.add(`${secure ? 'wss' : 'ws'} ${request.socket.localPort}`)
      upgrade.accept(request, socket, head, secure)
    },
    stats() {
      const byProtocol = flows.count()
      const connections = byProtocol.tcp + byProtocol.tls + byProtocol.ws + byProtocol.wss
      for (const listener of listeners.all()) if (listener.udp) byProtocol.udp++
      return { flows: connections, byProtocol, dropped: dropped() }
    },
    close,
  }
}

/** What all transports share: the receiver, the table of connections, who may talk to us, and how many could not. */
function createGround(deps: TransportDeps, advertise: StreamDeps['advertise']) {
  const { config, user, events, log } = deps
  const receiver = createReceiver({ limits: config.limits, user, events, log })
  const fact = (connection: Connection) => {
    return { flow: connection.id, protocol: connection.protocol, source: connection.remote.address }
  }
  let dropped = 0
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
    allowed: remember(deps.allowed),
    onDropped(source) {
      dropped++
      log.debug({ source }, 'peer refused')
    },
    advertise,
  }
  return { shared, dropped: () => dropped }
}

/** Answers are asked for with every datagram and never change; the memory is emptied before it grows too large. */
function remember(check: (address: string) => boolean): (address: string) => boolean {
  const known = new Map<string, boolean>()
  return address => {
    let answer = known.get(address)
    if (answer === undefined) {
      if (known.size >= mostRemembered) known.clear()
      answer = check(address)
      known.set(address, answer)
    }
    return answer
  }
}
