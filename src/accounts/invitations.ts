import { hash, randomBytes } from 'node:crypto'
import type { Database } from '../database/database.ts'

/** Links that let one browser in as one person, once. Only their hashes are kept. */
export interface Invitations {
  /** A token of 192 random bits for `user`, and when it ends (ISO 8601). The account has to exist. */
  make(user: string, domain: string): Promise<{ token: string; ends: string }>
  /**
   * Uses a token up and says whom it lets in; undefined for one that is wrong, used or too old. Refuses `store-unavailable`
   * while it cannot be known that no other node has let somebody in with it.
   */
  redeem(token: string): Promise<{ user: string; domain: string } | undefined>
}

const lifeMs = 7 * 86_400_000

/** `claim` says whether this node is the one that may use a token up, by its hash, until a time; a lone node always is. */
export function createInvitations(deps: {
  database: Database
  now?: () => number
  claim?: (hash: string, until: number) => Promise<boolean>
}): Invitations {
  const { now = Date.now, claim } = deps
  const { query } = deps.database
  const time = (ms: number) => new Date(ms).toISOString()
  return {
    async make(user, domain) {
      const token = randomBytes(24).toString('base64url')
      const ends = time(now() + lifeMs)
      await query.deleteFrom('invitations').where('ends', '<=', time(now())).execute()
      await query
        .insertInto('invitations')
        .values({ token: hash('sha256', token), domain: domain.toLowerCase(), user: user.toLowerCase(), ends })
        .execute()
      return { token, ends }
    },
    async redeem(token) {
      const key = hash('sha256', token)
      if (claim !== undefined) {
        const known = await query.selectFrom('invitations').select('ends').where('token', '=', key).executeTakeFirst()
        if (known === undefined || known.ends <= time(now())) return undefined
        if (!(await claim(key, Date.parse(known.ends)))) return undefined
      }
      // One statement, so that of two browsers with the same link one comes too late.
      const used = await query
        .deleteFrom('invitations')
        .where('token', '=', key)
        .returning(['user', 'domain', 'ends'])
        .executeTakeFirst()
      return used !== undefined && used.ends > time(now()) ? { user: used.user, domain: used.domain } : undefined
    },
  }
}
