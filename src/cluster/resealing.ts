import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import { placeOfRow } from './directory/shelf.ts'
import type { Sealer } from './seal.ts'

// While `cluster.secret` is changed node by node (docs/cluster.md), what the nodes share is sealed anew with the secret of
// this node, so that the last node that has changed leaves nothing behind that needs the old one.

export interface Resealing {
  /** Begins, now or as soon as Redis is there. */
  start(): void
  close(): void
}

// Nothing is written over that has changed since it was read.
const swapField = `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1`

const swapKey = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1`

const step = 200

export function createResealing(deps: { redis: RedisLink; sealer: Sealer; prefix: string; log: Logger }): Resealing {
  const { redis, sealer, prefix, log } = deps
  const runField = redis.script<number>('reseal-field', swapField, 1)
  const runKey = redis.script<number>('reseal-key', swapKey, 1)
  let running = false
  let done = false
  let closed = false
  let stop: (() => void) | undefined

  async function sealKeys(of: string): Promise<number> {
    let count = 0
    for await (const keys of redis.scan(of)) {
      for (const key of closed ? [] : keys) {
        const sealed = await redis.ask('reseal', client => client.get(key))
        const fresh = sealed === null ? undefined : sealer.reseal(sealed, key)
        if (fresh !== undefined) count += await runKey(key, sealed!, fresh)
      }
    }
    return count
  }

  /** Fields of a hash, each with the place that it is sealed for. */
  async function sealHash(key: string, place: (id: string, head: string) => string): Promise<number> {
    let count = 0
    let cursor = '0'
    do {
      const [next, flat] = await redis.ask('reseal', client => client.hscan(key, cursor, 'COUNT', step))
      for (let i = 0; i < flat.length && !closed; i += 2) {
        count += await sealField(key, place, flat[i]!, flat[i + 1]!)
      }
      cursor = next
    } while (cursor !== '0' && !closed)
    return count
  }

  /** What is not sealed stands before a space. */
  async function sealField(
    key: string,
    place: (id: string, head: string) => string,
    id: string,
    value: string,
  ): Promise<number> {
    const head = value.slice(0, value.indexOf(' ') + 1)
    const fresh = sealer.reseal(value.slice(head.length), place(id, head.trimEnd()))
    return fresh === undefined ? 0 : await runField(key, id, value, `${head}${fresh}`)
  }

  async function sealAll(): Promise<void> {
    let count = (await sealKeys(`${prefix}:secret:`)) + (await sealKeys(`${prefix}:session:`))
    const directory = `${prefix}:{directory}:`
    for await (const keys of redis.scan(directory)) {
      for (const key of keys) {
        const [what = '', more = ''] = key.slice(directory.length).split(':')
        // Rows are `VERSION SEALED`, calls of a day are sealed alone.
        if (more === 'rows') count += await sealHash(key, (id, version) => placeOfRow(what, id, version))
        else if (what === 'calls') count += await sealHash(key, id => placeOfRow('call', id, more))
      }
    }
    for await (const keys of redis.scan(`${prefix}:inbox:{`)) {
      for (const key of keys) count += await sealHash(key, id => `${key}:${id}`)
    }
    if (closed) return
    done = true
    stop?.()
    log.info({ count }, 'all that the nodes share is sealed with cluster.secret of this node')
  }

  function run(): void {
    if (running || done || closed || !redis.healthy()) return
    running = true
    sealAll()
      .catch((error: unknown) => {
        // It begins anew when Redis is back.
        if (!(error instanceof Refusal))
          log.error({ err: error }, 'could not be sealed with the present cluster.secret')
      })
      .finally(() => {
        running = false
      })
  }

  return {
    start() {
      stop = redis.onChange(run)
      run()
    },
    close() {
      closed = true
      stop?.()
    },
  }
}
