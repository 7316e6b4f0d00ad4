import type { Members } from '../cluster/members.ts'
import { whereIn } from './route.ts'
import type { Incoming } from './sip.ts'

interface Proxying {
  proxy(options: { destination: string; provisionalTimeout: string }, done: (error: unknown) => void): void
}

// A node that has not said anything after this time is paused or cut off.
const patience = '4s'

/**
 * Hands a request inside a dialog to the living node that owns it, whose answer then goes back through this one. Resolves
 * with false when that node is not there or says nothing: the request is then still to be answered.
 */
export function createPass(
  members: Pick<Members, 'life' | 'find'>,
): (owner: string, req: Incoming) => Promise<boolean> {
  const where = whereIn(members)
  return (owner, req) => {
    const place = where(owner)
    if (typeof place !== 'object') return Promise.resolve(false)
    const destination = `${place.sip};node=${owner}`
    return new Promise(resolve => {
      const proxying = req as unknown as Proxying
      proxying.proxy({ destination, provisionalTimeout: patience }, error => resolve(!error))
    })
  }
}
