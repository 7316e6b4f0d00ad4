import type { KeptStore } from './kept-store.ts'
import { nobody } from './kept-store.ts'
import type { Members } from './members.ts'

export interface DeadDeps {
  store: Pick<KeptStore, 'hasLease'>
  members: Pick<Members, 'life' | 'self' | 'find'>
  leaseMs: number
  clock(): number
}

/** Tells whether a life is over: for `members`, and without a lease now. Refuses `store-unavailable`. */
export function createIsDead({ store, members, leaseMs, clock }: DeadDeps): (owner: string) => Promise<boolean> {
  const began = clock()
  return async owner => {
    if (owner === nobody) return true
    if (owner === members.life || members.self().state === 'joining') return false
    const member = members.find(owner)
    const known = member?.life === owner
    if (known ? member.state !== 'down' : clock() - began < 2 * leaseMs) return false
    return !(await store.hasLease(owner))
  }
}
