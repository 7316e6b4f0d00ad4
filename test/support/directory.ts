import { join } from 'node:path'
import { createSqlAccounts } from '../../src/accounts/accounts-sql.ts'
import { createInvitations } from '../../src/accounts/invitations.ts'
import { createDirectory, type DirectoryDeps } from '../../src/cluster/directory/directory.ts'
import { createSealer } from '../../src/cluster/seal.ts'
import { openDatabase } from '../../src/database/database.ts'
import { createEvents } from '../../src/events.ts'
import { createSqlGroups } from '../../src/groups/groups-sql.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRecords } from '../../src/records/records.ts'
import { createRedisLink } from '../../src/redis/link.ts'

export const clusterSecret = 'a secret of the test cluster'

/** One node's people and the directory that shares them, without the rest of the server. */
export async function startDirectoryNode(options: {
  redis: string
  node: string
  /** Where its database lies. */
  folder: string
  /** Of its keys in Redis. */
  prefix: string
  /** What it has before it shares anything. */
  before?: (accounts: ReturnType<typeof createSqlAccounts>) => Promise<unknown>
  more?: Partial<DirectoryDeps>
}) {
  const log = createSilentLog()
  const events = createEvents()
  const file = join(options.folder, `${options.node}.sqlite`)
  const database = await openDatabase(file, log)
  const accounts = createSqlAccounts({ database, events, checkMs: 0 })
  await options.before?.(accounts)
  const config = { redis: options.redis, prefix: options.prefix, timeoutMs: 1000 }
  const link = createRedisLink({ config, events, log })
  const directory = createDirectory({
    file,
    redis: link,
    sealer: createSealer([clusterSecret]),
    prefix: options.prefix,
    node: options.node,
    historyDays: 365,
    log,
    everyMs: 5,
    ...options.more,
  })
  return {
    node: options.node,
    database,
    accounts,
    groups: createSqlGroups({ database }),
    invitations: createInvitations({ database, claim: (id, until) => directory.claim(id, until) }),
    records: createRecords({ database, events, everyMs: 1 }),
    directory,
    link,
    async close() {
      await directory.close()
      await link.close()
      await database.close()
    },
  }
}

export type DirectoryNode = Awaited<ReturnType<typeof startDirectoryNode>>

/** All that nodes must have alike, as one text. */
export async function contentsOf({ database: { query } }: DirectoryNode): Promise<string> {
  const accounts = await query.selectFrom('accounts').selectAll().orderBy('domain').orderBy('user').execute()
  const tables = [
    accounts.map(({ md5_seen: _, ...row }) => row),
    await query.selectFrom('groups').selectAll().orderBy('domain').orderBy('name').execute(),
    await query.selectFrom('group_members').selectAll().orderBy('name').orderBy('user').execute(),
    await query.selectFrom('invitations').selectAll().orderBy('token').execute(),
    await query.selectFrom('recordings').selectAll().orderBy('id').execute(),
    await query.selectFrom('calls').selectAll().orderBy('id').execute(),
  ]
  return JSON.stringify(tables)
}

/** Resolves when `fact` holds; it is looked at again and again, as nobody tells. */
export async function until(fact: () => boolean | Promise<boolean>, ms = 20_000): Promise<void> {
  const end = performance.now() + ms
  while (!(await fact())) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${fact}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
