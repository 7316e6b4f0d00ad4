import { setTimeout } from 'node:timers/promises'
import type { RegistrarConfig } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Binding, LocationStore, MaybePromise, Page } from '../location/store.ts'
import { checkExtensions, type Decision, decide, knows, type RegisterRequest, sameInstance } from './contacts.ts'
import { createGruus, digestCallId, type ResolvedGruu } from './gruu.ts'

export type { RegisterRequest, RequestedContact } from './contacts.ts'

/** The 200 to a REGISTER. */
export interface RegisterAnswer {
  status: 200
  /** Values of the Contact header: all present bindings, the best first. */
  contacts: string[]
  headers: Record<string, string | string[]>
}

export interface Registrar {
  /** Answers a REGISTER whose sender is authenticated, or throws a Refusal (RFC 3261 section 10.3). */
  register(request: RegisterRequest): Promise<RegisterAnswer>
  /** Where an address can be reached now, best first. */
  bindings(aor: string): MaybePromise<readonly Binding[]>
  /** Takes one contact, or all, away from an address by an operator's hand; the number of those that went. */
  remove(aor: string, contact?: string): Promise<number>
  list(cursor: string | undefined, limit: number): MaybePromise<Page>
  count(): MaybePromise<number>
  /** What a GRUU of this domain stands for (RFC 5627 section 5.4). */
  resolveGruu(uri: string): ResolvedGruu | undefined
  /** Where a GRUU can be reached now: the instance's bindings, best first; undefined when it is no GRUU of ours. */
  bindingsOfGruu(uri: string): Promise<readonly Binding[] | undefined>
}

export interface RegistrarDeps {
  location: LocationStore
  config: RegistrarConfig
  /** The SIP domain of the accounts. */
  domain: string
  /** Name of this process, written into bindings. */
  node: string
  /** Secret of at least 32 bytes for temporary GRUUs; kept over restarts. */
  gruuKey: Buffer
  events: Events
  now(): number
  /** URI comparison of RFC 3261 section 19.1.4 on URI texts. */
  sameUri(a: string, b: string): boolean
}

// Another node may change the same address in between; so often in a row only if something is wrong.
const mostTries = 10

