import { hash } from 'node:crypto'
import type { RedisLink } from '../redis/redis.ts'
import type { Kept } from './replication.ts'

// What Redis holds of calls and meetings. Each key is in a slot of its own:
//   <prefix>:{call:ID}     hash: o owner's life, f fence, s snapshot, d dialogs; of an ended one only o = '-' and f
//   <prefix>:dialog:HASH   the name of what has this dialog
//   <prefix>:owned:LIFE    set: names of what a life owns and others are to adopt
//   <prefix>:fenced:LIFE   there once something was taken from this life
// The first is the truth and the others lead to it, so leftovers in them harm nobody. Everything ends by itself. One server
// is told all of them in one script; in a Redis Cluster each script touches one key.

/** Owner of what has ended, and of what was given up for whoever takes it. */
export const ended = '-'
export const nobody = '?'

// Longer than a clock that is set anew may leap.
const ttlMs = 3 * 3_600_000
const tombstoneMs = 60_000
const fencedMs = 86_400_000
/** How often the keys of what lives on are renewed. */
export const renewMs = ttlMs / 3

const writeItem = `
local o, f = unpack(redis.call('HMGET', KEYS[1], 'o', 'f'))
if f and (tonumber(f) > tonumber(ARGV[2]) or (f == ARGV[2] and o ~= ARGV[1])) then return o end
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'f', ARGV[2], 's', ARGV[3], 'd', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])`
const writeScript = `${writeItem}
return ''`

// Keys 3 to 2 + ARGV[7] are dialogs that come, those after them dialogs that go.
const writeAllScript = `${writeItem}
for at = 3, #KEYS do
  if at <= 2 + ARGV[7] then redis.call('SET', KEYS[at], ARGV[6], 'PX', ARGV[5])
  elseif redis.call('GET', KEYS[at]) == ARGV[6] then redis.call('DEL', KEYS[at]) end
end
if ARGV[8] == '1' then
  redis.call('SADD', KEYS[2], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return ''`

const dropDialogScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

const endItem = `
local o, f = unpack(redis.call('HMGET', KEYS[1], 'o', 'f'))
if f and (f ~= ARGV[2] or o ~= ARGV[1]) then return o end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'o', '${ended}', 'f', ARGV[2] + 1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])`
const endScript = `${endItem}
return ''`

const endAllScript = `${endItem}
for at = 3, #KEYS do
  if redis.call('GET', KEYS[at]) == ARGV[4] then redis.call('DEL', KEYS[at]) end
end
redis.call('SREM', KEYS[2], ARGV[4])
return ''`

const passScript = `
local o, f, s, d = unpack(redis.call('HMGET', KEYS[1], 'o', 'f', 's', 'd'))
if o ~= ARGV[1] or f ~= ARGV[2] then return {} end
redis.call('HSET', KEYS[1], 'o', ARGV[3], 'f', f + 1)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return { s, d }`

export interface Seen {
  name: string
  owner: string
  fence: number
}

/** What leads to what is written. */
export interface Indexes {
  added: readonly string[]
  removed: readonly string[]
  /** Others are to adopt it. */
  owned: boolean
}

export type KeptStore = ReturnType<typeof createKeptStore>

