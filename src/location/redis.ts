import { randomInt } from 'node:crypto'
import { Cluster, Redis } from 'ioredis'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import { type Binding, partByTime } from './binding.ts'
import type { LocationStore, Page } from './store.ts'

// One hash per address of record, `<prefix>:loc:{aor}`, with its version and its bindings as JSON. Each script touches
// that one key, and the braces name it as the hash tag, so Redis Cluster can place it. The key ends a while after its
// last binding, so that a watchdog can still report the end.

const graceMs = 60_000
// A version is drawn by lot, never counted: a key that ended and came again must not repeat an old one.
const versions = 2 ** 47

const saveScript = `
if (redis.call('HGET', KEYS[1], 'v') or '0') ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('DEL', KEYS[1]) return 1 end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'b', ARGV[3])
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
return 1`

type Scripted = (Redis | Cluster) & {
  saveBindings(key: string, version: string, next: string, bindings: string, endsAt: string): Promise<number>
}

export interface RedisStoreDeps {
  /** `redis` is one URL, or several with commas between that name nodes of a Redis Cluster. */
  config: { redis: string; prefix: string; timeoutMs: number }
  events: Events
  log: Logger
  now(): number
}

export interface RedisStore extends LocationStore {
  /** Resolves with true when Redis answers, with false when it has not within the timeout; it is tried on either way. */
  ready(): Promise<boolean>
}

/**
 * The shared store. A Redis that hangs or is gone costs one timeout; from then on every request is refused at once
 * with 'store-unavailable' until a probe is answered, so nothing piles up here.
 */
export function createRedisStore(deps: RedisStoreDeps): RedisStore {
  const { config, events, log, now } = deps
  const redis = connect(config)
  const prefix = `${config.prefix}:loc:`
  const key = (aor: string) => `${prefix}{${aor}}`
  let failed = false
  let probe: NodeJS.Timeout | undefined
  let counted = { until: 0, size: 0 }
  let counting: Promise<number> | undefined
  let closing: Promise<void> | undefined

  redis.on('error', error => log.debug({ err: error }, 'redis connection failed'))
  redis.on('close', () => {
    if (closing === undefined) fail('connect', new Error('connection to Redis lost'))
  })
  redis.on('ready', () => void tryAgain())

  function fail(operation: string, error: Error): void {
    if (failed) return
    failed = true
    log.error({ err: error, operation }, 'redis does not answer, refusing registrations and calls')
    events.emit('storeFailed', { store: 'location', operation, message: error.message })
    probeLater()
  }

  function probeLater(): void {
    clearTimeout(probe)
    probe = setTimeout(() => void tryAgain(), Math.min(config.timeoutMs, 1000))
    probe.unref()
  }

  async function tryAgain(): Promise<void> {
    if (!failed || closing !== undefined) return
    try {
      await redis.ping()
    } catch {
      // Still down, as reported already when it went.
      if (closing === undefined) probeLater()
      return
    }
    if (!failed) return
    failed = false
    clearTimeout(probe)
    log.info({}, 'redis answers again')
    events.emit('storeRecovered', { store: 'location' })
  }

  async function ask<T>(operation: string, command: () => Promise<T>): Promise<T> {
    if (failed || closing !== undefined) throw refusal()
    try {
      return await command()
    } catch (error) {
      fail(operation, error as Error)
      throw refusal(error)
    }
  }

  // A walk over the keys of one master after the other. The cursor holds which one, and how far in it.
  async function list(cursor: string | undefined, limit: number): Promise<Page> {
    const [at = 0, from = '0'] = cursor === undefined ? [] : [Number(cursor.split('.')[0]), cursor.split('.')[1]]
    const masters = mastersOf(redis)
    const master = masters[at]
    if (master === undefined) return { bindings: [], cursor: undefined }
    const [next, keys] = await ask('list', () => master.scan(from, 'MATCH', `${escapeGlob(prefix)}*`, 'COUNT', limit))
    const pages = await ask('list', () => Promise.all(keys.map(name => redis.hget(name, 'b'))))
    const bindings = pages.flatMap(text => partByTime(parseBindings(text), now()).bindings)
    if (next !== '0') return { bindings, cursor: `${at}.${next}` }
    return { bindings, cursor: at + 1 < masters.length ? `${at + 1}.0` : undefined }
  }

  /** Counts by a walk over all keys. Metrics ask often and need no exact figure, so it takes 2 % of the time at most. */
  async function count(): Promise<number> {
    const began = performance.now()
    let size = 0
    let cursor: string | undefined
    do {
      const page = await list(cursor, 1000)
      size += page.bindings.length
      cursor = page.cursor
    } while (cursor !== undefined)
    const ended = performance.now()
    counted = { until: ended + Math.max(10_000, 50 * (ended - began)), size }
    return size
  }

  return {
    async load(aor) {
      const [version, text] = await ask('load', () => redis.hmget(key(aor), 'v', 'b'))
      return { version: Number(version ?? 0), ...partByTime(parseBindings(text), now()) }
    },
    async save(aor, version, bindings) {
      const next = String(randomInt(1, versions))
      const text = bindings.length === 0 ? '' : JSON.stringify(bindings)
      const endsAt = bindings.reduce((latest, binding) => Math.max(latest, binding.expiresAt), 0) + graceMs
      const done = await ask('save', () =>
        redis.saveBindings(key(aor), String(version), next, text, String(Math.ceil(endsAt))),
      )
      return done === 1
    },
    list,
    count() {
      if (performance.now() < counted.until) return counted.size
      counting ??= count().finally(() => {
        counting = undefined
      })
      return counting
    },
    async ready() {
      if (redis.status === 'ready') return true
      return await new Promise<boolean>(resolve => {
        const timer = setTimeout(() => settle(false), config.timeoutMs)
        const onReady = () => settle(true)
        const settle = (answer: boolean) => {
          clearTimeout(timer)
          redis.off('ready', onReady)
          resolve(answer)
        }
        redis.on('ready', onReady)
      })
    },
    healthy: () => !failed && redis.status === 'ready',
    close() {
      closing ??= (async () => {
        clearTimeout(probe)
        redis.disconnect()
      })()
      return closing
    },
  }
}

