import { type RedisOptions as AnyOptions, Cluster, Redis } from 'ioredis'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import { describeRedis, type Login, parseRedisAddress, type RedisAddress } from './address.ts'
import { inWords, isBug, wantsNewConnection } from './failure.ts'
import type { RedisClient, RedisLink } from './redis.ts'
import { createSubscriber } from './subscriber.ts'

export interface RedisLinkDeps {
  config: { redis: string; prefix: string; timeoutMs: number }
  events: Events
  log: Logger
}

// Without what replies look like, which we leave as it is.
type RedisOptions = Omit<AnyOptions, 'replyMapping'>

// Commands that wait for an answer at once. More means that Redis cannot follow, and the next ones are refused.
const mostWaiting = 10_000
// Probe keys in a Cluster; so many fall into the slots of every master of a small one.
const probeKeys = 16

/**
 * Connects to the Redis of `store.redis`. A Redis that hangs or is gone costs one timeout: then all that waits is refused
 * together, and everything after that at once, until a probe has written something. Throws Refusal('bad-config').
 */
export function createRedisLink(deps: RedisLinkDeps): RedisLink {
  const { config, events, log } = deps
  const { prefix, timeoutMs } = config
  const address = parseRedisAddress(config.redis)
  const where = describeRedis(address)
  const client = connect(address, timeoutMs)
  const waiting = new Set<(error: Refusal) => void>()
  const listeners = new Set<(healthy: boolean) => void>()
  const probeEveryMs = Math.min(timeoutMs, 1000)
  let healthy = false
  let reported = false
  let reason = 'not reached yet'
  let lastError: Error | undefined
  let probeTimer: NodeJS.Timeout | undefined
  let probing = false
  let closed = false

  const subscriber = createSubscriber({
    open: () => openSubscription(address, client, timeoutMs),
    log,
    checkMs: Math.max(1000, timeoutMs),
  })
  client.on('error', (error: Error) => {
    lastError = error
    log.debug({ why: error.message }, 'redis connection failed')
    if (!healthy) reason = inWords(error, timeoutMs)
  })
  client.on('close', () => {
    // One that we gave up ourselves says nothing new.
    if (healthy || lastError !== undefined) fail('connect', lastError ?? new Error('connection lost'))
  })
  client.on('ready', () => {
    lastError = undefined
    void probe()
  })
  probeLater()

  function fail(operation: string, error: Error): void {
    if (closed) return
    reason = inWords(error, timeoutMs)
    const was = healthy
    healthy = false
    const gone = refusal(reason, error)
    for (const reject of waiting) reject(gone)
    waiting.clear()
    // Behind a connection that does not answer, or to a server that is no master any more, nothing will come right.
    if (client instanceof Redis && wantsNewConnection(error)) client.disconnect(true)
    probeLater()
    if (!reported) {
      reported = true
      log.error({ operation, why: reason, redis: where }, 'redis does not serve us')
      events.emit('storeFailed', { store: 'redis', operation, message: error.message })
    }
    if (!was) return
    subscriber.renew()
    for (const listener of [...listeners]) listener(false)
  }

  function probeLater(): void {
    clearTimeout(probeTimer)
    if (closed) return
    probeTimer = setTimeout(() => void probe(), probeEveryMs)
    probeTimer.unref()
  }

  async function probe(): Promise<void> {
    if (healthy || closed || probing) return
    if (client.status !== 'ready') {
      probeLater()
      return
    }
    probing = true
    try {
      await write(client, prefix)
    } catch (error) {
      if (!healthy) fail('probe', error as Error)
      return
    } finally {
      probing = false
    }
    if (closed || healthy) return
    healthy = true
    reason = ''
    clearTimeout(probeTimer)
    subscriber.hasten()
    if (reported) {
      log.info({ redis: where }, 'redis serves us again')
      events.emit('storeRecovered', { store: 'redis' })
    }
    reported = false
    for (const listener of [...listeners]) listener(true)
  }

  function ask<T>(operation: string, commands: (client: RedisClient) => Promise<T>): Promise<T> {
    if (!healthy || closed) return Promise.reject(refusal(reason))
    if (waiting.size >= mostWaiting) return Promise.reject(refusal('too many commands wait for Redis'))
    return new Promise<T>((resolve, reject) => {
      const asked = performance.now()
      const answer = commands(client)
      waiting.add(reject)
      answer.then(
        value => {
          waiting.delete(reject)
          events.emit('redisAnswered', { ms: performance.now() - asked })
          resolve(value)
        },
        (error: Error) => {
          // Refused already, together with all that waited.
          if (!waiting.delete(reject)) return
          if (error instanceof Refusal || isBug(error)) {
            reject(error)
            return
          }
          fail(operation, error)
          reject(refusal(reason, error))
        },
      )
    })
  }

  async function* scan(keyPrefix: string, count = 500): AsyncIterable<string[]> {
    const pattern = `${keyPrefix.replace(/[\\*?[\]]/g, '\\$&')}*`
    for (const master of mastersOf(client)) {
      let cursor = '0'
      do {
        const [next, keys] = await ask('scan', () => master.scan(cursor, 'MATCH', pattern, 'COUNT', count))
        if (keys.length > 0) yield keys
        cursor = next
      } while (cursor !== '0')
    }
  }

  return {
    sharded: client instanceof Cluster,
    ask,
    script<R>(name: string, lua: string, keys?: number) {
      // A name that no command has.
      const verb = `script:${name}`
      client.defineCommand(verb, keys === undefined ? { lua } : { numberOfKeys: keys, lua })
      type Verbs = Record<string, (...words: (string | number)[]) => Promise<R>>
      return (...words: (string | number)[]) => ask(name, redis => (redis as unknown as Verbs)[verb]!(...words))
    },
    subscribe: subscriber.subscribe,
    publish: async (channel, message) => void (await ask('publish', redis => redis.publish(channel, message))),
    scan,
    healthy: () => healthy,
    why: () => (healthy ? '' : `Redis ${reason}`),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    ready() {
      if (healthy) return Promise.resolve(true)
      return new Promise(resolve => {
        const settle = (answer: boolean) => {
          clearTimeout(timer)
          listeners.delete(settle)
          resolve(answer)
        }
        const timer = setTimeout(() => settle(false), timeoutMs)
        listeners.add(settle)
      })
    },
    async close() {
      closed = true
      healthy = false
      reason = 'is not used any more'
      clearTimeout(probeTimer)
      subscriber.close()
      client.disconnect()
      for (const reject of waiting) reject(refusal(reason))
      waiting.clear()
    },
  }
}

