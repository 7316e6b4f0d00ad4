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
  /** That node takes new work again. Refuses as `drain`. */
  undrain(node: string): Promise<void>
}

/** What this node does when it is told to; `drain` takes its time. */
export interface NodeWork {
  drain(): Promise<unknown>
  undrain(): void
}

/** The nodes of this cluster. One that is told to drain answers when it has begun. */
export function createNodes(
  { members, bus, stats }: Pick<ClusterRooms, 'members' | 'bus' | 'stats'>,
  { drain, undrain }: NodeWork,
  log: Logger,
): Nodes {
  bus.answer('drain', async () => {
    await members.drain()
    drain().catch((error: unknown) => log.error({ err: error }, 'failed to drain'))
    return null
  })
  bus.answer('undrain', async () => {
    await members.undrain()
    undrain()
    return null
  })
  const ask = async (verb: string, node: string) => {
    const member = members.find(node)
    if (member === undefined) throw new Refusal('not-found', `there is no node ${node}`)
    if (member.state === 'down') throw new Refusal('node-unavailable', `node ${node} is down`)
    await bus.ask(member.node, verb, null, 5000)
  }
  return {
    list() {
      const all = members.list()
      // Earlier lives of a node that is there again are history.
      const newest = (one: Member) => !all.some(other => other.node === one.node && other.since > one.since)
      const there = ({ state }: Member) => state !== 'down' && state !== 'suspect'
      return all.filter(one => there(one) || newest(one)).sort((a, b) => (a.node < b.node ? -1 : 1))
    },
    stats,
    drain: node => ask('drain', node),
    undrain: node => ask('undrain', node),
  }
}
