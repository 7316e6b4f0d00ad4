import type { Members } from '../cluster/members.ts'
import { escapeUser } from '../sip/engine/message/uri.ts'
import { whereIn } from './route.ts'
import type { Headers, Incoming } from './sip.ts'

interface Proxying {
  proxy(
    options: { destination: string; provisionalTimeout: string; headers?: Headers; recordRoute?: boolean },
    done: (error: unknown) => void,
  ): void
}

/** What a request that begins a dialog needs besides. */
export interface Beginning {
  /** Whom it is for at the other node. */
  user: string
  headers: Headers
}

/**
 * Hands a request to the living node `owner`, whose answer then goes back through this one; what it `begins` comes this
 * way from then on. Resolves with false when that node is not there or says nothing: the request is then still to be
 * answered.
 */
export type Pass = (owner: string, req: Incoming, begins?: Beginning) => Promise<boolean>

// A node that has not said anything after this time is paused or cut off.
const patience = '4s'

export function createPass(members: Pick<Members, 'life' | 'find'>): Pass {
  const where = whereIn(members)
  return (owner, req, begins) => {
    const place = where(owner)
    if (typeof place !== 'object') return Promise.resolve(false)
    const uri = begins === undefined ? place.sip : place.sip.replace(/^(sips?:)/, `$1${escapeUser(begins.user)}@`)
    const more = begins === undefined ? {} : { headers: begins.headers, recordRoute: true }
    return new Promise(resolve => {
      const proxying = req as unknown as Proxying
      const options = { destination: `${uri};node=${owner}`, provisionalTimeout: patience, ...more }
      proxying.proxy(options, error => resolve(!error))
    })
  }
}
