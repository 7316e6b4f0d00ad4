import type { Strategy } from '../cluster/replication.ts'

export type Ring = 'all' | 'order' | 'nobody'
export const rings: readonly Ring[] = ['all', 'order', 'nobody']
export const replications: readonly (Strategy | 'configured')[] = ['none', 'lazy', 'hot-standby', 'configured']

/** A group: an address with members. Names are user names of the same domain, in the order of ringing. */
export interface Group {
  readonly name: string
  readonly domain: string
  readonly displayName: string
  readonly members: readonly string[]
  readonly moderators: readonly string[]
  /** Whom the first caller rings: all at once, one after the other until somebody comes, or nobody. */
  readonly ring: Ring
  /** Each meeting is recorded, after a tone that says so. */
  readonly record: boolean
  /** A tone is heard when somebody comes or goes. */
  readonly announce: boolean
  /** Whether others than members need a PIN. */
  readonly pin: boolean
  /** Most people at once; undefined: as configured. */
  readonly most?: number
  /** What is kept of its meetings for other nodes (docs/meetings.md); undefined: as configured. */
  readonly replication?: Strategy
  /** ISO 8601, UTC. */
  readonly created: string
}

export interface GroupChange {
  displayName?: string
  members?: readonly string[]
  moderators?: readonly string[]
  ring?: Ring
  record?: boolean
  announce?: boolean
  /** 4 to 12 digits; '' takes it away. */
  pin?: string
  /** 0: as configured. */
  most?: number
  replication?: Strategy | 'configured'
}

/** The groups there are. An unknown one is refused with `not-found`, nonsense with `bad-request`. */
export interface GroupStore {
  /** Refuses `already-exists` for the name of a group or an account. */
  add(group: { name: string; domain: string } & GroupChange): Promise<Group>
  list(domain?: string): Promise<Group[]>
  get(name: string, domain: string): Promise<Group | undefined>
  /** Whether there is such a group; for each call, so it is answered from memory. */
  has(name: string, domain: string): Promise<boolean>
  change(name: string, domain: string, change: GroupChange): Promise<Group>
  remove(name: string, domain: string): Promise<void>
  /** Whether this is the PIN; true for a group without one. */
  checkPin(name: string, domain: string, pin: string): Promise<boolean>
}