/** The commands; all of them refuse `store-unavailable`. */
export function createKeptStore(redis: RedisLink, prefix: string) {
  const item = (name: string) => `${prefix}:{${name}}`
  // Of strangers' Call-IDs only a hash is kept, because they may be of any length.
  const dialogKey = (dialog: string) => `${prefix}:dialog:${hash('sha256', dialog, 'base64url').slice(0, 24)}`
  const owned = (life: string) => `${prefix}:owned:${life}`
  const fenced = (life: string) => `${prefix}:fenced:${life}`
  const write = redis.script<string>('keep', writeScript, 1)
  const writeAll = redis.script<string>('keepAll', writeAllScript)
  const finish = redis.script<string>('endKept', endScript, 1)
  const finishAll = redis.script<string>('endAllKept', endAllScript)
  const dropDialog = redis.script<number>('dropDialog', dropDialogScript, 1)
  const pass = redis.script<[string?, string?]>('passKept', passScript, 1)

  async function addDialogs(name: string, dialogs: readonly string[]): Promise<void> {
    await Promise.all(dialogs.map(d => redis.ask('addDialog', client => client.set(dialogKey(d), name, 'PX', ttlMs))))
  }

  /** A dialog that leads to another one by now stays: a transfer takes it from one call into another. */
  async function removeDialogs(name: string, dialogs: readonly string[]): Promise<void> {
    await Promise.all(dialogs.map(dialog => dropDialog(dialogKey(dialog), name)))
  }

  async function addOwned(life: string, names: string[]): Promise<void> {
    const add = redis.ask('addOwned', client => client.sadd(owned(life), ...names))
    await Promise.all([add, redis.ask('renewOwned', client => client.pexpire(owned(life), ttlMs))])
  }

  async function removeOwned(life: string, names: string[]): Promise<void> {
    if (names.length > 0) await redis.ask('removeOwned', client => client.srem(owned(life), ...names))
  }

  return {
    /** Writes it with its indexes if `fence` is not behind: '' then, and the owner else. */
    async write(name: string, life: string, fence: number, { snapshot, dialogs }: Kept, indexes: Indexes) {
      const words = [life, fence, snapshot, dialogs.join('\n'), ttlMs]
      const { added, removed } = indexes
      if (!redis.sharded) {
        const keys = [item(name), owned(life), ...added.map(dialogKey), ...removed.map(dialogKey)]
        return writeAll(keys.length, ...keys, ...words, name, added.length, indexes.owned ? '1' : '')
      }
      const [owner] = await Promise.all([
        write(item(name), ...words),
        addDialogs(name, added),
        indexes.owned ? addOwned(life, [name]) : undefined,
        removeDialogs(name, removed),
      ])
      return owner
    },
    /** Leaves a tombstone in its place and nothing that leads there: '' when it was the owner's, and who it is else. */
    async end(name: string, life: string, fence: number, dialogs: readonly string[]): Promise<string> {
      if (!redis.sharded) {
        const keys = [item(name), owned(life), ...dialogs.map(dialogKey)]
        return finishAll(keys.length, ...keys, life, fence, tombstoneMs, name)
      }
      const owner = await finish(item(name), life, fence, tombstoneMs)
      if (owner === '' || owner === ended) await Promise.all([removeDialogs(name, dialogs), removeOwned(life, [name])])
      return owner
    },
    /** Gives it to another owner if it is as `seen`; undefined when it is not any more. */
    async pass({ name, owner, fence }: Seen, to: string): Promise<Kept | undefined> {
      const [snapshot, dialogs] = await pass(item(name), owner, fence, to, ttlMs)
      if (snapshot === undefined || dialogs === undefined) return undefined
      return { ...readName(name), snapshot, dialogs: dialogs === '' ? [] : dialogs.split('\n') }
    },
    /** Who has it; undefined: there is no such thing, or no more. */
    async see(name: string): Promise<Seen | undefined> {
      const [owner, fence] = await redis.ask('seeKept', client => client.hmget(item(name), 'o', 'f'))
      return owner == null || fence == null ? undefined : { name, owner, fence: Number(fence) }
    },
    find: (dialog: string): Promise<string | null> => redis.ask('findDialog', client => client.get(dialogKey(dialog))),
    addOwned,
    renewOwned: (life: string) => redis.ask('renewOwned', client => client.pexpire(owned(life), ttlMs)),
    removeOwned,
    /** What a life owned, some hundreds at a time. */
    async *owned(life: string): AsyncIterable<string[]> {
      let cursor = '0'
      do {
        const at = cursor
        const [next, names] = await redis.ask('owned', client => client.sscan(owned(life), at, 'COUNT', 500))
        if (names.length > 0) yield names
        cursor = next
      } while (cursor !== '0')
    },
    /** Lives of which something is owned. */
    async *owners(): AsyncIterable<string> {
      for await (const keys of redis.scan(owned(''))) yield* keys.map(key => key.slice(owned('').length))
    },
    setFenced: (life: string) => redis.ask('setFenced', client => client.set(fenced(life), '1', 'PX', fencedMs)),
    isFenced: async (life: string) => (await redis.ask('isFenced', client => client.exists(fenced(life)))) === 1,
    clearFenced: (life: string) => redis.ask('clearFenced', client => client.del(fenced(life))),
    ...leasesIn(redis, prefix),
    /** Lets all its keys live on; false when it is not there. */
    async renew(name: string, dialogs: readonly string[]): Promise<boolean> {
      const keys = dialogs.map(dialogKey)
      const [there] = await Promise.all(
        [item(name), ...keys].map(key => redis.ask('renewKept', client => client.pexpire(key, ttlMs))),
      )
      return there === 1
    },
  }
}

/** Whether a life has its lease now. Refuses `store-unavailable`. */
export function leasesIn(redis: RedisLink, prefix: string): { hasLease(life: string): Promise<boolean> } {
  return {
    hasLease: async life => (await redis.ask('hasLease', client => client.exists(leaseKey(prefix, life)))) === 1,
  }
}

/** The key that a node renews while it lives; all of them in one slot. */
export function leaseKey(prefix: string, life: string): string {
  return `${prefix}:{nodes}:${life}`
}

/** How a call or a meeting is named in Redis. */
export function nameOf(kind: Kept['kind'], id: string): string {
  return `${kind}:${id}`
}

function readName(name: string): Pick<Kept, 'kind' | 'id'> {
  const at = name.indexOf(':')
  return { kind: name.slice(0, at) as Kept['kind'], id: name.slice(at + 1) }
}
