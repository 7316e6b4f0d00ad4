import { randomBytes } from 'node:crypto'
import type { Database } from '../database/database.ts'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import type { Message } from './message.ts'

// A Redis may come back without what it had. Whoever keeps a message there has a copy in the database of its own node until
// the message has arrived, and brings it back.

export interface Copies {
  /** Copies what is kept in Redis now. Never rejects. */
  add(message: Message): void
  /** It has arrived. Never rejects. */
  drop(user: string, id: string): void
  /** Brings back what Redis has lost, and drops what it knows to have arrived. Refuses `store-unavailable`. */
  compare(): Promise<void>
}

export interface CopiesDeps {
  database: Pick<Database, 'query'>
  redis: Pick<RedisLink, 'ask'>
  /** The key that says which life of Redis' contents this is. */
  key: string
  /** What Redis knows of a message. */
  lookUp(message: Message): Promise<'kept' | 'arrived' | 'unknown'>
  /** Keeps it there again. Refuses. */
  restore(message: Message): Promise<void>
  now(): number
  log: Logger
}

const page = 200

export function createCopies({ database, redis, key, lookUp, restore, now, log }: CopiesDeps): Copies {
  const { query } = database
  /** Those of this life of the node, of which it has heard all. */
  const fresh = new Set<string>()
  let era = ''
  let comparing: Promise<void> | undefined

  const remove = (user: string, id: string) =>
    query.deleteFrom('messages').where('user', '=', user).where('id', '=', id).execute()

  function quietly(work: Promise<unknown>): void {
    work.catch((error: unknown) => log.error({ err: error }, 'the copy of a message was not written'))
  }

  /** What the contents of Redis are called; whoever finds them without a name gives them one. */
  async function readEra(): Promise<string> {
    const name = randomBytes(8).toString('hex')
    await redis.ask('nameInbox', client => client.set(key, name, 'NX'))
    return (await redis.ask('nameInbox', client => client.get(key))) ?? name
  }

  /** Lost it is with all that Redis had, or when nobody has said that it arrived. */
  async function look(message: Message, owner: string): Promise<void> {
    const { user, id, ends } = message
    const state = ends <= now() ? 'arrived' : await lookUp(message)
    const isLost = state === 'unknown' && (owner !== `copy ${era}` || fresh.has(id))
    if (isLost) {
      await restore(message)
      log.warn({ message: id, to: user }, 'Redis has lost a kept message, it was written again')
    }
    if (state !== 'kept' && !isLost) {
      fresh.delete(id)
      await remove(user, id)
    } else if (owner !== `copy ${era}`) {
      const owned = query.updateTable('messages').set({ owner: `copy ${era}` })
      await owned.where('user', '=', user).where('id', '=', id).execute()
    }
  }

  async function compareAll(): Promise<void> {
    era = await readEra()
    for (let last = ''; ; ) {
      const some = query.selectFrom('messages').select(['id', 'owner', 'message']).where('id', '>', last)
      const rows = await some.orderBy('id').limit(page).execute()
      for (const { owner, message } of rows) {
        try {
          await look(JSON.parse(message) as Message, owner)
        } catch (error) {
          // There is no room for it now; Redis being away ends this.
          if (!(error instanceof Refusal) || error.code === 'store-unavailable') throw error
        }
      }
      if (rows.length < page) return
      last = rows.at(-1)!.id
    }
  }

  return {
    add(message) {
      const { user, id, ends } = message
      if (fresh.has(id)) return
      fresh.add(id)
      const row = { user, id, owner: `copy ${era}`, kept: 1, ends, message: JSON.stringify(message) }
      quietly(query.replaceInto('messages').values(row).execute())
    },
    drop(user, id) {
      fresh.delete(id)
      quietly(remove(user, id))
    },
    compare() {
      comparing ??= compareAll().finally(() => {
        comparing = undefined
      })
      return comparing
    },
  }
}
