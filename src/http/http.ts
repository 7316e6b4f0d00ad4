import { X509Certificate } from 'node:crypto'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https'
import type { FastifyInstance } from 'fastify'
import { projectVersion } from '../config/load.ts'
import { createApp } from './app.ts'
import type { HttpDeps } from './deps.ts'
import { createGuard } from './guard.ts'
import { type Listeners, listen } from './listeners.ts'
import { createLive } from './live.ts'
import { createMetrics } from './metrics.ts'
import { createPhoneSessions } from './phone-sessions.ts'
import { createSessions } from './sessions.ts'

export type { HttpDeps } from './deps.ts'

export interface Point {
  secure: boolean
  address: string
  port: number
}

export interface Http {
  points(): Point[]
  /** A fresh URL that signs one browser in as administrator, once, within 24 hours; undefined while nothing listens. */
  oneTimeLink(): string | undefined
  /** Ends listeners, connections and live views; idempotent. */
  close(): Promise<void>
}

// Of one listener. A browser needs six, a household some dozens.
const mostConnections = 500
const limits = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 15_000, maxHeaderSize: 16_384 }

/** Serves pages and API on HTTP and HTTPS. Rejects with an Error that names a port that cannot be opened. */
export async function startHttp(deps: HttpDeps): Promise<Http> {
  const { config, certificates, addresses, log } = deps
  const sessions = createSessions({ file: deps.sessionsFile, log, table: deps.sessionTables?.admins })
  const live = createLive(deps.events)
  const metrics = createMetrics({
    events: deps.events,
    version: projectVersion(),
    registrations: () => deps.registrations.count(),
    calls: () => deps.calls.list().length,
    meetings: () => deps.meetings.list(),
    mediaLoad: () => deps.mediaLoad(),
    messages: () => deps.messages(),
    storeFigures: () => deps.storeFigures?.(),
    clusterStats: () => deps.nodes?.stats(),
    directoryFigures: () => deps.directoryFigures?.(),
    drills: () => deps.drills.view(),
    engineStats: () => deps.engineStats(),
  })
  const open: { app?: FastifyInstance; plain?: Listeners<Server>; secure?: Listeners<SecureServer> } = {}
  const points = (): Point[] => [
    ...(open.plain?.points() ?? []).map(p => ({ ...p, secure: false })),
    ...(open.secure?.points() ?? []).map(p => ({ ...p, secure: true })),
  ]
  const reached = () => {
    const internal = addresses.current().flatMap(a => (a.internal ? [a.address] : []))
    const trusted = certificates.caPem() === undefined
    return base(points(), internal, trusted, trusted ? nameOf(certificates.current().cert) : undefined)
  }
  const link = () => {
    const host = reached()
    return host === undefined ? undefined : `${host}/setup/${sessions.newCode()}`
  }
  const reload = certificates.onChange(() => {
    for (const server of open.secure?.servers() ?? []) server.setSecureContext(certificates.current())
  })
  let closing: Promise<void> | undefined
  async function closeAll(): Promise<void> {
    reload()
    metrics.close()
    live.close()
    await Promise.all([open.plain?.close(), open.secure?.close()])
    await open.app?.close()
  }
  const close = () => {
    closing ??= closeAll()
    return closing
  }

  try {
    const guard = createGuard({ adminToken: deps.adminToken, sessions, events: deps.events })
    const app = await createApp(deps, {
      guard,
      live,
      metrics,
      phones: createPhoneSessions(deps.sessionTables?.phones),
      points,
      base: reached,
      link,
    })
    open.app = app
    const handler: RequestListener = (request, response) => app.routing(request, response)
    if (config.port !== 0) {
      const ports = config.port === -1 ? [80, 8080] : [config.port]
      const create = () => prepare(createServer(limits, handler), deps, false)
      open.plain = await listen({ addresses, ports, setting: 'http.port', create, log })
    }
    if (config.securePort !== 0) {
      const ports = config.securePort === -1 ? [443, 8443] : [config.securePort]
      const options = { ...limits, handshakeTimeout: 10_000 }
      const create = () => prepare(createSecureServer({ ...options, ...certificates.current() }, handler), deps, true)
      open.secure = await listen({ addresses, ports, setting: 'http.securePort', create, log })
    }
  } catch (error) {
    await close()
    throw error
  }
  return { points, oneTimeLink: link, close }
}

/** Keeps strangers out and hands WebSockets over. */
function prepare<S extends Server>(server: S, deps: HttpDeps, secure: boolean): S {
  server.maxConnections = mostConnections
  server.on('connection', socket => {
    if (!deps.allowed(socket.remoteAddress ?? '')) socket.destroy()
  })
  server.on('upgrade', (request, socket, head) => {
    const path = request.url?.split('?', 1)[0]
    if (path === '/sip' && deps.acceptWebSocket !== undefined) {
      return deps.acceptWebSocket(request, socket, head, secure)
    }
    // Without a listener a reset by the peer would be thrown.
    socket.on('error', () => socket.destroy())
    socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', () => socket.destroy())
  })
  return server
}

/**
 * Where a browser of the house reaches this server; undefined when it listens nowhere. HTTPS comes first only with the
 * operator's own certificate: one of the local authority makes every browser warn, and a person who learns to click
 * such a warning away is worse off than with plain HTTP inside the house.
 */
function base(points: Point[], internal: string[], trusted: boolean, name?: string): string | undefined {
  const order = (p: Point) =>
    (p.secure === trusted ? 0 : 4) + (internal.includes(p.address) ? 2 : 0) + (p.address.includes(':') ? 1 : 0)
  const [best] = points.toSorted((a, b) => order(a) - order(b))
  if (best === undefined) return undefined
  const address = best.address.includes(':') ? `[${best.address}]` : best.address
  const host = best.secure && name !== undefined ? name : address
  const usual = best.port === (best.secure ? 443 : 80)
  return `${best.secure ? 'https' : 'http'}://${host}${usual ? '' : `:${best.port}`}`
}

/** The first name of a certificate: an operator's one rarely holds addresses. */
function nameOf(cert: string): string | undefined {
  return /(?:^|, )DNS:([a-z0-9.-]+)/i.exec(new X509Certificate(cert).subjectAltName ?? '')?.[1]
}
