import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import Srf from 'drachtio-srf'
import type { SipConfig } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import { agentOf } from './agent.ts'
import type { EngineDialogs } from './dialogs.ts'
import { type Engine, type EngineDeps, type EngineStats, startEngine } from './engine/engine.ts'
import type { ListeningPoint } from './engine/transport/transport.ts'
import { createEngineDialogs } from './engine-dialogs.ts'

// The one way the application talks SIP: an Srf, on the embedded engine or on a drachtio-server.

export interface SipLink {
  readonly srf: Srf
  readonly engine: 'embedded' | 'drachtio'
  /** Dialogs that outlive their node. Undefined with an external drachtio-server, which cannot give them away. */
  readonly dialogs: EngineDialogs | undefined
  points(): ListeningPoint[]
  /** Calls `listener` with the id of each connection that closed; the returned function ends that. Embedded only. */
  onFlowClosed(listener: (flow: string) => void): () => void
  /** Takes a WebSocket upgrade of the HTTP server. An external engine has listeners of its own: the upgrade is refused. */
  acceptWebSocket(request: IncomingMessage, socket: Duplex, head: Buffer, secure: boolean): void
  /** Undefined with an external engine. */
  stats(): EngineStats | undefined
  /** New calls get 503 from now on; what is under way has a second to be answered. */
  close(): Promise<void>
}

const firstConnectMs = 10_000
// How long requests under way may take to be answered when the program ends.
const drainMs = 1000
const lookMs = 20

/**
 * Connects an unmodified drachtio-srf. Rejects with a Refusal `bad-config` when an external engine has no secret or
 * refuses it, and with an Error that names the address when it does not answer within 10 seconds.
 */
export async function connectSip(config: SipConfig, deps: Omit<EngineDeps, 'config'>): Promise<SipLink> {
  return config.engine === 'drachtio' ? connectExternal(config, deps) : connectEmbedded(config, deps)
}

async function connectEmbedded(config: SipConfig, deps: Omit<EngineDeps, 'config'>): Promise<SipLink> {
  const engine = await startEngine({ ...deps, config })
  const srf = new Srf()
  let said: Said
  try {
    said = await connect(srf, engine.admin, deps)
  } catch (error) {
    await engine.close()
    throw error
  }
  let closing: Promise<void> | undefined
  return {
    srf,
    engine: 'embedded',
    dialogs: createEngineDialogs(srf, said.version),
    points: engine.points,
    onFlowClosed: engine.onFlowClosed,
    acceptWebSocket: engine.acceptUpgrade,
    stats: engine.stats,
    close() {
      closing ??= drain(engine).then(() => {
        disconnect(srf)
        return engine.close()
      })
      return closing
    },
  }
}

/** Takes no new calls, and waits a bounded time until every request is answered. */
async function drain(engine: Engine): Promise<void> {
  engine.drain()
  const late = performance.now() + drainMs
  while (engine.stats().pendingServer > 0 && performance.now() < late) await wait(lookMs)
}

async function connectExternal(config: SipConfig, deps: Omit<EngineDeps, 'config'>): Promise<SipLink> {
  const { host, port, secret } = config.drachtio
  if (secret === '') {
    throw new Refusal('bad-config', 'sip.drachtio.secret is empty; put the admin secret of the drachtio-server there')
  }
  const srf = new Srf()
  const said = await connect(srf, { host, port, secret }, deps)
  return {
    srf,
    engine: 'drachtio',
    dialogs: createEngineDialogs(srf, said.version),
    points: () => parsePoints(said.points),
    onFlowClosed: () => () => {},
    acceptWebSocket(_request, socket) {
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n')
    },
    stats: () => undefined,
    async close() {
      disconnect(srf)
    },
  }
}

/** What an engine says of itself: its advertised points, and its version. */
interface Said {
  points: string
  version: string
}

/** Resolves once the engine has accepted the secret. */
function connect(
  srf: Srf,
  to: { host: string; port: number; secret: string },
  { log }: Pick<EngineDeps, 'log'>,
): Promise<Said> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      clearTimeout(deadline)
      disconnect(srf)
      reject(error)
    }
    const deadline = setTimeout(() => {
      failed(new Error(`no SIP engine answers at ${to.host}:${to.port}; is the drachtio-server running?`))
    }, firstConnectMs)
    srf.on('error', (error: Error) => log.warn({ reason: error.message }, 'connection to the SIP engine failed'))
    srf.on('connect', (error: Error | null | undefined, points: string, version?: string) => {
      if (error) return failed(new Refusal('bad-config', `the SIP engine at ${to.host}:${to.port} refuses the secret`))
      clearTimeout(deadline)
      log.info({ points }, 'connected to the SIP engine')
      resolve({ points, version: version ?? '' })
    })
    // Its types leave `reconnect` out.
    const options = { ...to, reconnect: { retryMaxDelay: 5000 } }
    srf.connect(options)
  })
}

// Srf has no call that ends reconnecting when no connection stands, so its wire protocol is told.
function disconnect(srf: Srf): void {
  const agent = agentOf(srf)
  if (!agent?.wp || agent.wp.closing) return
  agent.wp.closing = true
  clearTimeout(agent.wp.reconnectVars?.retryTimer ?? undefined)
  for (const socket of agent.mapServer.keys()) socket.destroy()
}

/** Reads `udp/192.0.2.1:5060,tcp/[2001:db8::1]:5060`. */
export function parsePoints(text: string): ListeningPoint[] {
  return text.split(',').flatMap(entry => {
    const match = /^(udp|tcp|tls|ws|wss)\/\[?([^\]]+)\]?:(\d{1,5})$/.exec(entry.trim())
    if (!match) return []
    const [, protocol, address = '', port] = match
    return [
      {
        protocol: protocol as ListeningPoint['protocol'],
        address,
        port: Number(port),
        advertised: { host: address, port: Number(port) },
      },
    ]
  })
}
