import { randomBytes } from 'node:crypto'
import type { RedisLink } from '../../redis/redis.ts'
import type { Sealer } from '../seal.ts'
import type { Waiting } from './replica.ts'
import { type Entry, type Kind, readVersion, type Version, writeVersion } from './version.ts'

// The side of Redis: per kind a hash of versions, to be compared, and a hash of sealed states, each with its version before
// it. Calls lie in a hash for each day, which ends by itself. The braces keep all of it in one slot of a Redis Cluster.

/** What became of a state that was told: `other` is a state that it met and that this node had not seen. */
export interface Told {
  taken: boolean
  other?: Entry
}

export interface Shelf {
  /** Names this life of the store: another one after all in it was lost. */
  epoch(): Promise<string>
  push(kind: Kind, entries: readonly Waiting[]): Promise<Told[]>
  pull(kind: Kind, ids: readonly string[]): Promise<Entry[]>
  versions(kind: Kind): AsyncIterable<[id: string, version: Version & { gone: boolean }][]>
  /** Which of these have a version there. */
  known(kind: Kind, ids: readonly string[]): Promise<(Version | undefined)[]>
  /** Takes away what went long ago, unless it has changed since. */
  forget(kind: Kind, ids: readonly string[], before: number): Promise<void>
  addCalls(day: string, docs: ReadonlyMap<string, string>): Promise<void>
  countCalls(day: string): Promise<number>
  pullCalls(day: string, ids: readonly string[]): Promise<string[]>
  calls(day: string): AsyncIterable<string[]>
  /** True for the one node that comes first, and for it again when it asks again. */
  claim(id: string, untilMs: number): Promise<boolean>
  /** How many states were there that none of our secrets opens. */
  unreadable(): number
}

const step = 500

// Takes each state that is newer than the one that is there. Answers '' where nothing unknown was met, else 'won' or
// 'lost' and what was met.
const pushScript = `
local answers = {}
for i = 1, #ARGV, 5 do
  local id, stamp, node, base, packed = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local old = redis.call('HGET', KEYS[1], id)
  local take, answer = true, ''
  if old then
    local theirs, maker = string.match(old, '^(%d+):%d:(.*)$')
    local difference = tonumber(stamp) - tonumber(theirs)
    take = difference > 0 or (difference == 0 and node > maker)
    local same = difference == 0 and node == maker
    if not take and not same then answer = 'lost ' .. (redis.call('HGET', KEYS[2], id) or '')
    elseif take and theirs ~= base then answer = 'won ' .. (redis.call('HGET', KEYS[2], id) or '') end
  end
  if take then
    redis.call('HSET', KEYS[1], id, string.match(packed, '^%S+'))
    redis.call('HSET', KEYS[2], id, packed)
  end
  answers[#answers + 1] = answer
end
return answers`

const forgetScript = `
for i = 2, #ARGV do
  local stamp, gone = string.match(redis.call('HGET', KEYS[1], ARGV[i]) or '', '^(%d+):(%d):')
  if gone == '1' and tonumber(stamp) < tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('HDEL', KEYS[2], ARGV[i])
  end
end`

const callsScript = `
for i = 2, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])`

/** The version is part of what is sealed for, so that nobody can bring an old state back under a new one. */
export function placeOfRow(kind: string, id: string, version: string): string {
  return `directory|${kind}|${id}|${version}`
}

