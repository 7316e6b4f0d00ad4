import { randomInt } from 'node:crypto'
import { Redis } from 'ioredis'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import { type Binding, partByTime } from './binding.ts'
import type { LocationStore } from './store.ts'

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

type Scripted = Redis & {
  saveBindings(key: string, version: string, next: string, bindings: string, endsAt: string): Promise<number>
}

export interface RedisStoreDeps {
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
  let counted = { at: Number.NEGATIVE_INFINITY, size: 0 }
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

  async function list(cursor: string | undefined, limit: number) {
    const [next, keys] = await ask('list', () =>
      redis.scan(cursor ?? '0', 'MATCH', `${escapeGlob(prefix)}*`, 'COUNT', limit),
    )
    const pages = await ask('list', () => Promise.all(keys.map(name => redis.hget(name, 'b'))))
    const bindings = pages.flatMap(text => partByTime(parseBindings(text), now()).bindings)
    return { bindings, cursor: next === '0' ? undefined : next }
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
    async count() {
      // A walk over all keys: kept for some seconds, because metrics ask often and need no exact figure.
      if (now() - counted.at < 10_000) return counted.size
      let size = 0
      let cursor: string | undefined
      do {
        const page = await list(cursor, 1000)
        size += page.bindings.length
        cursor = page.cursor
      } while (cursor !== undefined)
      counted = { at: now(), size }
      return size
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
  const redis = new Redis(config.redis, {
    commandTimeout: config.timeoutMs,
    connectTimeout: config.timeoutMs,
    // Nothing waits for a Redis that is away; the phone gets its 503 and asks again.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: times => Math.min(50 * times, 1000),
    // After a failover the old master is read-only; a new connection finds the new one.
    reconnectOnError: error => error.message.startsWith('READONLY'),
  })
  redis.defineCommand('saveBindings', { numberOfKeys: 1, lua: saveScript })
  return redis as Scripted
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
