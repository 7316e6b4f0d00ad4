import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { SipConfig } from '../../config/schema.ts'
import type { Events, Protocol } from '../../events.ts'
import type { Logger } from '../../log.ts'
import type { AddressWatch } from '../../network/interfaces.ts'
import { createNextHop } from './next-hop.ts'
import { routeTo } from './proxy/copy.ts'
import { createPeerTokens } from './proxy/peer-token.ts'
import { createProxyLayer } from './proxy/proxy.ts'
import type { Resolve } from './resolve.ts'
import { createTransactionLayer } from './transaction/layer.ts'
import { deriveTimers } from './transaction/timers.ts'
import { createTransportLayer, type TlsMaterial } from './transport/layer.ts'
import type { Flow, ListeningPoint } from './transport/transport.ts'
import { createCore } from './wire/core.ts'
import { createAdminServer } from './wire/server.ts'
import { engineVersion } from './wire/verbs.ts'

export interface EngineDeps {
  config: SipConfig
  addresses: Pick<AddressWatch, 'current' | 'onChange'>
  allowed(address: string): boolean
  publicAddress?: string
  tls?: TlsMaterial
  resolve: Resolve
  events: Events
  /** This run of this node among others, and their common secrets, the first of which signs; absent: a node by itself. */
  cluster?: { life: string; secrets: readonly string[] } | undefined
  log: Logger
  /** Tests: every listener on a free port. */
  ports?: 'ephemeral'
  /** Tests: the shortest session in seconds, and how many milliseconds such a second has. */
  minSe?: number
  sessionSecond?: number
  /** False while what this node owns may be another's: it then refreshes and ends no dialog by itself. */
  mayAct?(): boolean
}

export interface Engine {
  /** Where the admin protocol listens, on loopback only. */
  readonly admin: { host: string; port: number; secret: string }
  points(): ListeningPoint[]
  acceptUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, secure: boolean): void
  onFlowClosed(listener: (flow: string) => void): () => void
  stats(): EngineStats
  /** From now on new calls are answered 503. */
  drain(): void
  close(): Promise<void>
}

export interface EngineStats {
  flows: number
  byProtocol: Record<Protocol, number>
  serverTransactions: number
  clientTransactions: number
  dialogs: number
  pendingServer: number
  pendingClient: number
  proxied: number
  applications: number
}

/** Starts the engine, layer on layer. Rejects with an error that names the port in use. */
export async function startEngine(deps: EngineDeps): Promise<Engine> {
  const { config, log } = deps
  const timers = deriveTimers(config.timers)
  const secret = randomBytes(24).toString('hex')
  const listeners = new Set<(flow: string) => void>()

  const transport = createTransportLayer({
    config,
    addresses: deps.addresses,
    allowed: deps.allowed,
    ...(deps.publicAddress === undefined ? {} : { publicAddress: deps.publicAddress }),
    ...(deps.tls === undefined ? {} : { tls: deps.tls }),
    ...(deps.ports === undefined ? {} : { ports: deps.ports }),
    user: {
      onMessage: (message, flow, bytes) => transactions.onMessage(message, flow, bytes),
      onMalformed: (failure, flow) => transactions.onMalformed(failure, flow),
      onFlowClosed(flow) {
        transactions.onFlowClosed(flow)
        for (const listener of listeners) listener(flow.id)
      },
    },
    events: deps.events,
    log: log.child({ layer: 'transport' }),
  })
  const transactions = createTransactionLayer({
    timers,
    openFlow: target => transport.open(target),
    user: {
      onRequest: transaction => core.transactionUser.onRequest(transaction),
      onAck: (ack, flow, bytes) => core.transactionUser.onAck(ack, flow, bytes),
      onStrayResponse: (response, flow) => core.transactionUser.onStrayResponse(response, flow),
    },
    log: log.child({ layer: 'transaction' }),
  })
  const isOwn = (host: string, port: number, protocol?: Protocol) => transport.isOwn(host, port, protocol)
  const nextHop = createNextHop({
    resolve: deps.resolve,
    find: target => transport.find(target),
    flowById: id => transport.flowById(id),
    open: target => transport.open(target),
    isOwn,
    udpMaxBytes: config.udpMaxBytes,
  })
  const peers = deps.cluster && createPeerTokens(deps.cluster.life, deps.cluster.secrets)
  const proxy = createProxyLayer({ transactions, nextHop, timers, isOwn, peers, log: log.child({ layer: 'proxy' }) })
  const core = createCore({
    transactions,
    flowFor: (uri, bytes, pinned) => nextHop.flowFor(uri, bytes, pinned),
    routeBy(hop, request) {
      const life = hop.params.get('node')
      const user = life && peers?.mint(life, hop.params.get('fl') ?? '', request)
      return user ? routeTo(hop, user) : undefined
    },
    timers,
    noFlow: () => absentFlow(transport.points()[0]),
    userAgent: config.userAgent,
    minSe: deps.minSe ?? 90,
    second: deps.sessionSecond ?? 1000,
    mayAct: deps.mayAct ?? (() => true),
    proxy,
    isOwn,
    wire: () => wire,
    log: log.child({ layer: 'dialog' }),
  })
  const wire = await createAdminServer({
    host: '127.0.0.1',
    port: 0,
    secret,
    hello: () => [
      transport
        .points()
        .map(p => pointText(p.protocol, p.advertised.host, p.advertised.port))
        .join(),
      engineVersion,
      transport
        .points()
        .map(p => pointText(p.protocol, p.address, p.port))
        .join(),
    ],
    user: core.wireUser,
    log: log.child({ layer: 'wire' }),
  })
  try {
    await transport.listen()
  } catch (error) {
    await wire.close()
    await transport.close()
    throw error
  }

  let closing: Promise<void> | undefined
  async function closeAll(): Promise<void> {
    await wire.close()
    core.close()
    proxy.close()
    transactions.close()
    await transport.close()
  }

  return {
    admin: { host: '127.0.0.1', port: wire.port, secret },
    points: () => transport.points(),
    acceptUpgrade: (request, socket, head, secure) => transport.acceptUpgrade(request, socket, head, secure),
    onFlowClosed(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    stats() {
      const { server, client } = transactions.stats()
      const { flows, byProtocol } = transport.stats()
      return {
        flows,
        byProtocol,
        serverTransactions: server,
        clientTransactions: client,
        ...core.stats(),
        proxied: proxy.stats().contexts,
        applications: wire.stats().apps,
      }
    },
    drain() {
      core.draining = true
    },
    close() {
      closing ??= closeAll()
      return closing
    },
  }
}

function pointText(protocol: Protocol, host: string, port: number): string {
  return `${protocol}/${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`
}

// Fills the blanks of a request that cannot be sent, so that the application sees what it would have been.
function absentFlow(point: ListeningPoint | undefined): Flow {
  const local = point ? { address: point.address, port: point.port } : { address: '127.0.0.1', port: 5060 }
  return {
    id: '',
    protocol: point?.protocol ?? 'udp',
    local,
    remote: { address: '', port: 0 },
    reliable: false,
    closed: true,
    advertised: point?.advertised ?? { host: local.address, port: local.port },
    send: (_bytes, failed) => failed?.(new Error('no flow')),
    close() {},
  }
}
