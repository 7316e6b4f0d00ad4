import type { Accounts } from '../accounts/accounts.ts'
import type { ClusterRooms } from '../cluster/cluster.ts'
import type { Nodes } from '../cluster/nodes.ts'
import type { Config } from '../config/schema.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { Records } from '../records/records.ts'
import type { RedisLink } from '../redis/redis.ts'
import type { AttendantDeps } from './attendant.ts'
import { createDrills, type Drills, noDrills } from './drills.ts'
import { createPeople } from './people.ts'
import { createReports } from './reports.ts'

/** The rooms of a node that a drill has to do with. */
export interface DrillRooms {
  config: Config
  cluster: Pick<ClusterRooms, 'members' | 'bus' | 'leader'>
  /** Undefined for a node by itself. */
  nodes: Nodes | undefined
  redis: RedisLink | undefined
  /** Where reports are kept. */
  file: string
  accounts: Accounts
  registrar: { remove(aor: string): Promise<unknown> }
  records: Pick<Records, 'list'>
  calls: AttendantDeps['calls']
  groups: { list(): readonly unknown[] }
  events: Events
  log: Logger
}

// More records than one drill can have.
const mostRecords = 100

/** The drills of this node. */
export function openDrills(rooms: DrillRooms): Drills {
  const { config, cluster, nodes, redis, file, accounts, registrar, records, calls, groups, events, log } = rooms
  if (nodes === undefined) return noDrills
  const { domain, store, sip } = config
  return createDrills({
    ...cluster,
    ...{ nodes, calls, events, log, domain },
    replication: config.cluster.replication,
    plan: { when: config.cluster.drill, hour: config.cluster.drillHour },
    people: createPeople({ accounts, forget: aor => registrar.remove(aor), domain, limits: sip.limits }),
    reports: createReports({ file, redis, prefix: store.prefix, log }),
    meetings: () => groups.list().length,
    knows: async user => (await accounts.get(user, domain)) !== undefined,
    async recordsOf(aor) {
      const found = await records.list({ user: aor, limit: mostRecords })
      return found.filter(record => record.from === aor && record.answered !== undefined).length
    },
    die,
  })
}

/** As a failure of power would end this program. The first process of a container hears no signal that it sends itself. */
function die(): void {
  process.kill(process.pid, 'SIGKILL')
  process.exit(137)
}
