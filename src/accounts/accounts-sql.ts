import type { Database } from '../database/database.ts'
import { sqliteCode } from '../database/database.ts'
import type { AccountsTable } from '../database/migrations.ts'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Account, Accounts, Credentials, NewAccount, Role } from './accounts.ts'
import { checkName } from './names.ts'
import { checkPassword, hashPassword, makePassword } from './password.ts'

const constraintPrimaryKey = 1555
const constraintTrigger = 1811
const roles: readonly Role[] = ['admin', 'user']

/**
 * Accounts in the SQL database. As long as there are at most `mostCached` of them, all are held in memory, so that
 * looking up a known name takes no longer than an unknown one; with more, each look-up asks the database.
 * What another process writes is seen after at most `checkMs` milliseconds.
 */
export function createSqlAccounts(deps: {
  database: Database
  events: Events
  mostCached?: number
  checkMs?: number
}): Accounts {
  const { database, mostCached = 50_000, checkMs = 10 } = deps
  const { query } = database
  const attempt = createAttempt(deps.events)
  let cache: Map<string, Credentials> | undefined
  let tooMany = false
  let seen = database.version()
  let checkedAt = Number.NEGATIVE_INFINITY
  let loading: Promise<void> | undefined
  // Counts our own writes: a load that one of them overtook is not kept.
  let writes = 0

  function find(user: string, domain: string) {
    lookForWrites()
    if (cache) return cache.get(keyOf(user, domain)) ?? cache.get(keyOf(user.toLowerCase(), domain.toLowerCase()))
    return tooMany ? read(user, domain) : loadAndFind(user, domain)
  }

  // Asking SQLite each time would cost more than the rest of a look-up.
  function lookForWrites() {
    const time = performance.now()
    if (time - checkedAt < checkMs) return
    checkedAt = time
    const version = attempt.now('find', () => database.version())
    if (version === seen) return
    seen = version
    cache = undefined
    tooMany = false
  }

  async function loadAndFind(user: string, domain: string) {
    loading ??= attempt('load', load).finally(() => {
      loading = undefined
    })
    await loading
    return cache?.get(keyOf(user.toLowerCase(), domain.toLowerCase())) ?? read(user, domain)
  }

  async function load() {
    const began = writes
    const version = seen
    const rows = await query
      .selectFrom('accounts')
      .selectAll()
      .limit(mostCached + 1)
      .execute()
    if (began !== writes || version !== seen) return
    tooMany = rows.length > mostCached
    if (!tooMany) cache = new Map(rows.map(row => [keyOf(row.user, row.domain), toCredentials(row)]))
  }

  function read(user: string, domain: string) {
    return attempt('find', async () => {
      const row = await query
        .selectFrom('accounts')
        .selectAll()
        .where('domain', '=', domain.toLowerCase())
        .where('user', '=', user.toLowerCase())
        .executeTakeFirst()
      return row && toCredentials(row)
    })
  }

  function wrote() {
    writes++
    cache = undefined
    tooMany = false
  }

  async function change(operation: string, user: string, domain: string, values: Partial<AccountsTable>) {
    const result = await attempt(operation, () =>
      query
        .updateTable('accounts')
        .set(values)
        .where('domain', '=', domain.toLowerCase())
        .where('user', '=', user.toLowerCase())
        .executeTakeFirst(),
    )
    wrote()
    if (result.numUpdatedRows === 0n) throw unknown(user, domain)
  }

  return {
    find,
    async add(wanted) {
      const { account, row, password } = prepare(wanted)
      await attempt('add', () => query.insertInto('accounts').values(row).execute())
      wrote()
      return { account, password }
    },
    list(domain) {
      return attempt('list', async () => {
        let all = query.selectFrom('accounts').selectAll().orderBy('domain').orderBy('user')
        if (domain !== undefined) all = all.where('domain', '=', domain.toLowerCase())
        return (await all.execute()).map(toAccount)
      })
    },
    async get(user, domain) {
      const found = await read(user, domain)
      if (!found) return undefined
      const { ha1: _, ha1WithDomain: __, ...account } = found
      return account
    },
    async setPassword(user, domain, password = makePassword()) {
      checkPassword(password)
      const hashes = hashPassword(user.toLowerCase(), domain.toLowerCase(), password)
      await change('setPassword', user, domain, hashColumns(hashes))
      return password
    },
    setEnabled: (user, domain, enabled) => change('setEnabled', user, domain, { enabled: Number(enabled) }),
    async setDisplayName(user, domain, displayName) {
      await change('setDisplayName', user, domain, { display_name: checkDisplayName(displayName) })
    },
    async noteMd5(user, domain) {
      const found = await find(user, domain)
      if (!found || found.md5Seen) return
      const { user: name, domain: realm } = found
      await attempt('noteMd5', () =>
        query
          .updateTable('accounts')
          .set({ md5_seen: 1 })
          .where('domain', '=', realm)
          .where('user', '=', name)
          .execute(),
      )
      // Thousands of phones may come for the first time at once: the cache is mended here, not read anew for each of them.
      const key = keyOf(name, realm)
      if (cache?.has(key)) cache.set(key, { ...found, md5Seen: true })
    },
    async remove(user, domain) {
      const result = await attempt('remove', () =>
        query
          .deleteFrom('accounts')
          .where('domain', '=', domain.toLowerCase())
          .where('user', '=', user.toLowerCase())
          .executeTakeFirst(),
      )
      wrote()
      if (result.numDeletedRows === 0n) throw unknown(user, domain)
    },
  }
}

