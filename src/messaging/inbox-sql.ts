import { type Database, sqliteCode } from '../database/database.ts'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import { full, type Inbox, mostRemembered, rememberMs } from './inbox.ts'
import type { Message } from './message.ts'

export interface SqlInboxDeps {
  database: Pick<Database, 'query'>
  /** This life of the node. */
  life: string
  mostKept: number
  now(): number
  log: Logger
}

type Row = Pick<Message, 'user' | 'id'>

// The oldest of too many need not go at once.
const forgetEvery = 32

/** The inbox of a node by itself, in its database: what is written outlives the process. */
export async function createSqlInbox({ database, life, mostKept, now, log }: SqlInboxDeps): Promise<Inbox> {
  const { query } = database
  const counts = new Map<string, number>()
  let held = 0
  const rows = await query
    .selectFrom('messages')
    .select(({ fn }) => ['user', fn.countAll<number>().as('count')])
    .where('kept', '=', 1)
    .groupBy('user')
    .execute()
  for (const { user, count } of rows) counts.set(user, count)

  function add(user: string, more: number): void {
    const count = (counts.get(user) ?? 0) + more
    if (count > 0) counts.set(user, count)
    else counts.delete(user)
  }

  /** A full disk or a locked file is a store that is away. */
  async function guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (cause) {
      if (sqliteCode(cause) === 0) throw cause
      throw new Refusal('store-unavailable', 'the database takes no messages', { cause })
    }
  }

  async function quietly(work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (error) {
      log.error({ err: error }, 'the state of a message was not written')
    }
  }

  const said = (message: Message, status: number) =>
    query
      .updateTable('messages_said')
      .set({ status })
      .where('user', '=', message.user)
      .where('key', '=', message.key)
      .execute()

  const change = ({ user, id }: Row, to: { owner?: string; kept?: number; message?: string }) =>
    query.updateTable('messages').set(to).where('user', '=', user).where('id', '=', id).execute()
  const keep = (row: Row) => change(row, { owner: '', kept: 1 })
  const remove = ({ user, id }: Row) =>
    query.deleteFrom('messages').where('user', '=', user).where('id', '=', id).returning('kept').executeTakeFirst()

  /** Requests that are too many to be remembered for one person, the oldest. */
  async function forget(inside: Pick<typeof query, 'deleteFrom'>, user: string): Promise<void> {
    await inside
      .deleteFrom('messages_said')
      .where('user', '=', user)
      .where('at', '<', ({ selectFrom }) =>
        selectFrom('messages_said')
          .select('at')
          .where('user', '=', user)
          .orderBy('at', 'desc')
          .offset(mostRemembered - 1)
          .limit(1),
      )
      .execute()
  }

  async function prune(user?: string): Promise<void> {
    let gone = query.deleteFrom('messages').where('ends', '<=', now()).where('owner', '!=', life)
    if (user !== undefined) gone = gone.where('user', '=', user)
    for (const row of await gone.returning(['user', 'kept']).execute()) if (row.kept === 1) add(row.user, -1)
  }

  return {
    counts,
    onKept() {},
    hold: (message, kept) =>
      guarded(async () => {
        const { user, id, key, cseq, at, ends } = message
        const before = await query
          .selectFrom('messages_said')
          .select(['at', 'cseq', 'status'])
          .where('user', '=', user)
          .where('key', '=', key)
          .executeTakeFirst()
        if (before && before.at > now() - rememberMs && (before.cseq === cseq || before.status === 0))
          return { known: before.status }
        if (kept && (counts.get(user) ?? 0) >= mostKept) await prune(user)
        if (kept && (counts.get(user) ?? 0) >= mostKept) throw full()
        await query.transaction().execute(async inside => {
          const row = { user, id, owner: kept ? '' : life, kept: kept ? 1 : 0, ends, message: JSON.stringify(message) }
          await inside.insertInto('messages').values(row).execute()
          const first = { user, key, at, cseq, status: kept ? 202 : 0 }
          await inside.replaceInto('messages_said').values(first).execute()
          if (++held % forgetEvery === 0) await forget(inside, user)
        })
        if (kept) add(user, 1)
        return 'held'
      }),
    note: message => quietly(() => change(message, { message: JSON.stringify(message) })),
    end: (message, status) =>
      quietly(async () => {
        await said(message, status)
        if ((await remove(message))?.kept === 1) add(message.user, -1)
      }),
    async leave(message) {
      const { user, id } = message
      const isKept = async () =>
        (
          await query
            .selectFrom('messages')
            .select('kept')
            .where('user', '=', user)
            .where('id', '=', id)
            .executeTakeFirst()
        )?.kept === 1
      let room = true
      await quietly(async () => {
        const before = await isKept()
        if (!before && (counts.get(user) ?? 0) >= mostKept) await prune(user)
        room = before || (counts.get(user) ?? 0) < mostKept
        await said(message, room ? 202 : 480)
        if (room) {
          await keep(message)
          if (!before) add(user, 1)
        } else await remove(message)
      })
      return room
    },
    take: (user, after, most) =>
      guarded(async () => {
        await prune(user)
        const found = await query
          .selectFrom('messages')
          .select(['id', 'message'])
          .where('user', '=', user)
          .where('owner', '=', '')
          .where('id', '>', after)
          .orderBy('id')
          .limit(most)
          .execute()
        if (found.length > 0)
          await query
            .updateTable('messages')
            .set({ owner: life })
            .where('user', '=', user)
            .where(
              'id',
              'in',
              found.map(({ id }) => id),
            )
            .execute()
        return found.map(({ message }) => JSON.parse(message) as Message)
      }),
    adopt: of =>
      guarded(async () => {
        let left = query.selectFrom('messages').select(['user', 'id', 'kept'])
        left = of === undefined ? left.where('owner', 'not in', [life, '']) : left.where('owner', '=', of)
        const found = await left.execute()
        for (const row of found) {
          await keep(row)
          if (row.kept === 0) add(row.user, 1)
        }
        return [...new Set(found.map(({ user }) => user))]
      }),
    tidy: () =>
      guarded(async () => {
        await prune()
        await query
          .deleteFrom('messages_said')
          .where('at', '<', now() - rememberMs)
          .execute()
      }),
    close() {},
  }
}
