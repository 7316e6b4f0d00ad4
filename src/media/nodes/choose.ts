import { BlockList, isIPv6 } from 'node:net'
import type { Subnet } from './wire.ts'

/** A node that could carry something, as far as choosing between nodes goes. */
export interface Candidate {
  node: string
  /** The one that asks. */
  own: boolean
  /** As the cluster sees it. */
  state: 'joining' | 'up' | 'draining' | 'suspect' | 'down'
  /** It answers; always so of our own. */
  there: boolean
  /** Browsers can be carried. */
  sfu: boolean
  /** 0..1: how much of its share a node takes that has just come. */
  weight: number
  /** 0 idle, 1 all it can carry. */
  busy: number
  addresses: readonly Subnet[]
}

export interface Choice {
  /** What is to be carried is a browser's. */
  browser: boolean
  /** Where the party's signalling comes from. */
  towards: string
  /** The node that has the others of its call or meeting. */
  together: string | undefined
  /** These were tried, or are to be left. */
  without: readonly string[]
}

/** How much busier than another node our own may be before media is sent a longer way. */
const ownAhead = 0.25
const subnetAhead = 0.1
// One that has just come is not given nothing at all.
const leastWeight = 0.05

/**
 * The nodes that may carry it, best first: where the others of it are, else the one that is least busy, our own ahead of
 * others, and one in the party's subnet ahead of one that is not. Who drains, is suspect or does not answer gets nothing;
 * only our own is better than nobody as long as it runs.
 */
export function chooseNodes(candidates: readonly Candidate[], choice: Choice): string[] {
  const able = candidates.filter(
    one => one.there && (one.sfu || !choice.browser) && !choice.without.includes(one.node) && mayTake(one),
  )
  const cost = (one: Candidate) =>
    one.busy / Math.max(leastWeight, one.weight) -
    (one.own ? ownAhead : 0) -
    (isNear(choice.towards, one.addresses) ? subnetAhead : 0)
  const rank = (one: Candidate) => (one.state !== 'up' ? 2 : one.node === choice.together ? 0 : 1)
  return able
    .map(one => ({ node: one.node, rank: rank(one), cost: cost(one) }))
    .sort((a, b) => a.rank - b.rank || a.cost - b.cost || (a.node < b.node ? -1 : 1))
    .map(one => one.node)
}

function mayTake({ own, state }: Candidate): boolean {
  return state === 'up' || own
}

/** Whether the party is in a network of the node. */
function isNear(towards: string, addresses: readonly Subnet[]): boolean {
  const plain = towards.replace(/^\[|\]$/g, '').replace(/^::ffff:(?=[\d.]+$)/i, '')
  const family = isIPv6(plain) ? 'ipv6' : 'ipv4'
  if (plain === '') return false
  return addresses.some(({ address, prefix }) => {
    if (isIPv6(address) !== (family === 'ipv6')) return false
    const net = new BlockList()
    net.addSubnet(address, prefix, family)
    return net.check(plain, family)
  })
}