function refusal(why: string, cause?: Error): Refusal {
  return new Refusal('store-unavailable', `Redis ${why}`, { headers: { 'Retry-After': '5' }, cause })
}

const retryIn = (times: number) => Math.min(50 * times, 1000)

function connect(address: RedisAddress, timeoutMs: number): RedisClient {
  const { login } = address
  // Nothing waits for a Redis that is away, and no commands are sent twice: who asked has been refused.
  const options: RedisOptions = { ...optionsOf(login, timeoutMs), enableOfflineQueue: false, retryStrategy: retryIn }
  if (address.kind === 'single') return new Redis({ ...options, ...address.place })
  if (address.kind === 'sentinel') return new Redis({ ...options, ...sentinelOptions(address, timeoutMs) })
  return new Cluster(address.places, {
    enableOfflineQueue: false,
    clusterRetryStrategy: retryIn,
    slotsRefreshTimeout: timeoutMs,
    // Enough to follow a moved slot; a server that is gone must not be waited for.
    maxRedirections: 3,
    // The nodes tell addresses, so names are not looked up a second time.
    redisOptions: optionsOf(login, timeoutMs),
  })
}

function sentinelOptions(address: RedisAddress & { kind: 'sentinel' }, timeoutMs: number): RedisOptions {
  const { places, master, sentinel, login } = address
  const options: RedisOptions = { sentinels: places, name: master, role: 'master', sentinelRetryStrategy: retryIn }
  options.sentinelCommandTimeout = timeoutMs
  if (sentinel.username !== undefined) options.sentinelUsername = sentinel.username
  if (sentinel.password !== undefined) options.sentinelPassword = sentinel.password
  if (sentinel.tls !== undefined) options.sentinelTLS = sentinel.tls
  if (login.tls !== undefined) options.enableTLSForSentinelMode = true
  return options
}

/** How to talk to one server. */
function optionsOf(login: Login, timeoutMs: number): RedisOptions {
  return {
    ...login,
    commandTimeout: timeoutMs,
    connectTimeout: timeoutMs,
    // A connection that is given up is not waited for.
    disconnectTimeout: 50,
    disableClientInfo: true,
    // The probe finds out whether it serves us, and needs no right to INFO.
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
  }
}

/** A connection that only hears; in a Cluster any of its servers tells what is published at another. */
function openSubscription(address: RedisAddress, client: RedisClient, timeoutMs: number): Redis | undefined {
  const options: RedisOptions = { ...optionsOf(address.login, timeoutMs), retryStrategy: () => null }
  if (address.kind === 'single') return new Redis({ ...options, ...address.place })
  if (address.kind === 'sentinel') return new Redis({ ...options, ...sentinelOptions(address, timeoutMs) })
  const masters = mastersOf(client)
  const { host, port } = masters[Math.floor(Math.random() * masters.length)]?.options ?? {}
  return host === undefined || port === undefined ? undefined : new Redis({ ...options, host, port })
}

/** Resolves when every master has answered and changes are accepted. */
async function write(client: RedisClient, prefix: string): Promise<void> {
  if (client instanceof Redis) {
    await client.set(`${prefix}:probe`, '1', 'PX', 60_000)
    return
  }
  const pings = mastersOf(client).map(async master => {
    try {
      await master.ping()
    } catch (error) {
      // The connection to it is lost in any case; a new one is made when the Cluster still names it.
      master.disconnect()
      throw error
    }
  })
  try {
    await Promise.all(pings)
    const keys = Array.from({ length: probeKeys }, (_, n) => `${prefix}:probe:{${n}}`)
    await Promise.all(keys.map(key => client.set(key, '1', 'PX', 60_000)))
  } catch (error) {
    client.refreshSlotsCache()
    throw error
  }
}

/** The servers that hold keys, always in the same order. */
function mastersOf(client: RedisClient): Redis[] {
  if (client instanceof Redis) return [client]
  const name = ({ options }: Redis) => `${options.host}:${options.port}`
  return client.nodes('master').sort((a, b) => (name(a) < name(b) ? -1 : 1))
}
