import { join } from 'node:path'

// Pure: which programs a pair on one machine is made of, and how each is started.

export interface PairPlace {
  /** Directory of the pair's data. */
  directory: string
  /** Shared by the two nodes, and the password of Redis and NATS. */
  secret: string
  /** First port of what the nodes share; `0` and `1` beyond them are Redis, 2 the Sentinel, 3 NATS. */
  port: number
  /** SIP port of node a; b has one hundred more. */
  sip: number
  /** HTTP port of node a, HTTPS is the next one, b has one hundred more; absent: what is configured, and 8180 for b. */
  http?: number
}

export interface PairProgram {
  name: 'redis' | 'replica' | 'sentinel' | 'nats' | 'a' | 'b'
  command: string
  args: string[]
  env: Record<string, string>
  /** Written before the start, owner-only: path → text. */
  files: Record<string, string>
}

const master = 'vaartha'

/** Redis with a replica and a Sentinel, NATS with JetStream, and two nodes of priorities 10 and 20; all on loopback but the nodes. */
export function pairPrograms(place: PairPlace): PairProgram[] {
  return [
    redis(place, 'redis'),
    redis(place, 'replica'),
    sentinel(place),
    nats(place),
    node(place, 'a'),
    node(place, 'b'),
  ]
}

function redis({ directory, secret, port }: PairPlace, name: 'redis' | 'replica'): PairProgram {
  const file = join(directory, `${name}.conf`)
  const own = name === 'redis' ? port : port + 1
  const lines = [
    'bind 127.0.0.1',
    `port ${own}`,
    `requirepass ${secret}`,
    `masterauth ${secret}`,
    'appendonly yes',
    `dir ${quoted(join(directory, name))}`,
    ...(name === 'redis' ? [] : [`replicaof 127.0.0.1 ${port}`]),
  ]
  return { name, command: 'redis-server', args: [file], env: {}, files: { [file]: `${lines.join('\n')}\n` } }
}

function sentinel({ directory, secret, port }: PairPlace): PairProgram {
  const file = join(directory, 'sentinel.conf')
  const lines = [
    'bind 127.0.0.1',
    `port ${port + 2}`,
    `requirepass ${secret}`,
    `dir ${quoted(join(directory, 'sentinel'))}`,
    `sentinel monitor ${master} 127.0.0.1 ${port} 1`,
    `sentinel auth-pass ${master} ${secret}`,
    `sentinel down-after-milliseconds ${master} 1000`,
    `sentinel failover-timeout ${master} 5000`,
  ]
  return {
    name: 'sentinel',
    command: 'redis-server',
    args: [file, '--sentinel'],
    env: {},
    files: { [file]: `${lines.join('\n')}\n` },
  }
}

function nats({ directory, secret, port }: PairPlace): PairProgram {
  const file = join(directory, 'nats.conf')
  const lines = [
    'host: "127.0.0.1"',
    `port: ${port + 3}`,
    `jetstream { store_dir: ${quoted(join(directory, 'nats'))} }`,
    `authorization { user: "vaartha", password: "${secret}" }`,
  ]
  return {
    name: 'nats',
    command: 'nats-server',
    args: ['-c', file],
    env: {},
    files: { [file]: `${lines.join('\n')}\n` },
  }
}

function node({ directory, secret, port, sip, http }: PairPlace, name: 'a' | 'b'): PairProgram {
  const second = name === 'b'
  const far = (value: number, more: number) => String(value + (second ? more : 0))
  const range = (first: number) => `${far(first, 2000)}-${far(first + 999, 2000)}`
  const env = {
    VAARTHA_DATA: join(directory, name),
    VAARTHA_STORE_REDIS: `redis-sentinel://:${secret}@127.0.0.1:${port + 2}/${master}?sentinelPassword=${secret}`,
    VAARTHA_CLUSTER_NAME: name,
    VAARTHA_CLUSTER_SECRET: secret,
    VAARTHA_CLUSTER_PRIORITY: second ? '20' : '10',
    VAARTHA_CLUSTER_ADDRESS: '127.0.0.1',
    VAARTHA_CLUSTER_PORT: far(port + 10, 1),
    VAARTHA_CLUSTER_NATS: `nats://vaartha:${secret}@127.0.0.1:${port + 3}`,
    VAARTHA_SIP_UDP: far(sip, 100),
    VAARTHA_SIP_TCP: far(sip, 100),
    VAARTHA_SIP_TLS: far(sip + 1, 100),
    VAARTHA_MEDIA_PORT: far(44400, 100),
    VAARTHA_MEDIA_RTP_PORTS: range(45000),
    VAARTHA_MEDIA_TRUNK_PORTS: range(46000),
    ...httpPorts(second, http),
  }
  return { name, command: 'vaartha', args: second ? ['serve', '--quiet'] : ['serve'], env, files: {} }
}

/** Both on one machine cannot have 80 and 443. */
function httpPorts(second: boolean, http: number | undefined): Record<string, string> {
  if (http === undefined) return second ? { VAARTHA_HTTP_PORT: '8180', VAARTHA_HTTP_SECURE_PORT: '8543' } : {}
  const own = second ? http + 100 : http
  return { VAARTHA_HTTP_PORT: String(own), VAARTHA_HTTP_SECURE_PORT: String(own + 1) }
}

const quoted = (text: string) => JSON.stringify(text)
