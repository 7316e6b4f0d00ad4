import { setTimeout as wait } from 'node:timers/promises'
import { type RedisServer, startRedis } from './redis.ts'
import { freePorts, here, type Place, startVaartha, type TestServer, type TestServerOptions } from './server.ts'

// Two nodes of one cluster, each the real program in a process of its own, and their Redis.

export interface Pair {
  readonly a: TestServer
  readonly b: TestServer
  readonly redis: RedisServer
  /** Makes an account, waits until both nodes know it, and returns its password. */
  addUser(name: string): Promise<string>
  /** Waits until a node has so many calls; rejects after `ms`. */
  calls(node: TestServer, count: number, ms?: number): Promise<void>
  /** Starts a node again that has ended, and waits until each sees the other up; `settings` are changed from then on. */
  restart(node: TestServer, settings?: Record<string, string>): Promise<void>
  close(): Promise<void>
}

/** Of all nodes that tests start. */
export const clusterSecret = 'a secret of tests, long enough'

export interface PairOptions extends TestServerOptions {
  /** Where each runs; all on the host of the test when left out. */
  places?: { a: Place; b: Place; redis: Place }
  /** Settings of one of them only. */
  own?: { a?: Record<string, string>; b?: Record<string, string> }
  redis?: RedisServer
}

/** Starts them and resolves when each sees the other up. */
export async function startPair(options: PairOptions = {}): Promise<Pair> {
  const places = options.places ?? { a: here, b: here, redis: here }
  const redis = options.redis ?? (await startRedis(undefined, [], undefined, places.redis))
  const ports = await freePorts(2)
  const start = (name: 'a' | 'b', at: number, priority: number) =>
    startVaartha({
      ...options,
      place: places[name],
      settings: {
        VAARTHA_STORE_REDIS: redis.url,
        VAARTHA_CLUSTER_NAME: name,
        VAARTHA_CLUSTER_SECRET: clusterSecret,
        VAARTHA_CLUSTER_ADDRESS: places[name].address,
        VAARTHA_CLUSTER_PORT: String(ports[at]),
        VAARTHA_CLUSTER_PRIORITY: String(priority),
        VAARTHA_CLUSTER_RETURN_SECONDS: '0',
        VAARTHA_CLUSTER_DRAIN_SECONDS: '5',
        ...options.settings,
        ...options.own?.[name],
      },
    })
  const close = async (...nodes: TestServer[]) => {
    await Promise.allSettled(nodes.map(node => node.close()))
    await redis.stop()
  }
  // The second one takes over the authority of the first.
  const a = await start('a', 0, 10).catch(async (error: unknown) => {
    await close()
    throw error
  })
  const b = await start('b', 1, 20).catch(async (error: unknown) => {
    await close(a)
    throw error
  })
  const seesUp = (node: TestServer, other: string, from = 0) =>
    node
      .log()
      .slice(from)
      .split('\n')
      .some(line => line.includes(`"node":"${other}"`) && line.includes('"state":"up"'))
  try {
    await until(() => seesUp(a, 'b') && seesUp(b, 'a'), 10_000)
  } catch (error) {
    await close(a, b)
    throw new Error(`the nodes do not see each other:\n${a.log()}\n${b.log()}`, { cause: error })
  }
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
    async restart(node, settings) {
      const other = node === a ? b : a
      const [own, others] = [node.log().length, other.log().length]
      await node.restart(settings)
      const [name, otherName] = node === a ? ['a', 'b'] : ['b', 'a']
      await until(() => seesUp(node, otherName, own) && seesUp(other, name, others), 10_000)
    },
    close: () => close(a, b),
  }
}

/** Waits for a fact of another process, which tells it only when it is asked. */
export async function until(isSo: () => Promise<boolean> | boolean, ms = 3000): Promise<void> {
  for (const late = performance.now() + ms; !(await isSo()); await wait(25)) {
    if (performance.now() > late) throw new Error('it has not become so in time')
  }
}