const keyOf = (user: string, domain: string) => `${user}@${domain}`
const unknown = (user: string, domain: string) => new Refusal('not-found', `there is no account ${user}@${domain}`)

// A failing store is a fact and an answer; what is wrong with the request itself is only an answer.
function createAttempt(events: Events) {
  let failing = false
  function failed(operation: string, error: unknown): never {
    if (error instanceof Refusal) throw error
    if (sqliteCode(error) === constraintPrimaryKey) {
      throw new Refusal('already-exists', 'there is already an account of that name', { cause: error })
    }
    // The only trigger that refuses is that for names of groups.
    if (sqliteCode(error) === constraintTrigger) {
      throw new Refusal('already-exists', 'there is already a group of that name', { cause: error })
    }
    failing = true
    const message = error instanceof Error ? error.message : String(error)
    events.emit('storeFailed', { store: 'accounts', operation, message })
    throw new Refusal('store-unavailable', 'the accounts cannot be reached', { cause: error })
  }
  function worked() {
    if (!failing) return
    failing = false
    events.emit('storeRecovered', { store: 'accounts' })
  }
  async function attempt<T>(operation: string, run: () => Promise<T>): Promise<T> {
    try {
      const result = await run()
      worked()
      return result
    } catch (error) {
      return failed(operation, error)
    }
  }
  attempt.now = <T>(operation: string, run: () => T): T => {
    try {
      return run()
    } catch (error) {
      return failed(operation, error)
    }
  }
  return attempt
}

function prepare(wanted: NewAccount) {
  const user = checkName(wanted.user, 'user')
  const domain = wanted.domain.toLowerCase()
  // A quote or backslash in it would break the realm of every challenge.
  if (!/^[a-z0-9.:[\]-]{1,253}$/.test(domain)) throw new Refusal('bad-request', `'${wanted.domain}' is no domain`)
  const password = wanted.password ?? makePassword()
  checkPassword(password)
  const mine = wanted.roles ?? ['user']
  if (!mine.every(role => roles.includes(role))) throw new Refusal('bad-request', 'the roles are admin and user')
  const account: Account = {
    user,
    domain,
    displayName: checkDisplayName(wanted.displayName ?? ''),
    enabled: true,
    roles: [...new Set(mine)],
    created: new Date().toISOString(),
    md5Seen: false,
  }
  const row: AccountsTable = {
    user,
    domain,
    display_name: account.displayName,
    enabled: 1,
    roles: account.roles.join(),
    created: account.created,
    md5_seen: 0,
    ...hashColumns(hashPassword(user, domain, password)),
  }
  return { account, row, password }
}

// It ends up in SIP headers, where a line break would start a header of its own.
function checkDisplayName(name: string): string {
  if (name.length > 128 || /\p{Cc}/u.test(name)) {
    throw new Refusal('bad-request', 'a display name has at most 128 characters and no control characters')
  }
  return name
}

function hashColumns({ ha1, ha1WithDomain }: Pick<Credentials, 'ha1' | 'ha1WithDomain'>) {
  return {
    ha1_sha256: ha1['SHA-256'],
    ha1_md5: ha1.MD5,
    ha1b_sha256: ha1WithDomain['SHA-256'],
    ha1b_md5: ha1WithDomain.MD5,
  }
}

function toAccount(row: AccountsTable): Account {
  return {
    user: row.user,
    domain: row.domain,
    displayName: row.display_name,
    enabled: row.enabled === 1,
    roles: row.roles.split(',').filter((role): role is Role => roles.some(known => known === role)),
    created: row.created,
    md5Seen: row.md5_seen === 1,
  }
}

function toCredentials(row: AccountsTable): Credentials {
  return {
    ...toAccount(row),
    ha1: { 'SHA-256': row.ha1_sha256, MD5: row.ha1_md5 },
    ha1WithDomain: { 'SHA-256': row.ha1b_sha256, MD5: row.ha1b_md5 },
  }
}
