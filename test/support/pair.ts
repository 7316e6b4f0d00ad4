import { setTimeout as wait } from 'node:timers/promises'
import { type RedisServer, startRedis } from './redis.ts'
import { freePorts, startVaartha, type TestServer, type TestServerOptions } from './server.ts'

// Two nodes of one cluster, each the real program in a process of its own, and their Redis.

export interface Pair {
  readonly a: TestServer
  readonly b: TestServer
  readonly redis: RedisServer
  /** Makes an account, waits until both nodes know it, and returns its password. */
  addUser(name: string): Promise<string>
  /** Waits until a node has so many calls; rejects after `ms`. */
  calls(node: TestServer, count: number, ms?: number): Promise<void>
  close(): Promise<void>
}

interface Member {
  node: string
  state: string
}

/** Starts them and resolves when each sees the other up. */
export async function startPair(options: TestServerOptions = {}): Promise<Pair> {
  const redis = await startRedis()
  const ports = await freePorts(2)
  const start = (name: string, at: number, priority: number) =>
    startVaartha({
      ...options,
      settings: {
        VAARTHA_STORE_REDIS: redis.url,
        VAARTHA_CLUSTER_NAME: name,
        VAARTHA_CLUSTER_SECRET: 'a secret of tests, long enough',
        VAARTHA_CLUSTER_ADDRESS: '127.0.0.1',
        VAARTHA_CLUSTER_PORT: String(ports[at]),
        VAARTHA_CLUSTER_PRIORITY: String(priority),
        VAARTHA_CLUSTER_RETURN_SECONDS: '0',
        ...options.settings,
      },
    })
  // The second one takes over the authority of the first.
  const a = await start('a', 0, 10)
  const b = await start('b', 1, 20)
  const seen = async (node: TestServer) => {
    const members = await node.api<Member[]>('/api/nodes')
    return members.filter(({ state }) => state === 'up').length === 2
  }
  await until(async () => (await seen(a)) && (await seen(b)), 10_000)
  return {
    a,
    b,
    redis,
    async addUser(name) {
      const password = await a.addUser(name)
      await until(async () => JSON.stringify(await b.api('/api/accounts')).includes(`"${name}"`), 5000)
      return password
    },
    calls: (node, count, ms = 5000) =>
      until(async () => (await node.api<unknown[]>('/api/calls')).length === count, ms),
    async close() {
      await Promise.allSettled([a.close(), b.close()])
      await redis.stop()
    },
  }
}

/** Waits for a fact of another process, which tells it only when it is asked. */
export async function until(isSo: () => Promise<boolean> | boolean, ms = 3000): Promise<void> {
  for (const late = performance.now() + ms; !(await isSo()); await wait(25)) {
    if (performance.now() > late) throw new Error('it has not become so in time')
  }
}
