import type { Accounts } from '../accounts/accounts.ts'
import type { Limits } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import type { TestPhone } from './phone.ts'

/** Where test phones get their accounts. */
export interface People {
  /** Makes accounts with passwords that nobody ever sees, and a phone for each. */
  hire(id: string, count: number): Promise<TestPhone[]>
  /** Takes away the accounts of drills that began before that time, in ms since 1970. */
  dismiss(before: number): Promise<void>
}

export interface PeopleDeps {
  accounts: Pick<Accounts, 'add' | 'list' | 'remove'>
  /** Forgets where such an address was registered. */
  forget(aor: string): Promise<unknown>
  domain: string
  limits: Limits
}

const displayName = 'Drill'
const user = 'drill-[0-9a-f]{8}-[0-9]'
const itsUser = new RegExp(`^${user}$`)
const itsAor = new RegExp(`^sip:${user}@`)

/** Whether this is the address of a test phone. */
export function isTestPhone(aor: string): boolean {
  return itsAor.test(aor)
}

export function createPeople({ accounts, forget, domain, limits }: PeopleDeps): People {
  return {
    async hire(id, count) {
      const { createTestPhone } = await import('./phone.ts')
      const phones: TestPhone[] = []
      for (let at = 1; at <= count; at++) {
        const { account, password } = await accounts.add({ user: `drill-${id}-${at}`, domain, displayName })
        phones.push(createTestPhone({ user: account.user, password, domain, limits }))
      }
      return phones
    },
    async dismiss(before) {
      for (const one of await accounts.list(domain)) {
        const ours = one.displayName === displayName && itsUser.test(one.user)
        if (!ours || Date.parse(one.created) > before) continue
        await accounts.remove(one.user, domain).catch(notThere)
        await forget(`sip:${one.user}@${domain}`)
      }
    },
  }
}

/** Another node has been quicker. */
function notThere(error: unknown): void {
  if (!(error instanceof Refusal && error.code === 'not-found')) throw error
}
