import type { RedisLink } from '../redis/redis.ts'
import { leaseKey } from './kept-store.ts'

// The nodes in Redis, all in one slot:
//   <prefix>:{nodes}         hash: what each life says of itself, and by `LIFE@` when it was last renewed, in Redis' time
//   <prefix>:{nodes}:LIFE    its lease, which ends by itself; one that was stretched by a leap of Redis' clock is ended here
// A dead life stays in the hash for a while, so that a node that comes only now can adopt what nobody has adopted.

const deadMs = 600_000

const beatScript = `
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)
local there = redis.call('HEXISTS', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], ARGV[1] .. '@', at)
if ARGV[3] == '0' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], '1', 'PX', ARGV[3]) end
local all = redis.call('HGETALL', KEYS[1])
local said, seen, answer = {}, {}, { there }
for i = 1, #all, 2 do
  local life = string.match(all[i], '^(.*)@$')
  if life then seen[life] = all[i + 1] else said[all[i]] = all[i + 1] end
end
for life, text in pairs(said) do
  local left = redis.call('PTTL', KEYS[1] .. ':' .. life)
  if left > 2 * tonumber(ARGV[5]) then
    redis.call('DEL', KEYS[1] .. ':' .. life)
    left = -2
  end
  if left < 0 and at - (tonumber(seen[life]) or 0) > tonumber(ARGV[4]) then
    redis.call('HDEL', KEYS[1], life, life .. '@')
  else
    answer[#answer + 1] = life
    answer[#answer + 1] = text
    answer[#answer + 1] = left
  end
end
return answer`

export interface Leased {
  life: string
  /** JSON. */
  said: string
  /** How long its lease still lasts; negative: it has none. */
  leftMs: number
}

export interface Beat {
  /** Redis knew us: it has not lost its data since our last heartbeat. */
  known: boolean
  all: Leased[]
}

export type LeaseStore = ReturnType<typeof createLeaseStore>

/** Renews the lease of a life, ours or that of a node which has lost Redis, and tells who is there. */
export function createLeaseStore(redis: RedisLink, prefix: string) {
  const beat = redis.script<(number | string)[]>('beat', beatScript, 2)
  const nodes = `${prefix}:{nodes}`
  /** `bye` ends the lease. */
  return async (life: string, said: string, leaseMs: number, bye = false): Promise<Beat> => {
    const answer = await beat(nodes, leaseKey(prefix, life), life, said, bye ? 0 : leaseMs, deadMs, leaseMs)
    const [known, ...rest] = answer
    const all: Leased[] = []
    for (let at = 0; at + 2 < rest.length; at += 3) {
      all.push({ life: String(rest[at]), said: String(rest[at + 1]), leftMs: Number(rest[at + 2]) })
    }
    return { known: known === 1, all }
  }
}
