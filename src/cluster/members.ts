import type { Json } from './bus.ts'

// The seam to the nodes of this cluster: who is there, how they are, and whether we may still act for what we own.

export type NodeState = 'joining' | 'up' | 'draining' | 'suspect' | 'down'
export type Role = 'sip' | 'media'

export interface Member {
  /** The node's id: its name, the same after a restart. */
  node: string
  /** This life of it: a new one at each start. Flows, media legs and calls belong to a life. */
  life: string
  state: NodeState
  roles: Role[]
  /** Of the configuration, 10 is asked before 20 (RFC 2782). */
  priority: number
  /** SIP URI to which other nodes send requests for flows that this one holds, `sip:192.0.2.1:5060;transport=tcp`; and its API. */
  sip: string
  http: string
  /** Address and port of its direct link, over which nodes ask each other. */
  link: string
  version: string
  /** When this life began and when it was last heard of, in ms since 1970. */
  since: number
  seen: number
  /** Calls, media legs, CPU share 0..1 and whatever rooms add. */
  load: Record<string, number>
  /** 0..1: how much of its share it takes after it came (gradual return to service). */
  weight: number
}

export interface Members {
  readonly node: string
  readonly life: string
  list(): readonly Member[]
  find(nodeOrLife: string): Member | undefined
  /** Ourselves. */
  self(): Member
  /** Adds figures to what the others see of us; called before each heartbeat. */
  onBeat(figures: () => Record<string, number>): void
  /**
   * False when we could not renew our lease in time (a pause, or cut off from Redis and all others): what we own may be
   * somebody else's by now, and nothing may be done for it before `reclaim` has looked.
   */
  holdsLease(): boolean
  /** Calls `listener` when a member comes, changes state or goes. */
  onChange(listener: (member: Member, was: NodeState | undefined) => void): () => void
  /** A life has ended for sure: no lease, and it answers nobody. Each node hears it once per life. */
  onDeath(listener: (dead: Member) => void): () => void
  /** We were paused or cut off, and are back: what we own must be looked at anew. */
  onReturn(listener: () => void): () => void
  /** From now on the others give us nothing new. */
  drain(): Promise<void>
  /** Ends that; does nothing for a node that is on its way out. */
  undrain(): Promise<void>
  /** Says goodbye, so that nobody has to wait for the lease to end. */
  close(): Promise<void>
}

/** One node does something for all. */
export interface Leader {
  isLeader(): boolean
  /** Names the term; it only grows. Whatever the leader writes carries it, and an older one is refused. */
  term(): number
  onChange(listener: (leading: boolean) => void): () => void
  /** Runs `work` here and only while we lead; it is given up when we do not any more. Undefined when we do not lead. */
  run<T>(name: string, work: (term: number, signal: AbortSignal) => Promise<T>): Promise<T | undefined>
  close(): Promise<void>
}

/** What a node without a cluster says of itself. */
export type Figures = Record<string, Json>
