import type { Phone } from '../../support/phone.ts'
import { type RedisServer, startRedis } from '../../support/redis.ts'
import { freePorts, startVaartha, type TestServer } from '../../support/server.ts'
import { answerAtOnce, registered } from './failover-phones.ts'
import { credentials, drive, startAnswering, type Target } from './load.ts'

// What keeping calls costs the node that has them. All strategies run at once, on the same Redis, and take turns in
// slices, so that what else the machine does falls on each of them alike.

const strategies = ['none', 'lazy', 'hot-standby'] as const
type Strategy = (typeof strategies)[number]

export interface CostOptions {
  /** Turns of each strategy. */
  slices: number
  /** Calls a second, and for how long in each slice. */
  rate: number
  seconds: number
  /** Calls one after the other in each slice, whose times are taken. */
  timed: number
}

interface Node {
  strategy: Strategy
  server: TestServer
  target: Target
  line: string
  alice: Phone
  bob: Phone
  cpu: number[]
  times: number[]
  close(): Promise<void>
}

export async function costs({ slices, rate, seconds, timed }: CostOptions): Promise<string[]> {
  const redis = await startRedis()
  const nodes: Node[] = []
  try {
    for (const strategy of strategies) nodes.push(await openNode(redis, strategy))
    // The first turn of each warms it up.
    for (let slice = 0; slice <= slices; slice++) {
      for (const node of nodes) {
        const times = await timeCalls(node, timed)
        if (slice > 0) node.times.push(...times)
      }
    }
    for (let slice = 0; slice <= slices; slice++) {
      for (const node of nodes) {
        const { cpu } = await drive(node.target, { scenario: 'call', lines: [node.line] }, rate, seconds)
        if (slice > 0) node.cpu.push(cpu)
      }
    }
  } finally {
    for (const node of nodes) await node.close()
    await redis.stop()
  }
  const how = `${slices} slices of ${rate} calls a second for ${seconds} s each, the median slice, and ${slices * timed} calls one after the other whose answers are timed. Redis on loopback.`
  return [how, '', ...table(nodes)]
}

async function openNode(redis: RedisServer, strategy: Strategy): Promise<Node> {
  const [port] = await freePorts(1)
  const server = await startVaartha({
    settings: {
      VAARTHA_STORE_REDIS: redis.url,
      VAARTHA_STORE_PREFIX: `bench-${strategy}`,
      VAARTHA_CLUSTER_NAME: 'a',
      VAARTHA_CLUSTER_SECRET: 'a secret of benchmarks, long enough',
      VAARTHA_CLUSTER_ADDRESS: '127.0.0.1',
      VAARTHA_CLUSTER_PORT: String(port),
      VAARTHA_CLUSTER_REPLICATION: strategy,
      VAARTHA_CLUSTER_DRAIN_SECONDS: '0',
      VAARTHA_CALLS_MOST: '100000',
    },
  })
  const target = { name: strategy, pid: server.pid, port: server.ports.sip, domain: server.domain }
  const add = (name: string) => server.addUser(name)
  const [secret, other] = [await add('u1'), await add('u0')]
  const answering = await startAnswering(target, 'u0', other)
  const [alice, bob] = [
    await registered(server, 'alice', await add('alice')),
    await registered(server, 'bob', await add('bob')),
  ]
  const line = `u1;${credentials('u1', secret)};u0`
  return {
    ...{ strategy, server, target, line, alice, bob, cpu: [], times: [] },
    async close() {
      for (const { peer } of [alice, bob]) peer.close()
      answering.stop()
      await answering.done
      await server.close()
    },
  }
}

/** From the callee's 200 to the caller's, in ms. */
async function timeCalls({ alice, bob }: Node, count: number): Promise<number[]> {
  const times: number[] = []
  for (let n = 0; n < count; n++) {
    const answered = answerAtOnce(bob.peer)
    await Promise.all([alice.call('bob'), answered])
    times.push(performance.now() - (await answered))
    await Promise.all([alice.hangUp(), bob.takeBye()])
  }
  return times
}

const at = (values: number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN

function table(nodes: Node[]): string[] {
  const [none] = nodes as [Node]
  const more = (node: Node) => (at(node.cpu, 0.5) / at(none.cpu, 0.5) - 1) * 100
  return [
    '| strategy | CPU of the server for a call | more than `none` | 200 OK passes, median | p95 | p99 |',
    '| --- | ---: | ---: | ---: | ---: | ---: |',
    ...nodes.map(node => {
      const percent = node === none ? '–' : `${more(node).toFixed(0)} %`
      const times = [0.5, 0.95, 0.99].map(share => `${at(node.times, share).toFixed(2)} ms`)
      return `| ${node.strategy} | ${at(node.cpu, 0.5).toFixed(2)} ms | ${percent} | ${times.join(' | ')} |`
    }),
  ]
}
