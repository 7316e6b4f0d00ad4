import { Refusal } from '../errors.ts'
import type { Binding } from '../location/store.ts'
import type { Logger } from '../log.ts'
import { splitList } from '../sip/engine/message/syntax.ts'
import type { Comeback } from './comeback.ts'
import { type BranchBody, createFork, type Fork, type ForkUser } from './fork.ts'
import { type Party, readAddress } from './headers.ts'
import { calledUser, chooseTargets, type Origin, type Target, type Whereabouts } from './route.ts'
import type { Headers, SrfPort } from './sip.ts'

export interface RingerDeps {
  srf: SrfPort
  config: { ringSeconds: number; mostForks: number; mostRedirects: number }
  domain: string
  isOwn(host: string): boolean
  find(user: string): Promise<(Party & { enabled: boolean }) | undefined> | (Party & { enabled: boolean }) | undefined
  bindings(aor: string): Promise<readonly Binding[]> | readonly Binding[]
  bindingsOfGruu?(uri: string): Promise<readonly Binding[] | undefined>
  /** The other nodes, over which their phones are rung. */
  where: Whereabouts
  /** Phones of nodes that have just gone; absent without other nodes. */
  comeback: Comeback | undefined
}

/** Who rings: what it started is noted in `forks`. */
export interface Ringing {
  readonly forks: Fork[]
  readonly log: Logger
}

export interface Ringer {
  /** Who is called and where they are. Throws Refusal: unknown 404, not registered 480. */
  find(user: string, except?: Origin, uri?: string): Promise<{ callee: Party; targets: Target[] }>
  /** Rings `targets` for `call`; the fork ends by `user`'s onAnswer or onFailure, or when it is cancelled. */
  ring(
    call: Ringing,
    targets: readonly Target[],
    invite: { headers: Headers; body: BranchBody },
    user: Omit<ForkUser, 'onRedirect' | 'onLost'>,
  ): Fork
}

/** Finds people and rings them. */
export function createRinger(deps: RingerDeps): Ringer {
  const { srf, config, domain, isOwn, where, comeback } = deps

  async function find(user: string, except?: Origin, uri?: string): Promise<{ callee: Party; targets: Target[] }> {
    const device = uri !== undefined && /;gr\b/.test(uri) ? await deps.bindingsOfGruu?.(uri) : undefined
    if (device?.length === 0) throw new Refusal('temporarily-unavailable', 'not registered')
    const name = device?.[0] ? calledUser(device[0].aor, () => true) : user
    const callee = (await deps.find(name)) ?? (await deps.find(name.toLowerCase()))
    if (callee === undefined || !callee.enabled) throw new Refusal('not-found')
    const bindings = device ?? (await deps.bindings(`sip:${callee.user}@${domain}`))
    const choose = (from: readonly Binding[]) => chooseTargets(from, { most: config.mostForks, origin: except, where })
    let targets = choose(bindings)
    if (targets.length === 0 && device === undefined && comeback && bindings.some(comeback.isDue)) {
      const soon = (now: readonly Binding[]) => (choose(now).length > 0 ? choose(now) : undefined)
      targets = (await comeback.wait(`sip:${callee.user}@${domain}`, soon)) ?? []
    }
    if (targets.length === 0) throw new Refusal('temporarily-unavailable', 'not registered')
    return { callee, targets }
  }

  /** A phone may send callers to other people of this server, never elsewhere: that would be toll fraud's open door. */
  async function redirect(call: Ringing, contacts: string): Promise<Target[]> {
    const targets: Target[] = []
    for (const contact of splitList(contacts).slice(0, config.mostForks)) {
      const address = readAddress(contact)
      if (address === undefined || !isOwn(address.host)) {
        call.log.info('redirection to a foreign address was not followed')
        continue
      }
      try {
        targets.push(...(await find(address.user)).targets)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        call.log.info({ code: error.code }, 'redirection leads nowhere')
      }
    }
    return targets
  }

  return {
    find,
    ring(call, targets, { headers, body }, user) {
      const options = { srf, headers, body, ringMs: config.ringSeconds * 1000, ...config, log: call.log }
      const fork = createFork(options, {
        ...user,
        onRedirect: contacts => redirect(call, contacts),
        ...(comeback === undefined ? {} : { onLost: comeback.elsewhere }),
      })
      call.forks.push(fork)
      fork.start(targets)
      return fork
    },
  }
}