export function createRegistrar(deps: RegistrarDeps): Registrar {
  const { location, config, events, now } = deps
  const gruus = createGruus(deps.domain, deps.gruuKey)
  const inTurn = createTurns()
  const date = createDate(now)

  /** Load, change, save, until nobody else was in between. */
  async function change<T extends Pick<Decision, 'bindings' | 'ended'>>(
    aor: string,
    how: (present: readonly Binding[]) => T,
  ): Promise<T> {
    for (let tries = 0; tries < mostTries; tries++) {
      const { version, bindings, expired } = await location.load(aor)
      const result = how(bindings)
      if (!(await location.save(aor, version, result.bindings))) {
        // Two nodes in step would lose to each other for ever.
        if (tries > 0) await setTimeout(Math.random() * 2 ** tries)
        continue
      }
      for (const { contact } of expired) events.emit('unregistered', { aor, contact, why: 'expired' })
      return result
    }
    throw new Refusal('store-unavailable', 'Bindings change too fast', { headers: { 'Retry-After': '1' } })
  }

  async function apply(request: RegisterRequest): Promise<RegisterAnswer> {
    const { aor, contacts } = request
    checkExtensions(request)
    if (contacts !== '*' && contacts.length === 0) {
      // Only asking (RFC 3261 section 10.2.3).
      return answer(request, (await location.load(aor)).bindings, false)
    }
    checkNoGruu(request)
    const rules = { config, node: deps.node, sameUri: deps.sameUri }
    const decision = await inTurn(aor, () => change(aor, present => decide(request, present, { ...rules, now: now() })))
    report(request, decision)
    const ordered = decision.bindings.sort((a, b) => b.q - a.q || b.updatedAt - a.updatedAt)
    return answer(request, ordered, decision.outbound)
  }

  function checkNoGruu({ contacts }: RegisterRequest): void {
    if (contacts === '*') return
    // RFC 5627 section 5.1: an address that leads back to itself.
    if (contacts.some(({ uri }) => gruus.resolve(uri) !== undefined)) {
      throw new Refusal('forbidden', 'A GRUU is no contact')
    }
  }

  function report(request: RegisterRequest, decision: Decision): void {
    const { aor, protocol, userAgent } = request
    const source = `${request.source.address}:${request.source.port}`
    for (const { contact, why } of decision.ended) events.emit('unregistered', { aor, contact, why })
    for (const { binding, renewed } of decision.touched) {
      const expires = Math.round((binding.expiresAt - binding.updatedAt) / 1000)
      events.emit('registered', { aor, contact: binding.contact, expires, protocol, source, renewed, userAgent })
    }
  }

  function answer(request: RegisterRequest, bindings: readonly Binding[], outbound: boolean): RegisterAnswer {
    const headers: RegisterAnswer['headers'] = { Date: date() }
    if (request.path.length > 0) headers['Path'] = [...request.path]
    if (outbound) headers['Require'] = 'outbound'
    headers['Supported'] = 'path, outbound, gruu'
    const withGruu = knows(request, 'gruu')
    return { status: 200, contacts: bindings.map(binding => format(binding, withGruu)), headers }
  }

  function format(binding: Binding, withGruu: boolean): string {
    // Rounded up: 0 would say that it is gone.
    let text = `<${binding.contact}>;expires=${Math.max(1, Math.ceil((binding.expiresAt - now()) / 1000))}`
    if (binding.q !== 1) text += `;q=${binding.q}`
    const { aor, instance, callId } = binding
    if (instance === undefined) return text
    text += `;+sip.instance="<${instance}>"`
    if (binding.regId !== undefined) text += `;reg-id=${binding.regId}`
    if (!withGruu) return text
    const temp = gruus.temp(aor, instance, callId, String(binding.updatedAt))
    return `${text};pub-gruu="${gruus.pub(aor, instance)}";temp-gruu="${temp}"`
  }

  return {
    async register(request) {
      const started = performance.now()
      let status = 500
      try {
        const answered = await apply(request)
        status = answered.status
        return answered
      } catch (error) {
        if (error instanceof Refusal) status = error.sipStatus
        throw error
      } finally {
        events.emit('registerAnswered', { status, ms: performance.now() - started })
      }
    },
    bindings(aor) {
      const loaded = location.load(aor)
      return loaded instanceof Promise ? loaded.then(({ bindings }) => bindings) : loaded.bindings
    },
    async remove(aor, contact) {
      const goes = (binding: Binding) => contact === undefined || deps.sameUri(binding.contact, contact)
      const { ended } = await inTurn(aor, () =>
        change(aor, present => ({
          bindings: present.filter(binding => !goes(binding)),
          ended: present.filter(goes).map(binding => ({ contact: binding.contact, why: 'requested' as const })),
        })),
      )
      for (const gone of ended) events.emit('unregistered', { aor, contact: gone.contact, why: 'removed' })
      return ended.length
    },
    list: (cursor, limit) => location.list(cursor, limit),
    count: () => location.count(),
    resolveGruu: gruus.resolve,
    async bindingsOfGruu(uri) {
      const gruu = gruus.resolve(uri)
      if (gruu === undefined) return undefined
      const { bindings } = await location.load(gruu.aor)
      return bindings.filter(
        ({ instance, callId }) =>
          sameInstance(instance, gruu.instance) &&
          (gruu.callIdDigest === undefined || gruu.callIdDigest === digestCallId(callId)),
      )
    },
  }
}

/** Lets work on one address wait for the one before it, so that this process never competes with itself. */
function createTurns() {
  const last = new Map<string, Promise<unknown>>()
  return async <T>(aor: string, work: () => Promise<T>): Promise<T> => {
    const before = last.get(aor)
    const mine = before === undefined ? work() : before.then(work, work)
    last.set(aor, mine)
    try {
      return await mine
    } finally {
      if (last.get(aor) === mine) last.delete(aor)
    }
  }
}

/** The Date header (RFC 3261 section 20.17), made once a second. */
function createDate(now: () => number): () => string {
  let second = 0
  let text = ''
  return () => {
    const present = Math.floor(now() / 1000)
    if (present !== second) {
      second = present
      text = new Date(present * 1000).toUTCString()
    }
    return text
  }
}
