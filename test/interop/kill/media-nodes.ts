import { setTimeout as wait } from 'node:timers/promises'
import type { Lab } from '../../support/lab.ts'
import type { NatsServer } from '../../support/nats.ts'
import { clusterSecret, type Pair, until } from '../../support/pair.ts'
import { freePorts, startVaartha, type TestServer } from '../../support/server.ts'
import { nodesAt } from './ground.ts'

// Two nodes for media alone. Only `m` is there while calls come up, so that it carries all that is carried.

export interface MediaNodes {
  readonly m: TestServer
  /** Brings it about that `m` is up and the other one is not. */
  alone(): Promise<void>
  /** Starts the other one, and makes sure that `m` has something that can be lost. */
  both(): Promise<void>
  /** Whether the other one carries something soon. */
  hasMoved(): Promise<boolean>
  /** Resolves when `m` is seen up again. */
  back(): Promise<void>
  close(): Promise<void>
}

export async function makeMediaNodes(pair: Pair, hosts: Lab['hosts'], nats: NatsServer): Promise<MediaNodes> {
  const ports = await freePorts(2)
  const start = (name: 'm' | 'n', at: number) =>
    startVaartha({
      place: hosts[name],
      settings: {
        VAARTHA_STORE_REDIS: pair.redis.url,
        VAARTHA_CLUSTER_NAME: name,
        VAARTHA_CLUSTER_ROLES: 'media',
        VAARTHA_CLUSTER_SECRET: clusterSecret,
        VAARTHA_CLUSTER_ADDRESS: hosts[name].address,
        VAARTHA_CLUSTER_PORT: String(ports[at]),
        VAARTHA_CLUSTER_NATS: nats.url,
        VAARTHA_CLUSTER_RETURN_SECONDS: '0',
        VAARTHA_CLUSTER_DRAIN_SECONDS: '5',
        VAARTHA_MEDIA_WORKERS: '1',
      },
    })
  const m = await start('m', 0)
  let n: TestServer | undefined
  let running = true

  /** Each node of the pair sees that node so; asked four times a second, as the API has a limit. */
  async function seen(name: string, up: boolean): Promise<void> {
    const isSo = async (node: TestServer) =>
      (await nodesAt(node)).some(one => one.node === name && one.state === 'up') === up
    await until(
      async () => ((await isSo(pair.a)) && (await isSo(pair.b))) || (await wait(250, false, { ref: false })),
      30_000,
    )
  }

  const carries = async (name: string) =>
    (await nodesAt(pair.a)).some(one => one.node === name && (one.load['legs'] ?? 0) > 0)
  const comesToCarry = (name: string, ms: number) =>
    until(async () => (await carries(name)) || (await wait(250, false)), ms)

  await seen('m', true).catch(async (error: unknown) => {
    await m.close()
    throw error
  })
  return {
    m,
    async alone() {
      await n?.stop()
      running = false
      await seen('n', false)
      await seen('m', true)
    },
    async both() {
      if (n === undefined) n = await start('n', 1)
      else if (!running) await n.restart()
      running = true
      await seen('n', true)
      await comesToCarry('m', 10_000)
    },
    hasMoved: () =>
      comesToCarry('n', 15_000).then(
        () => true,
        () => false,
      ),
    back: () => seen('m', true),
    close: async () => void (await Promise.allSettled([m.close(), n?.close()])),
  }
}
