import { createEvents, type FactName, type Facts } from '../../src/events.ts'
import type { LocationStore } from '../../src/location/store.ts'
import { createRegistrar, type RegisterRequest, type Registrar } from '../../src/registrar/registrar.ts'
import { parseNameAddr } from '../../src/sip/engine/message/message.ts'
import { sameUriText } from '../../src/sip/engine/message/uri.ts'

export const ann = 'sip:ann@example.org'

/** A registrar on a store, with every fact it told, as `[name, fact]`. */
export function openRegistrar(
  location: LocationStore,
  clock: { now: number },
  config: { minExpires?: number; maxExpires?: number; defaultExpires?: number; mostContacts?: number } = {},
): Registrar & { facts: [FactName, Facts[FactName]][] } {
  const events = createEvents()
  const facts: [FactName, Facts[FactName]][] = []
  events.onAny((name, fact) => {
    if (name !== 'registerAnswered') facts.push([name, fact])
  })
  const registrar = createRegistrar({
    location,
    config: { minExpires: 60, maxExpires: 3600, defaultExpires: 1800, mostContacts: 5, ...config },
    domain: 'example.org',
    node: 'node-1',
    gruuKey: Buffer.alloc(32, 7),
    events,
    now: () => clock.now,
    sameUri: sameUriText,
  })
  return { ...registrar, facts }
}

/** A REGISTER of Ann's; contacts as header values, read as routes.ts reads them. */
export function register(
  contacts: readonly string[] | '*',
  other: Partial<Omit<RegisterRequest, 'contacts'>> = {},
): RegisterRequest {
  return {
    aor: ann,
    contacts: contacts === '*' ? '*' : contacts.map(readContact),
    callId: 'call-1',
    cseq: 1,
    path: [],
    supported: [],
    require: [],
    vias: 1,
    flow: 'flow-1',
    protocol: 'tcp',
    source: { address: '192.0.2.7', port: 5060 },
    userAgent: 'test phone',
    ...other,
  }
}

function readContact(value: string) {
  const { uriText, params } = parseNameAddr(value)
  const number = (name: string) => (params.has(name) ? Number(params.get(name)) : undefined)
  return { uri: uriText, q: number('q'), expires: number('expires'), params }
}
