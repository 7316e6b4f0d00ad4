import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { checkName } from '../accounts/names.ts'
import type { Strategy } from '../cluster/replication.ts'
import { type Database, sqliteCode } from '../database/database.ts'
import type { GroupMembersTable, GroupsTable } from '../database/migrations.ts'
import { Refusal } from '../errors.ts'
import { type Group, type GroupChange, type GroupStore, type Ring, replications, rings } from './store.ts'

const constraintForeignKey = 787
const constraintPrimaryKey = 1555
const constraintTrigger = 1811
const mostMembers = 1000
const hash = promisify(scrypt) as (pin: string, salt: Buffer, bytes: number) => Promise<Buffer>

/** Groups in the SQL database. Their names are kept in memory, because every call asks whether its callee is a group. */
export function createSqlGroups({ database }: { database: Database }): GroupStore {
  const { query } = database
  let names: Set<string> | undefined
  let seen = database.version()
  // Counts our own writes: names that one of them overtook while they were read are not kept.
  let writes = 0

  async function has(name: string, domain: string): Promise<boolean> {
    const version = database.version()
    if (version !== seen) names = undefined
    seen = version
    const began = writes
    const all = names ?? new Set((await query.selectFrom('groups').select(['domain', 'name']).execute()).map(keyOf))
    if (began === writes && version === seen) names = all
    return all.has(keyOf({ domain: domain.toLowerCase(), name: name.toLowerCase() }))
  }

  async function read(domain: string | undefined, name?: string): Promise<Group[]> {
    let groups = query.selectFrom('groups').selectAll().orderBy('domain').orderBy('name')
    let people = query.selectFrom('group_members').selectAll().orderBy('position')
    if (domain !== undefined) {
      groups = groups.where('domain', '=', domain.toLowerCase())
      people = people.where('domain', '=', domain.toLowerCase())
    }
    if (name !== undefined) {
      groups = groups.where('name', '=', name.toLowerCase())
      people = people.where('name', '=', name.toLowerCase())
    }
    const [rows, parts] = await Promise.all([groups.execute(), people.execute()])
    const byGroup = Map.groupBy(parts, keyOf)
    return rows.map(row => toGroup(row, byGroup.get(keyOf(row)) ?? []))
  }

  async function known(name: string, domain: string): Promise<Group> {
    const [found] = await read(domain, name)
    if (found === undefined) throw new Refusal('not-found', `there is no group ${name}@${domain}`)
    return found
  }

  return {
    has,
    async add({ name: wanted, domain: where, ...options }) {
      const [name, domain] = [checkName(wanted, 'group'), where.toLowerCase()]
      const usual = {
        displayName: '',
        ring: 'all',
        record: false,
        announce: true,
        pin: '',
        most: 0,
        replication: 'configured',
      } as const
      const row = { domain, name, created: new Date().toISOString(), ...(await columns({ ...usual, ...options })) }
      const parts = partsOf({ name, domain }, options.members ?? [], options.moderators ?? [])
      await guarded(async () => {
        await query.transaction().execute(async inside => {
          await inside
            .insertInto('groups')
            .values(row as GroupsTable)
            .execute()
          if (parts.length > 0) await inside.insertInto('group_members').values(parts).execute()
        })
      })
      writes++
      names = undefined
      return known(name, domain)
    },
    list: domain => read(domain),
    get: async (name, domain) => (await read(domain, name))[0],
    async change(name, domain, change) {
      const before = await known(name, domain)
      const row = await columns(change)
      const { members = before.members, moderators = before.moderators } = change
      const parts = partsOf(before, members, moderators)
      const own = { domain: before.domain, name: before.name }
      await guarded(async () => {
        await query.transaction().execute(async inside => {
          const isOwn = <T extends { where: (column: 'domain' | 'name', is: '=', value: string) => T }>(one: T) =>
            one.where('domain', '=', own.domain).where('name', '=', own.name)
          if (Object.keys(row).length > 0) await isOwn(inside.updateTable('groups').set(row)).execute()
          await isOwn(inside.deleteFrom('group_members')).execute()
          if (parts.length > 0) await inside.insertInto('group_members').values(parts).execute()
        })
      })
      return known(name, domain)
    },
    async remove(name, domain) {
      const group = await known(name, domain)
      await query.deleteFrom('groups').where('domain', '=', group.domain).where('name', '=', group.name).execute()
      writes++
      names = undefined
    },
    async checkPin(name, domain, pin) {
      const row = await query
        .selectFrom('groups')
        .select('pin')
        .where('domain', '=', domain.toLowerCase())
        .where('name', '=', name.toLowerCase())
        .executeTakeFirst()
      if (row === undefined) return false
      if (row.pin === null) return true
      const [salt = '', wanted = ''] = row.pin.split(':')
      const given = await hash(pin, Buffer.from(salt, 'hex'), 32)
      return timingSafeEqual(given, Buffer.from(wanted, 'hex'))
    },
  }
}

