import { Refusal } from '../errors.ts'
import type { RedisLink } from '../redis/redis.ts'
import { createIsDead } from './dead.ts'
import { leasesIn } from './kept-store.ts'
import type { Members } from './members.ts'

// Names of which the whole cluster has only one, such as the address of a meeting, belong to one life at a time:
//   <prefix>:claim:NAME   "LIFE VALUE"
// It ends by itself, so that what a crash leaves harms nobody.

/** Who has a name, and for what. */
export interface Claim {
  owner: string
  value: string
  /** That life is over: the name may be claimed over it. */
  dead: boolean
}

export interface Claims {
  /**
   * Claims a name for this life, or keeps it; who has it then. What somebody else has is only taken as `over` it, that is
   * while it is still as seen. Refuses `store-unavailable`.
   */
  claim(name: string, value: string, over?: Claim): Promise<Claim>
  /** Who has it; undefined: nobody. Refuses `store-unavailable`. */
  see(name: string): Promise<Claim | undefined>
  /** Gives it up, if it is ours for that. Never rejects: a store that is away forgets it in time. */
  release(name: string, value: string): Promise<void>
  /** Hears that the store is back: what was claimed before may be lost, or somebody else's. */
  onBack(listener: () => void): () => void
}

export interface ClaimsDeps {
  redis: RedisLink
  config: { prefix: string; leaseMs: number }
  members: Pick<Members, 'life' | 'self' | 'find'>
  /** Milliseconds of a clock that only grows. */
  clock?(): number
}

// Whoever has a name claims it anew more often than that.
const ttlMs = 3_600_000

const claimScript = `
local is = redis.call('GET', KEYS[1])
if is and is ~= ARGV[3] and string.sub(is, 1, #ARGV[2]) ~= ARGV[2] then return is end
redis.call('SET', KEYS[1], ARGV[2] .. ARGV[1], 'PX', ARGV[4])
return ARGV[2] .. ARGV[1]`

const releaseScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

/** Claims in Redis: a script decides between those that come at the same instant. */
export function createClaims({ redis, config, members, clock = () => performance.now() }: ClaimsDeps): Claims {
  const { prefix, leaseMs } = config
  const { life } = members
  const claim = redis.script<string>('claim', claimScript, 1)
  const release = redis.script<number>('releaseClaim', releaseScript, 1)
  const key = (name: string) => `${prefix}:claim:${name}`
  const isDead = createIsDead({ store: leasesIn(redis, prefix), members, leaseMs, clock })

  async function read(text: string): Promise<Claim> {
    const at = text.indexOf(' ')
    const owner = text.slice(0, at)
    return { owner, value: text.slice(at + 1), dead: await isDead(owner) }
  }

  return {
    claim: async (name, value, over) =>
      read(await claim(key(name), value, `${life} `, over === undefined ? '' : `${over.owner} ${over.value}`, ttlMs)),
    async see(name) {
      const text = await redis.ask('seeClaim', client => client.get(key(name)))
      return text === null ? undefined : read(text)
    },
    async release(name, value) {
      try {
        await release(key(name), `${life} ${value}`)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
      }
    },
    onBack: listener =>
      redis.onChange(healthy => {
        if (healthy) listener()
      }),
  }
}
