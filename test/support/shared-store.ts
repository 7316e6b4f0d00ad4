import { createEvents, type Events } from '../../src/events.ts'
import { createSharedStore, type SharedStore } from '../../src/location/shared.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRedisLink } from '../../src/redis/link.ts'
import type { RedisLink } from '../../src/redis/redis.ts'

let nodes = 0

/** The shared store of one node, with a link to Redis of its own; closing it closes both. */
export interface SharedNode extends SharedStore {
  link: RedisLink
  life: string
}

export interface SharedNodeOptions {
  redis: string
  prefix: string
  now?: () => number
  timeoutMs?: number
  events?: Events
  mostWaiting?: number
}

/** Opens one that has read all there is, unless Redis is away. */
export async function openSharedNode(options: SharedNodeOptions): Promise<SharedNode> {
  const { redis, prefix, now = Date.now, timeoutMs = 2000, events = createEvents(), ...rest } = options
  const log = createSilentLog()
  const life = `node-${++nodes}`
  const link = createRedisLink({ config: { redis, prefix, timeoutMs }, events, log })
  const healthy = await link.ready()
  const store = createSharedStore({ link, prefix, life, log, now, ...rest })
  if (healthy) await store.list(undefined, 1)
  return {
    ...store,
    link,
    life,
    async close() {
      await store.close()
      await link.close()
    },
  }
}
