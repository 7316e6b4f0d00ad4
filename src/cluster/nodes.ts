import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { ClusterRooms, ClusterStats } from './cluster.ts'
import type { Member } from './members.ts'

/** The nodes, as operators see them. */
export interface Nodes {
  list(): readonly Member[]
  stats(): ClusterStats
  /** That node takes nothing new from now on, and gives away what it can. Refuses `not-found`, `node-unavailable`. */
  drain(node: string): Promise<void>
}

/** `drain` is what this node does when it is told to; it answers when it has begun. */
export function createNodes(
  { members, bus, stats }: Pick<ClusterRooms, 'members' | 'bus' | 'stats'>,
  drain: () => Promise<unknown>,
  log: Logger,
): Nodes {
  bus.answer('drain', async () => {
    await members.drain()
    drain().catch((error: unknown) => log.error({ err: error }, 'failed to drain'))
    return null
  })
  return {
    list() {
      const all = members.list()
      // Earlier lives of a node that is there again are history.
      const newest = (one: Member) => !all.some(other => other.node === one.node && other.since > one.since)
      return all.filter(one => one.state !== 'down' || newest(one)).sort((a, b) => (a.node < b.node ? -1 : 1))
    },
    stats,
    async drain(node) {
      const member = members.find(node)
      if (member === undefined) throw new Refusal('not-found', `there is no node ${node}`)
      if (member.state === 'down') throw new Refusal('node-unavailable', `node ${node} is down`)
      await bus.ask(member.node, 'drain', null, 5000)
    },
  }
}
