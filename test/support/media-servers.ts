import { until } from './pair.ts'
import { type RedisServer, startRedis } from './redis.ts'
import { freePorts, startVaartha, type TestServer } from './server.ts'

// A SIP node that carries no media and two media nodes, each the real program in a process of its own, and their Redis.

export interface MediaServers {
  readonly sip: TestServer
  readonly media: Record<'m' | 'n', TestServer>
  readonly redis: RedisServer
  /** The media node that has legs. */
  carrier(): Promise<'m' | 'n'>
  close(): Promise<void>
}

export async function startMediaServers(nats = ''): Promise<MediaServers> {
  const redis = await startRedis()
  const links = await freePorts(3)
  const opened: TestServer[] = []
  const close = async () => {
    await Promise.allSettled(opened.map(server => server.close()))
    await redis.stop()
  }
  const base = 21_000 + (process.pid % 6) * 1700
  const start = async (name: string, roles: string, at: number) => {
    const first = base + at * 550
    const server = await startVaartha({
      settings: {
        VAARTHA_STORE_REDIS: redis.url,
        VAARTHA_LOG_LEVEL: process.env['VAARTHA_TEST_LOG'] ?? 'info',
        VAARTHA_CLUSTER_NAME: name,
        VAARTHA_CLUSTER_ROLES: roles,
        VAARTHA_CLUSTER_SECRET: 'a secret of tests, long enough',
        VAARTHA_CLUSTER_ADDRESS: '127.0.0.1',
        VAARTHA_CLUSTER_PORT: String(links[at]),
        VAARTHA_CLUSTER_NATS: nats,
        VAARTHA_CLUSTER_RETURN_SECONDS: '0',
        VAARTHA_CLUSTER_DRAIN_SECONDS: '10',
        VAARTHA_MEDIA_WORKERS: '1',
        VAARTHA_MEDIA_PORT: String(first),
        VAARTHA_MEDIA_RTP_PORTS: `${first + 10}-${first + 209}`,
        VAARTHA_MEDIA_TRUNK_PORTS: `${first + 210}-${first + 509}`,
      },
    })
    opened.push(server)
    return server
  }
  try {
    const sip = await start('s', 'sip', 0)
    const media = { m: await start('m', 'media', 1), n: await start('n', 'media', 2) }
    const names = Object.keys(media) as ('m' | 'n')[]
    const nodes = () => sip.api<{ node: string; state: string; load: Record<string, number> }[]>('/api/nodes')
    await until(async () => (await nodes()).filter(({ state }) => state === 'up').length === 3, 10_000)
    const carrier = async () => {
      let found: 'm' | 'n' | undefined
      await until(async () => {
        const [busy] = (await nodes()).filter(({ state, load }) => state === 'up' && (load['legs'] ?? 0) > 0)
        found = names.find(name => name === busy?.node)
        return found !== undefined
      }, 8000)
      return found!
    }
    return { sip, media, redis, carrier, close }
  } catch (error) {
    const logs = opened.map(server => server.log()).join('\n')
    await close()
    throw new Error(`the nodes do not see each other:\n${logs}`, { cause: error })
  }
}
