import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Redis } from 'ioredis'

export interface RedisServer {
  url: string
  port: number
  pid: number
  stop(): Promise<void>
}

/**
 * Starts a real redis-server, found in PATH, on a free loopback port (or the given one), that keeps nothing on disk;
 * `more` are further words of its command line.
 */
export async function startRedis(port?: number, more: readonly string[] = []): Promise<RedisServer> {
  const at = port ?? (await freePort())
  const dir = await mkdtemp(join(tmpdir(), 'vaartha-redis-'))
  const settings = [
    '--port',
    String(at),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    dir,
    ...more,
  ]
  const child = spawn('redis-server', settings, { stdio: ['ignore', 'pipe', 'inherit'] })
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
      if (line.includes('Ready to accept connections')) resolve()
    })
  })
  return {
    url: `redis://127.0.0.1:${at}/0`,
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

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
