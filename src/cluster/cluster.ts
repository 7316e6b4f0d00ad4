import type { Config } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import type { Bus } from './bus.ts'
import { type Claims, createClaims } from './claims.ts'
import { createDesk } from './desk.ts'
import { createDirectBus } from './direct-bus.ts'
import { createLeader, createLoneLeader } from './leader.ts'
import { createLocalBus } from './local-bus.ts'
import type { Leader, Member, Members, NodeState, Role } from './members.ts'
import { createMembers, type MembersStats } from './membership.ts'
import { createNoMembers } from './no-members.ts'
import { createNoReplication } from './no-replication.ts'
import { createRedisReplication, type ReplicationStats } from './redis-replication.ts'
import type { Replication } from './replication.ts'
import { secretsOf } from './seal.ts'

export interface ClusterDeps {
  config: { cluster: Config['cluster']; store: Config['store'] }
  /** Name of this node, when the configuration gives none. */
  node: string
  /** Of this start, the same that bindings carry. */
  life: string
  version: string
  /** Address of this machine that other nodes reach, when the configuration gives none. */
  address(): string
  /** Where others send SIP requests for our flows, and where our API is. */
  places(): { sip: string; http: string }
  /** From when on others may give us work. */
  ready?(): boolean
  /** Needed when `config.cluster.name` is set. */
  redis?: RedisLink | undefined
  log: Logger
}

export interface ClusterStats extends MembersStats, ReplicationStats {
  /** Facts that found no way to a node. */
  dropped: number
  leading: boolean
  term: number
}

export interface ClusterRooms {
  members: Members
  leader: Leader
  bus: Bus
  replication: Replication
  /** Undefined for a node by itself. */
  claims: Claims | undefined
  stats(): ClusterStats
  close(): Promise<void>
}

// A leader's sweep takes away what nobody misses; it need not be often.
const sweepMs = 60_000

/** Builds the rooms of one node among others, or those of a node by itself. Throws Refusal('bad-config'). */
export async function createCluster(deps: ClusterDeps): Promise<ClusterRooms> {
  return deps.config.cluster.name === '' ? createLone(deps) : await createNode(deps)
}

function createLone({ config, node, life, version, places, log }: ClusterDeps): ClusterRooms {
  const roles = [...config.cluster.roles] as Role[]
  const members = createNoMembers({ node, life, version, roles, priority: config.cluster.priority, places })
  const leader = createLoneLeader()
  const bus = createLocalBus({ node, log })
  const replication = createNoReplication()
  const states = { joining: 0, up: 0, draining: 0, suspect: 0, down: 0 }
  return {
    members,
    leader,
    bus,
    replication,
    claims: undefined,
    stats() {
      const own: Record<NodeState, number> = { ...states, [members.self().state]: 1 }
      return { states: own, leaseAge: 0, held: 0, waiting: 0, refused: 0, taken: 0, dropped: 0, leading: true, term: 1 }
    },
    close: () => leader.close(),
  }
}

async function createNode(deps: ClusterDeps): Promise<ClusterRooms> {
  const { life, version, redis, log } = deps
  const { cluster, store } = deps.config
  const { name: node } = cluster
  const secrets = secretsOf(cluster)
  if (redis === undefined) throw new Refusal('bad-config', 'cluster.name needs store.redis, which all nodes share')
  if (cluster.leaseMs < 3 * cluster.heartbeatMs) {
    throw new Refusal('bad-config', 'cluster.leaseMs must be at least three times cluster.heartbeatMs')
  }
  const config = { ...cluster, prefix: store.prefix, timeoutMs: store.timeoutMs }
  let members: ReturnType<typeof createMembers> | undefined
  const others = () => {
    const newest = new Map<string, Member>()
    for (const one of members?.list() ?? []) {
      if (one.node === node || one.state === 'down') continue
      // Of a node that was started again it is the later life that answers.
      if ((newest.get(one.node)?.since ?? 0) <= one.since) newest.set(one.node, one)
    }
    return [...newest.values()].map(one => ({ node: one.node, link: one.link }))
  }
  const address = cluster.address || deps.address()
  const desk = createDesk(log)
  const listen = { address, port: cluster.port }
  const direct = await createDirectBus({ node, listen, secrets, peers: others, desk, log })
  let bus: Bus = direct
  if (cluster.nats !== '') {
    const { createNatsBus } = await import('./nats-bus.ts')
    try {
      bus = createNatsBus({ url: cluster.nats, name: store.prefix, node, direct, desk, log })
    } catch (error) {
      await direct.close()
      throw error
    }
  }
  members = createMembers({
    node,
    life,
    version,
    roles: [...cluster.roles] as Role[],
    priority: cluster.priority,
    places: () => ({ ...deps.places(), link: direct.link() }),
    ...(deps.ready === undefined ? {} : { ready: deps.ready }),
    redis,
    bus,
    config,
    log,
  })
  const all = members
  // What a leader does for all is about registrations and calls.
  const forSip = cluster.roles.includes('sip')
  const may = () => forSip && (all.self().state === 'up' || all.self().state === 'joining')
  const leader = createLeader({ life, redis, config, log, may })
  all.onBeat(() => ({ leads: leader.isLeader() ? 1 : 0 }))
  const strategy = cluster.replication
  const kept = strategy === 'none' ? undefined : createRedisReplication({ strategy, redis, config, members: all, log })
  const replication = kept ?? createNoReplication()
  const sweep = setInterval(() => {
    leader
      .run('sweep', async (_term, signal) => kept?.sweep(signal))
      .catch((error: unknown) => {
        if (!(error instanceof Refusal)) log.error({ err: error }, 'failed to sweep')
      })
  }, sweepMs)
  sweep.unref()
  const none = { held: 0, waiting: 0, refused: 0, taken: 0 }
  let closing: Promise<void> | undefined
  return {
    members: all,
    leader,
    bus,
    replication,
    claims: createClaims({ redis, config, members: all }),
    stats: () => ({
      ...all.stats(),
      ...(kept?.stats() ?? none),
      dropped: direct.stats().dropped,
      leading: leader.isLeader(),
      term: leader.term(),
    }),
    close() {
      closing ??= (async () => {
        clearInterval(sweep)
        await replication.close()
        await leader.close()
        await all.close()
        await bus.close()
        await direct.close()
      })()
      return closing
    },
  }
}
