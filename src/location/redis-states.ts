import type { RedisClient, RedisLink } from '../redis/redis.ts'
import type { Binding } from './binding.ts'

// One hash per address of record, `<prefix>:loc:{aor}`: `v` names the state, `p` the one that it came out of, `b` holds
// the bindings as JSON. The braces make it one slot of a Redis Cluster. Names of states grow, by the clock of Redis, and
// grow on over a key that ended or was lost, because whoever saves says what they know. A Redis that knows less than
// that (it came back empty, or a replica took over that had missed the last writes) is believed no more: the save goes
// through. An address without bindings keeps its key, empty, as long as the bindings could have lived, so that a node
// which missed the end can tell it from a loss. Every change is published in the same step.

const graceMs = 60_000

const saveScript = `
local known = redis.call('HMGET', KEYS[1], 'v', 'b', 'p')
local v = tonumber(known[1] or '0')
local expected = tonumber(ARGV[1])
if v > expected and not (expected == 0 and known[2] == '') then return {0, known[1], known[3], known[2]} end
local parent = math.max(v, expected)
local time = redis.call('TIME')
local stamp = string.format('%.0f', math.max(time[1] * 1000000 + time[2], parent + 1))
local text = string.format('%.0f', parent)
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'v', stamp, 'p', text, 'b', ARGV[2])
  redis.call('PEXPIREAT', KEYS[1], ARGV[3])
else
  redis.call('HSET', KEYS[1], 'v', stamp, 'p', text, 'b', '')
  if not known[1] then redis.call('PEXPIREAT', KEYS[1], ARGV[3]) end
end
redis.call('PUBLISH', ARGV[4], ARGV[5] .. ' ' .. stamp .. ' ' .. text .. ' ' .. ARGV[6] .. '\\n' .. ARGV[2])
return {1, stamp}`

/** The state of an address in Redis. */
export interface SharedState {
  aor: string
  stamp: number
  /** The state that it was made out of. */
  parent: number
  bindings: Binding[]
}

/** What registrations need of Redis. All of it refuses 'store-unavailable' while Redis is away. */
export interface RedisStates {
  read(aor: string): Promise<SharedState>
  /**
   * Saves over the state `stamp` or one older than that; else gives the one that is there. `endsAt` is when the last of
   * the bindings ends that were taken away, in ms since 1970.
   */
  save(
    aor: string,
    stamp: number,
    bindings: readonly Binding[],
    endsAt: number,
  ): Promise<{ saved: number } | { found: SharedState }>
  /** All there are, about `count` at a time. */
  walk(count: number): AsyncIterable<SharedState[]>
  /** Hears what other nodes save. `onBack`: from now on; what was saved before must be read. */
  listen(listener: (state: SharedState) => void, onBack: () => void): Promise<() => void>
}

/** `life` names this process, so that it does not hear itself. */
export function createRedisStates(link: RedisLink, prefix: string, life: string): RedisStates {
  const keys = `${prefix}:loc:`
  const channel = `${prefix}:loc`
  const keyOf = (aor: string) => `${keys}{${aor}}`
  type Reply = [done: number, stamp: string, parent: string | null, text: string | null]
  const run = link.script<Reply>('save-bindings', saveScript, 1)
  const fetch = (redis: RedisClient, key: string) => redis.hmget(key, 'v', 'p', 'b')
  return {
    async read(aor) {
      return parse(aor, await link.ask('load', redis => fetch(redis, keyOf(aor))))
    },
    async save(aor, stamp, bindings, endsAt) {
      const text = bindings.length === 0 ? '' : JSON.stringify(bindings)
      const until = Math.ceil(lastEnd(bindings) || endsAt) + graceMs
      const [done, found, ...rest] = await run(keyOf(aor), stamp, text, until, channel, life, aor)
      return done === 1 ? { saved: Number(found) } : { found: parse(aor, [found, ...rest]) }
    },
    async *walk(count) {
      for await (const page of link.scan(keys, count)) {
        const states = await link.ask('catch up', redis => Promise.all(page.map(key => fetch(redis, key))))
        yield states.map((state, at) => parse(page[at]!.slice(keys.length + 1, -1), state))
      }
    },
    listen: (listener, onBack) =>
      link.subscribe(
        channel,
        message => {
          const state = message.startsWith(`${life} `) ? undefined : parseMessage(message)
          if (state !== undefined) listener(state)
        },
        onBack,
      ),
  }
}

/** When the last of them ends; 0 when there is none. */
export function lastEnd(bindings: readonly Binding[]): number {
  return bindings.reduce((last, { expiresAt }) => Math.max(last, expiresAt), 0)
}

function parse(aor: string, [stamp, parent, text]: (string | null)[]): SharedState {
  return { aor, stamp: Number(stamp ?? 0), parent: Number(parent ?? 0), bindings: text ? JSON.parse(text) : [] }
}

/** `life stamp parent aor`, and the bindings on the second line. */
function parseMessage(message: string): SharedState | undefined {
  const end = message.indexOf('\n')
  const [, stamp, parent, ...aor] = message.slice(0, Math.max(0, end)).split(' ')
  if (stamp === undefined || parent === undefined) return undefined
  return parse(aor.join(' '), [stamp, parent, message.slice(end + 1)])
}