const keyOf = ({ domain, name }: { domain: string; name: string }) => `${name}@${domain}`

/** The columns that a change means. Throws Refusal('bad-request'). */
async function columns(change: GroupChange): Promise<Partial<GroupsTable>> {
  const { displayName, ring, record, announce, pin, most, replication } = change
  if (displayName !== undefined && (displayName.length > 128 || /\p{Cc}/u.test(displayName))) {
    throw new Refusal('bad-request', 'a display name has at most 128 characters and no control characters')
  }
  if (ring !== undefined && !rings.includes(ring)) throw new Refusal('bad-request', `ring is ${rings.join(', ')}`)
  if (replication !== undefined && !replications.includes(replication)) {
    throw new Refusal('bad-request', `replication is ${replications.join(', ')}`)
  }
  if (most !== undefined && !(Number.isInteger(most) && (most === 0 || (most >= 2 && most <= 10_000)))) {
    throw new Refusal('bad-request', 'the most people in a meeting are 2 to 10000, or 0 for the configured number')
  }
  if (pin !== undefined && !/^(\d{4,12})?$/.test(pin)) throw new Refusal('bad-request', 'a PIN has 4 to 12 digits')
  return {
    ...(displayName === undefined ? {} : { display_name: displayName }),
    ...(ring === undefined ? {} : { ring }),
    ...(record === undefined ? {} : { record: Number(record) }),
    ...(announce === undefined ? {} : { announce: Number(announce) }),
    ...(pin === undefined ? {} : { pin: pin === '' ? null : await hashPin(pin) }),
    ...(most === undefined ? {} : { most: most === 0 ? null : most }),
    ...(replication === undefined ? {} : { replication: replication === 'configured' ? null : replication }),
  }
}

async function hashPin(pin: string): Promise<string> {
  const salt = randomBytes(16)
  return `${salt.toString('hex')}:${(await hash(pin, salt, 32)).toString('hex')}`
}

function partsOf(
  { name, domain }: { name: string; domain: string },
  members: readonly string[],
  moderators: readonly string[],
): GroupMembersTable[] {
  const users = new Set([...members, ...moderators].map(user => user.toLowerCase()))
  if (users.size > mostMembers) throw new Refusal('bad-request', `a group has at most ${mostMembers} members`)
  const [in_, over] = [members, moderators].map(list => new Set(list.map(user => user.toLowerCase()))) as [
    Set<string>,
    Set<string>,
  ]
  return [...users].map((user, position) => ({
    domain,
    name,
    user,
    position,
    member: Number(in_.has(user)),
    moderator: Number(over.has(user)),
  }))
}

function toGroup(row: GroupsTable, parts: readonly GroupMembersTable[]): Group {
  return {
    name: row.name,
    domain: row.domain,
    displayName: row.display_name,
    members: parts.filter(part => part.member === 1).map(part => part.user),
    moderators: parts.filter(part => part.moderator === 1).map(part => part.user),
    ring: row.ring as Ring,
    record: row.record === 1,
    announce: row.announce === 1,
    pin: row.pin !== null,
    ...(row.most === null ? {} : { most: row.most }),
    ...(row.replication === null ? {} : { replication: row.replication as Strategy }),
    created: row.created,
  }
}

async function guarded(write: () => Promise<void>): Promise<void> {
  try {
    await write()
  } catch (error) {
    const cause = { cause: error }
    switch (sqliteCode(error)) {
      case constraintForeignKey:
        throw new Refusal('bad-request', 'a member or moderator is no account of this domain', cause)
      case constraintPrimaryKey:
        throw new Refusal('already-exists', 'there is already a group of that name', cause)
      case constraintTrigger:
        throw new Refusal('already-exists', 'there is already an account of that name', cause)
    }
    throw error
  }
}
