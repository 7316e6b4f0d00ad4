import type Srf from 'drachtio-srf'
import { whereIn } from '../calls/route.ts'
import type { SrfPort } from '../calls/sip.ts'
import type { ClusterRooms } from '../cluster/cluster.ts'
import { createIsDead } from '../cluster/dead.ts'
import { leasesIn } from '../cluster/kept-store.ts'
import { createSealer, secretsOf } from '../cluster/seal.ts'
import type { Config } from '../config/schema.ts'
import type { Database } from '../database/database.ts'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Binding } from '../location/store.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import type { Inbox } from './inbox.ts'
import { createSqlInbox } from './inbox-sql.ts'
import { createKeeper, type Keeper } from './keeper.ts'
import { createMessaging, type Messaging } from './messaging.ts'
import { createSender } from './send.ts'

interface Group {
  readonly members: readonly string[]
  readonly moderators: readonly string[]
  /** Whether others than its people need a PIN. */
  readonly pin: boolean
}

export interface MessagingRooms {
  srf: Srf
  config: Pick<Config, 'messages' | 'cluster' | 'store' | 'calls'>
  domain: string
  isOwn(host: string): boolean
  account(user: string): Promise<{ user: string; created: string } | undefined>
  groups: {
    has(name: string, domain: string): Promise<boolean>
    get(name: string, domain: string): Promise<Group | undefined>
  }
  registrar: {
    bindings(aor: string): Promise<readonly Binding[]> | readonly Binding[]
    bindingsOfGruu(uri: string): Promise<readonly Binding[] | undefined>
    resolveGruu(uri: string): { aor: string } | undefined
  }
  database: Database
  redis: RedisLink | undefined
  /** Of this start, the same that bindings carry. */
  life: string
  cluster: Pick<ClusterRooms, 'members' | 'leader'>
  events: Events
  log: Logger
  now?(): number
}

const tidyMs = 60_000
const againMs = 2000
// Who has registered within this time may have done so before it was known that something is kept.
const recentMs = 10_000

/** Messages with an inbox that fits: of this node's own database, or shared by the nodes of a cluster. */
export async function openMessaging(rooms: MessagingRooms): Promise<Messaging> {
  const { config, domain, isOwn, account, groups, registrar, events, log, now = Date.now } = rooms
  const { members, leader } = rooms.cluster
  const clustered = config.cluster.name !== ''
  const srf = rooms.srf as unknown as SrfPort
  const where = whereIn(clustered ? members : undefined)
  const inbox = await openInbox(rooms, now)
  const { bindings, bindingsOfGruu, resolveGruu } = registrar
  const sender = createSender({ srf, domain, most: config.calls.mostForks, bindings, bindingsOfGruu, where })
  const keeper = createKeeper({ inbox, sender, account, mayAct: members.holdsLease, events, log, now })

  async function membersOf(name: string, from: string): Promise<readonly string[] | undefined> {
    const group = (await groups.has(name, domain)) ? await groups.get(name, domain) : undefined
    if (group === undefined) return undefined
    const people = [...new Set([...group.members, ...group.moderators])]
    // A PIN lets others into a meeting; a message has no place for it.
    if (group.pin && !people.includes(from)) throw new Refusal('forbidden', 'Only its members write to this group')
    return people
  }

  const stop = watch({ inbox, keeper, rooms, now, leads: leader.isLeader, clustered })
  const ownerOfGruu = (uri: string) => {
    const aor = resolveGruu(uri)?.aor
    return aor === undefined ? undefined : userOf(aor)
  }
  const parts = { inbox, sender, keeper, events, log, now }
  const people = { domain, isOwn, find: account, ownerOfGruu, membersOf }
  const messaging = createMessaging({ ...parts, ...people, config: config.messages })
  return {
    ...messaging,
    async close() {
      stop()
      await messaging.close()
      inbox.close()
    },
  }
}

const userOf = (aor: string) => aor.slice('sip:'.length, aor.lastIndexOf('@'))

/** Brings what is kept when there is reason to think that its person is there; gives what ends that. */
function watch(deps: {
  inbox: Inbox
  keeper: Keeper
  rooms: MessagingRooms
  now(): number
  leads(): boolean
  clustered: boolean
}): () => void {
  const { inbox, keeper, rooms, now } = deps
  const { domain, life, events, log } = rooms
  const { members } = rooms.cluster

  let closed = false

  async function adopt(dead?: string, again = false): Promise<void> {
    if (closed) return
    try {
      const users = await inbox.adopt(dead)
      if (users.length > 0) log.info({ people: users.length, life: dead }, 'messages of a node that is gone go on here')
      await Promise.all(users.map(user => keeper.bring(user)))
    } catch (error) {
      if (!(error instanceof Refusal)) log.error({ err: error }, 'adopting messages failed by a bug')
      else {
        if (!again) log.warn({ why: error.message, life: dead }, 'messages of a node that is gone are adopted later')
        if (dead !== undefined) setTimeout(() => void adopt(dead, true), againMs).unref()
      }
    }
  }

  async function tidy(): Promise<void> {
    if (!deps.leads()) return
    try {
      await inbox.tidy()
    } catch (error) {
      if (!(error instanceof Refusal)) log.error({ err: error }, 'tidying messages failed by a bug')
    }
    await adopt()
  }

  inbox.onKept(user => {
    const isNew = ({ node, updatedAt }: Binding) => node === life && now() - updatedAt < recentMs
    const look = async () => {
      if ((await rooms.registrar.bindings(`sip:${user}@${domain}`)).some(isNew)) await keeper.bring(user)
    }
    look().catch((error: unknown) => log.error({ err: error }, 'looking for a person failed'))
  })
  const stops = [
    events.on('registered', ({ aor }) => {
      if (inbox.counts.has(userOf(aor))) void keeper.bring(userOf(aor))
    }),
    members.onDeath(({ life: dead }) => void adopt(dead)),
  ]
  const timer = setInterval(() => void tidy(), tidyMs)
  timer.unref()
  // A node by itself that was killed finds what its last life was sending.
  if (!deps.clustered) void adopt()
  return () => {
    closed = true
    clearInterval(timer)
    for (const end of stops) end()
  }
}

async function openInbox(rooms: MessagingRooms, now: () => number): Promise<Inbox> {
  const { config, redis, life, database, log } = rooms
  const { mostKept } = config.messages
  if (redis === undefined || config.cluster.name === '') return createSqlInbox({ database, life, mostKept, now, log })
  const { createRedisInbox } = await import('./inbox-redis.ts')
  const { prefix } = config.store
  const { members } = rooms.cluster
  const clock = () => performance.now()
  const store = leasesIn(redis, prefix)
  const isDead = createIsDead({ store, members, leaseMs: config.cluster.leaseMs, clock })
  const sealer = createSealer(secretsOf(config.cluster))
  return createRedisInbox({ database, redis, sealer, prefix, life, mostKept, isDead, now, log })
}
