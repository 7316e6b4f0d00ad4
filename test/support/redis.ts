import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Redis } from 'ioredis'
import { here, type Place } from './server.ts'

export interface RedisServer {
  url: string
  port: number
  pid: number
  stop(): Promise<void>
}

/**
 * Starts a real redis-server, found in PATH, on a free loopback port (or the given one), that keeps nothing on disk;
 * `more` are further words of its command line, and `sentinel` is the configuration that makes it a Sentinel.
 */
export async function startRedis(
  port?: number,
  more: readonly string[] = [],
  sentinel?: string,
  place: Place = here,
): Promise<RedisServer> {
  const at = port ?? (await freePort())
  const dir = await mkdtemp(join(tmpdir(), 'vaartha-redis-'))
  const file = join(dir, 'sentinel.conf')
  if (sentinel !== undefined) await writeFile(file, sentinel)
  const settings = [
    ...(sentinel === undefined ? [] : [file, '--sentinel']),
    '--port',
    String(at),
    '--bind',
    place.address,
    '--protected-mode',
    'no',
    ...(sentinel === undefined ? ['--save', '', '--appendonly', 'no'] : []),
    '--dir',
    dir,
    ...more,
  ]
  const child = spawn(...place.enter('redis-server', settings), { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = new Promise<void>(resolve => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  await new Promise<void>((resolve, reject) => {
    child.once('error', cause =>
      reject(new Error('redis-server is missing: install the package redis-server', { cause })),
    )
    child.once('exit', code => reject(new Error(`redis-server ended with ${code}`)))
    createInterface(child.stdout).on('line', line => {
      if (/Ready to accept connections|Sentinel ID is/.test(line)) resolve()
    })
  })
  return {
    url: `redis://${place.address}:${at}/0`,
    port: at,
    pid: child.pid!,
    async stop() {
      child.kill('SIGKILL')
      await exited
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** Starts a Redis Cluster of two masters, and waits until both serve. */
export async function startRedisCluster(): Promise<{ url: string; pids: number[]; stop(): Promise<void> }> {
  const nodes: { server: RedisServer; client: Redis; bus: number }[] = []
  for (let n = 0; n < 2; n++) {
    const bus = await freePort()
    const server = await startRedis(undefined, ['--cluster-enabled', 'yes', '--cluster-port', String(bus)])
    nodes.push({ server, bus, client: new Redis(server.url) })
  }
  const [first, second] = nodes
  await first!.client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '8191')
  await second!.client.call('CLUSTER', 'ADDSLOTSRANGE', '8192', '16383')
  await first!.client.call('CLUSTER', 'MEET', '127.0.0.1', String(second!.server.port), String(second!.bus))
  for (const { client } of nodes) {
    while (!String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok')) {
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    client.disconnect()
  }
  return {
    url: nodes.map(({ server }) => server.url).join(','),
    pids: nodes.map(({ server }) => server.pid),
    stop: async () => void (await Promise.all(nodes.map(({ server }) => server.stop()))),
  }
}

export interface ReplicatedCluster {
  url: string
  /** Kills the master that holds this key; resolves with the port of the one that serves it by then. */
  killMasterOf(key: string): Promise<number>
  stop(): Promise<void>
}

/** Starts a Redis Cluster of three masters with a replica each, which take over a second after their master's death. */
export async function startReplicatedCluster(): Promise<ReplicatedCluster> {
  const nodes = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const bus = await freePort()
      const cluster = ['--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-node-timeout', '1000']
      const server = await startRedis(undefined, [...cluster, '--repl-diskless-sync-delay', '0'])
      return { server, bus, client: new Redis(server.url, { retryStrategy: () => null }) }
    }),
  )
  const [first] = nodes
  const says = async (of: (typeof nodes)[number], words: string[], what: RegExp) => {
    while (!what.test(String(await of.client.call(words[0]!, ...words.slice(1))))) {
      await new Promise(resolve => setTimeout(resolve, 30))
    }
  }
  for (const { server, bus } of nodes.slice(1)) {
    await first!.client.call('CLUSTER', 'MEET', '127.0.0.1', String(server.port), String(bus))
  }
  await Promise.all(nodes.map(node => says(node, ['CLUSTER', 'INFO'], /cluster_known_nodes:6/)))
  const slots = [0, 5461, 10_922, 16_384]
  for (const [n, { client }] of nodes.slice(0, 3).entries()) {
    await client.call('CLUSTER', 'ADDSLOTSRANGE', String(slots[n]), String(slots[n + 1]! - 1))
    const id = String(await client.call('CLUSTER', 'MYID'))
    // It has to know that this one is a master with slots.
    await says(nodes[n + 3]!, ['CLUSTER', 'NODES'], new RegExp(`${id}.*master.*connected ${slots[n]}-`))
    await nodes[n + 3]!.client.call('CLUSTER', 'REPLICATE', id)
  }
  await Promise.all(nodes.slice(3).map(node => says(node, ['INFO', 'replication'], /master_link_status:up/)))
  await Promise.all(nodes.map(node => says(node, ['CLUSTER', 'INFO'], /cluster_state:ok/)))
  return {
    url: nodes.map(({ server }) => server.url).join(','),
    async killMasterOf(key) {
      const slot = Number(await first!.client.call('CLUSTER', 'KEYSLOT', key))
      const at = slots.findIndex((from, n) => slot >= from && slot < slots[n + 1]!)
      const [master, replica] = [nodes[at]!, nodes[at + 3]!]
      master.client.disconnect()
      await master.server.stop()
      await says(replica, ['ROLE'], /^master/)
      return replica.server.port
    },
    async stop() {
      for (const { client } of nodes) client.disconnect()
      await Promise.all(nodes.map(({ server }) => server.stop()))
    },
  }
}

/** A master with a replica and three Sentinels that watch it, who take over within about two seconds. */
export interface RedisSentinel {
  url: string
  master: RedisServer
  replica: RedisServer
  /** Ports of the Sentinels. */
  sentinels: number[]
  stop(): Promise<void>
}

export async function startSentinel(): Promise<RedisSentinel> {
  const master = await startRedis()
  const replica = await startRedis(undefined, ['--replicaof', '127.0.0.1', String(master.port)])
  const client = new Redis(replica.url)
  while (!String(await client.info('replication')).includes('master_link_status:up')) {
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  client.disconnect()
  const sentinels: RedisServer[] = []
  for (let n = 0; n < 3; n++) {
    const config = [
      `sentinel monitor main 127.0.0.1 ${master.port} 2`,
      'sentinel down-after-milliseconds main 1000',
      'sentinel failover-timeout main 5000',
    ]
    sentinels.push(await startRedis(undefined, [], `${config.join('\n')}\n`))
  }
  for (const { port } of sentinels) await sees(port)
  return {
    url: `redis-sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/main/0`,
    master,
    replica,
    sentinels: sentinels.map(({ port }) => port),
    stop: async () => void (await Promise.all([...sentinels, replica, master].map(server => server.stop()))),
  }
}

/** Resolves when a Sentinel knows the replica and the two other Sentinels. */
async function sees(port: number): Promise<void> {
  const client = new Redis(port, '127.0.0.1')
  for (;;) {
    const text = String(await client.info('sentinel'))
    if (/slaves=1,sentinels=3/.test(text)) break
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  client.disconnect()
}

/** A TCP port of loopback that nobody has now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