function connect(config: RedisStoreDeps['config']): Scripted {
  const [url = '', ...others] = config.redis.split(',').map(text => text.trim())
  // Nothing waits for a Redis that is away; the phone gets its 503 and asks again.
  const single = { ...optionsOf(config), enableOfflineQueue: false, retryStrategy: retryIn }
  const redis = others.length === 0 ? new Redis(url, single) : connectCluster([url, ...others], config)
  redis.defineCommand('saveBindings', { numberOfKeys: 1, lua: saveScript })
  return redis as Scripted
}

/** The nodes of a Cluster tell each other's addresses, not how to log in: that is the first URL's for all. */
function connectCluster(urls: string[], config: RedisStoreDeps['config']): Cluster {
  const { protocol, username, password } = new URL(urls[0]!)
  return new Cluster(urls, {
    enableOfflineQueue: false,
    clusterRetryStrategy: retryIn,
    slotsRefreshTimeout: config.timeoutMs,
    // Enough to follow a moved slot; a server that is gone must not be waited for.
    maxRedirections: 3,
    redisOptions: {
      ...optionsOf(config),
      ...(username === '' ? {} : { username: decodeURIComponent(username) }),
      ...(password === '' ? {} : { password: decodeURIComponent(password) }),
      ...(protocol === 'rediss:' ? { tls: {} } : {}),
    },
  })
}

/** How to talk to one server. */
function optionsOf(config: RedisStoreDeps['config']) {
  return {
    commandTimeout: config.timeoutMs,
    connectTimeout: config.timeoutMs,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // After a failover the old master is read-only; a new connection finds the new one.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  }
}

const retryIn = (times: number) => Math.min(50 * times, 1000)

/** The servers that hold keys, always in the same order. */
function mastersOf(redis: Redis | Cluster): Redis[] {
  if (!(redis instanceof Cluster)) return [redis]
  const name = ({ options }: Redis) => `${options.host}:${options.port}`
  return redis.nodes('master').sort((a, b) => (name(a) < name(b) ? -1 : 1))
}

function refusal(cause?: unknown): Refusal {
  return new Refusal('store-unavailable', undefined, { headers: { 'Retry-After': '5' }, cause })
}

function parseBindings(text: string | null | undefined): Binding[] {
  return text ? JSON.parse(text) : []
}

function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&')
}
