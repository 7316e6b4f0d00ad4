import type { Members } from '../cluster/members.ts'
import type { Binding } from '../location/store.ts'
import type { Logger } from '../log.ts'
import { chooseTargets, isLive, type Target, targetOf, type Whereabouts } from './route.ts'

// A phone whose only connection was to a node that has just gone registers at another one within some seconds. Whoever is
// calling it just then waits for that, instead of hearing that nobody is there.

/** Calls its listener with each address whose bindings have changed; the returned function ends that. */
export type OnBindings = (listener: (aor: string) => void) => () => void

export interface ComebackDeps {
  members: Pick<Members, 'find' | 'onDeath'>
  where: Whereabouts
  bindings(aor: string): Promise<readonly Binding[]> | readonly Binding[]
  onBindings: OnBindings
  log: Logger
  /** How long a caller waits, in ms. */
  patienceMs?: number | undefined
}

export interface Comeback {
  /** Whether this phone is likely to come back soon. */
  isDue(binding: Binding): boolean
  /** Resolves when `found` gives something, looked at after each change of the address; undefined: it did not in time. */
  wait<T>(aor: string, found: (bindings: readonly Binding[]) => T | undefined): Promise<T | undefined>
  /** Other ways to the device of a target that was not reached, also those that it opens soon (RFC 5626 section 5.3). */
  elsewhere(target: Target, tried: readonly string[]): Promise<Target[]>
  close(): void
}

const defaultPatienceMs = 4000
// Longer than a phone takes to find that its connection is gone and to register at the next server.
const recentMs = 30_000

export function createComeback(deps: ComebackDeps): Comeback {
  const { members, where, patienceMs = defaultPatienceMs } = deps
  const waiting = new Map<string, Set<() => void>>()
  const closing = new Set<() => void>()
  const stops = [
    deps.onBindings(aor => {
      for (const look of waiting.get(aor) ?? []) look()
    }),
    // Of a node that is known to be dead a phone may be reached at its contact itself.
    members.onDeath(() => {
      for (const all of waiting.values()) for (const look of all) look()
    }),
  ]

  function isDue({ node, flow }: Binding): boolean {
    if (where(node) === 'here') return false
    const member = members.find(node)
    if (member?.life !== node) return false
    if (member.state === 'down') return Date.now() - member.seen < recentMs
    return member.state !== 'up' || flow !== ''
  }

  function wait<T>(aor: string, found: (bindings: readonly Binding[]) => T | undefined): Promise<T | undefined> {
    const began = performance.now()
    return new Promise<T | undefined>((resolve, reject) => {
      const end = (result: T | undefined) => {
        clearTimeout(timer)
        closing.delete(giveUp)
        const all = waiting.get(aor)
        all?.delete(look)
        if (all?.size === 0) waiting.delete(aor)
        const ms = Math.round(performance.now() - began)
        deps.log.info({ aor, ms, found: result !== undefined }, 'a caller waited for another way to a phone')
        resolve(result)
      }
      const look = async () => {
        try {
          const result = found(await deps.bindings(aor))
          if (result !== undefined) end(result)
        } catch (error) {
          reject(error)
          end(undefined)
        }
      }
      const giveUp = () => end(undefined)
      const timer = setTimeout(giveUp, patienceMs)
      closing.add(giveUp)
      waiting.set(aor, (waiting.get(aor) ?? new Set()).add(look))
      void look()
    })
  }

  return {
    isDue,
    wait,
    async elsewhere(target, tried) {
      const { aor, device } = target
      const isOwn = ({ instance, callId }: Binding) =>
        device.instance !== undefined && instance !== undefined
          ? instance === device.instance
          : callId === device.registration
      const next = (bindings: readonly Binding[]): Target[] | undefined => {
        const own = bindings.filter(isOwn)
        const fresh = own
          .filter(binding => isLive(binding, where))
          .map(binding => targetOf(binding, where))
          .find(({ proxy }) => !tried.includes(proxy ?? ''))
        if (fresh !== undefined) return [fresh]
        const left = own.some(binding => isLive(binding, where)) ? [] : chooseTargets(own, { most: 1, where })
        if (left.length > 0 && !tried.includes(left[0]?.proxy ?? '')) return left
        return own.some(isDue) ? undefined : []
      }
      return (await wait(aor, next)) ?? []
    },
    close() {
      for (const stop of stops) stop()
      for (const giveUp of [...closing]) giveUp()
    },
  }
}
