import type { NodeState } from './members.ts'

/** What is known of a life at one time. Times in ms. */
export interface Sight {
  was: NodeState
  /** What it last said of itself; `down` is its goodbye. */
  said: 'joining' | 'up' | 'draining' | 'down'
  /** Its lease is in Redis; undefined while we have no word of Redis ourselves. */
  lease: boolean | undefined
  /** Since it last renewed its lease; of no meaning without one. */
  age: number
  /** Since it last answered us, or asked us, directly. */
  silent: number
  /** Since we told it, while Redis was away, that it counts as alive. */
  counted: number
  /** How the last direct question ended; `other` means that a later life of this node has answered. */
  probe: 'none' | 'answered' | 'failed' | 'other'
  /** Redis came back, or we came, so lately that others may not have had the time to renew their leases. */
  grace: boolean
}

/** Heartbeats that a living node may miss before it is asked directly. */
const missedBeats = 2.5

/**
 * Decides how a node is. Down is only who said so, or has no lease and does not answer either: a node that has lost Redis
 * alone still answers, and a node that is asleep still has its lease for a while.
 */
export function decideState(sight: Sight, times: { heartbeatMs: number; leaseMs: number }): NodeState {
  const { said, lease, age, silent, counted, probe, grace } = sight
  if (said === 'down') return 'down'
  const late = missedBeats * times.heartbeatMs
  if (lease === true && age < late) return said
  if (probe !== 'other' && silent < late) return said
  if (lease !== false) return sight.was === 'down' ? 'down' : 'suspect'
  // It relies on being counted for the length of a lease.
  const forgotten = probe === 'other' || (probe === 'failed' && counted >= times.leaseMs)
  if (forgotten && !grace) return 'down'
  return sight.was === 'down' ? 'down' : 'suspect'
}

/** How much of its share a node takes `ms` after it came; from 0 to 1. */
export function weightOf(ms: number, returnMs: number): number {
  if (ms >= returnMs) return 1
  return Math.round((ms / returnMs) * 100) / 100
}
