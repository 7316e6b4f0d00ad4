import { hash, randomBytes } from 'node:crypto'
import type { Database } from '../database/database.ts'

/** Links that let one browser in as one person, once. Only their hashes are kept. */
export interface Invitations {
  /** A token of 192 random bits for `user`, and when it ends (ISO 8601). The account has to exist. */
  make(user: string, domain: string): Promise<{ token: string; ends: string }>
  /** Uses a token up and says whom it lets in; undefined for one that is wrong, used or too old. */
  redeem(token: string): Promise<{ user: string; domain: string } | undefined>
}

const lifeMs = 7 * 86_400_000

export function createInvitations(deps: { database: Database; now?: () => number }): Invitations {
  const { now = Date.now } = deps
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
      // One statement, so that of two browsers with the same link one comes too late.
      const used = await query
        .deleteFrom('invitations')
        .where('token', '=', hash('sha256', token))
        .returning(['user', 'domain', 'ends'])
        .executeTakeFirst()
      return used !== undefined && used.ends > time(now()) ? { user: used.user, domain: used.domain } : undefined
    },
  }
}