/** `prefix` is that of all keys; calls stay for `callsMs` after their day. */
export function createShelf(deps: {
  redis: RedisLink
  sealer: Sealer
  prefix: string
  /** The node that claims. */
  claimant: string
  callsMs: number
}): Shelf {
  const { redis, sealer, callsMs } = deps
  const base = `${deps.prefix}:{directory}`
  const keysOf = (kind: Kind) => [`${base}:${kind}:versions`, `${base}:${kind}:rows`] as const
  const dayKey = (day: string) => `${base}:calls:${day}`
  const runPush = redis.script<string[]>('directory-push', pushScript, 2)
  const runForget = redis.script<null>('directory-forget', forgetScript, 2)
  const runCalls = redis.script<number>('directory-calls', callsScript, 1)
  let unreadable = 0

  function pack(entry: Entry): string {
    const version = writeVersion(entry)
    return `${version} ${sealer.seal(entry.doc ?? '', placeOfRow(entry.kind, entry.id, version))}`
  }

  function unpack(kind: Kind, id: string, packed: string): Entry | undefined {
    const space = packed.indexOf(' ')
    const text = packed.slice(0, space)
    const version = readVersion(text)
    const doc = version && sealer.open(packed.slice(space + 1), placeOfRow(kind, id, text))
    if (version === undefined || doc === undefined) {
      unreadable++
      return undefined
    }
    return { kind, id, stamp: version.stamp, node: version.node, doc: version.gone ? undefined : doc }
  }

  function openCalls(day: string, pairs: [id: string, sealed: string | null | undefined][]): string[] {
    return pairs.flatMap(([id, sealed]) => {
      if (!sealed) return []
      const doc = sealer.open(sealed, placeOfRow('call', id, day))
      if (doc === undefined) unreadable++
      return doc ?? []
    })
  }

  async function* walk(key: string): AsyncIterable<[string, string][]> {
    let cursor = '0'
    do {
      const [next, flat] = await redis.ask('directory-scan', client => client.hscan(key, cursor, 'COUNT', step))
      const pairs: [string, string][] = []
      for (let i = 0; i < flat.length; i += 2) pairs.push([flat[i]!, flat[i + 1]!])
      if (pairs.length > 0) yield pairs
      cursor = next
    } while (cursor !== '0')
  }

  return {
    async epoch() {
      const key = `${base}:epoch`
      const name = randomBytes(12).toString('base64url')
      await redis.ask('directory-epoch', client => client.set(key, name, 'NX'))
      return (await redis.ask('directory-epoch', client => client.get(key))) ?? ''
    },
    async push(kind, entries) {
      const words = entries.flatMap(e => [e.id, e.stamp, e.node, e.base, pack(e)])
      const answers = await runPush(...keysOf(kind), ...words)
      return entries.map(({ id }, index) => {
        const answer = answers[index] ?? ''
        const space = answer.indexOf(' ')
        const other = space > 0 ? unpack(kind, id, answer.slice(space + 1)) : undefined
        return { taken: !answer.startsWith('lost'), ...(other === undefined ? {} : { other }) }
      })
    },
    async pull(kind, ids) {
      const [, key] = keysOf(kind)
      const found = await redis.ask('directory-pull', client => client.hmget(key, ...ids))
      return ids.flatMap((id, index) => {
        const packed = found[index]
        return (packed && unpack(kind, id, packed)) || []
      })
    },
    async *versions(kind) {
      for await (const pairs of walk(keysOf(kind)[0])) {
        yield pairs.flatMap(([id, text]): [string, Version & { gone: boolean }][] => {
          const version = readVersion(text)
          return version === undefined ? [] : [[id, version]]
        })
      }
    },
    async known(kind, ids) {
      const [key] = keysOf(kind)
      const found = await redis.ask('directory-known', client => client.hmget(key, ...ids))
      return found.map(text => (text ? readVersion(text) : undefined))
    },
    async forget(kind, ids, before) {
      await runForget(...keysOf(kind), before * 1000, ...ids)
    },
    async addCalls(day, docs) {
      const words = [...docs].flatMap(([id, doc]) => [id, sealer.seal(doc, placeOfRow('call', id, day))])
      await runCalls(dayKey(day), Date.parse(day) + 86_400_000 + callsMs, ...words)
    },
    countCalls: day => redis.ask('directory-calls', client => client.hlen(dayKey(day))),
    async pullCalls(day, ids) {
      const found = await redis.ask('directory-calls', client => client.hmget(dayKey(day), ...ids))
      return openCalls(
        day,
        ids.map((id, index) => [id, found[index]]),
      )
    },
    async *calls(day) {
      for await (const pairs of walk(dayKey(day))) yield openCalls(day, pairs)
    },
    async claim(id, untilMs) {
      const key = `${base}:claimed:${id}`
      const mine = deps.claimant
      const first = await redis.ask('directory-claim', client => client.set(key, mine, 'PXAT', untilMs, 'NX'))
      return first === 'OK' || (await redis.ask('directory-claim', client => client.get(key))) === mine
    },
    unreadable: () => unreadable,
  }
}
