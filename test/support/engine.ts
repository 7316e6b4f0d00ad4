import Srf from 'drachtio-srf'
import { complete } from '../../src/config/load.ts'
import type { SipConfig } from '../../src/config/schema.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { type Engine, startEngine } from '../../src/sip/engine/engine.ts'
import { loopback } from './loopback.ts'

export interface EngineUnderTest {
  engine: Engine
  srf: Srf
  udp: number
  tcp: number
  /** One more application on the same engine. */
  another(): Promise<Srf>
  close(): Promise<void>
}

/** An engine on loopback with fast timers and an unmodified drachtio-srf connected to it. */
export async function startEngineUnderTest(
  options: {
    t1?: number
    userAgent?: string
    cluster?: { life: string; secrets: string[] }
    mayAct?: () => boolean
  } = {},
): Promise<EngineUnderTest> {
  const log = createSilentLog()
  const { t1 = 20 } = options
  const engine = await startEngine({
    config: loadDefaults({
      tls: 0,
      ws: 1,
      userAgent: options.userAgent ?? '',
      timers: { t1, t2: t1 * 8, t4: t1 * 10, timerC: 3000 },
    }),
    addresses: { current: () => [loopback], onChange: () => () => {} },
    allowed: () => true,
    resolve: () => [],
    events: createEvents(),
    log,
    cluster: options.cluster,
    ...(options.mayAct === undefined ? {} : { mayAct: options.mayAct }),
    ports: 'ephemeral',
    minSe: 2,
    sessionSecond: 100,
  })
  const apps: Srf[] = []
  const another = async () => {
    const srf = new Srf()
    await new Promise<void>((resolve, reject) => {
      srf.on('connect', (error: Error | null) => (error ? reject(error) : resolve()))
      srf.on('error', () => {})
      srf.connect(engine.admin)
    })
    apps.push(srf)
    return srf
  }
  const srf = await another()
  const portOf = (protocol: string) => engine.points().find(point => point.protocol === protocol)!.port
  return {
    engine,
    srf,
    udp: portOf('udp'),
    tcp: portOf('tcp'),
    another,
    async close() {
      for (const app of apps) if (!gone(app)) app.disconnect()
      await engine.close()
    },
  }
}

/** The defaults of the `sip` section with some settings replaced. */
function loadDefaults(change: Partial<SipConfig>): SipConfig {
  return { ...complete({}).sip, ...change }
}

function gone(srf: Srf): boolean {
  return (srf as unknown as { _app: { client: { mapServer: Map<unknown, unknown> } } })._app.client.mapServer.size === 0
}
