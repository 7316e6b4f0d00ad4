import type { Member } from './members.ts'

export type Said = 'joining' | 'up' | 'draining' | 'down'

/** What a node says of itself, in Redis and to its peers. */
export type Words = Omit<Member, 'state' | 'seen' | 'life'> & { said: Said }

/** Another life, as we see it; the times are of our clock. */
export interface Peer {
  words: Words
  member: Member
  /** Whether listeners were told of it. */
  shown: boolean
  leftMs: number
  leftAt: number
  heardAt: number
  countedAt: number
  /** When it last counted us. */
  countsUsAt: number
  probe: 'none' | 'answered' | 'failed' | 'other'
  probing: boolean
  asking: boolean
  deathTold: boolean
}

export interface CountAnswer {
  life: string
  /** Renewed in Redis for us; counted by one that has lost Redis as well; or held for dead. */
  how: 'renewed' | 'counted' | 'dead'
}

const never = Number.NEGATIVE_INFINITY

/** One that we have just heard of; how it is, is to be judged. */
export function newPeer(life: string, words: Words, now: number): Peer {
  const { said: _, ...rest } = words
  return {
    words,
    member: { ...rest, life, state: 'suspect', seen: Date.now() },
    shown: false,
    leftMs: 0,
    leftAt: now,
    heardAt: never,
    countedAt: never,
    countsUsAt: never,
    probe: 'none',
    probing: false,
    asking: false,
    deathTold: false,
  }
}
