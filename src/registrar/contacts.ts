import type { RegistrarConfig } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import type { Protocol } from '../events.ts'
import type { Binding } from '../location/store.ts'

/** One value of the Contact header of a REGISTER. */
export interface RequestedContact {
  /** URI text without angle brackets. */
  uri: string
  /** The q parameter, 0 to 1. */
  q?: number | undefined
  /** The expires parameter, in seconds; undefined when absent or malformed. */
  expires?: number | undefined
  /** All header parameters, names in lower case, values as received (quotes may be kept). */
  params: ReadonlyMap<string, string | undefined>
}

/** A REGISTER as plain data, its sender already authenticated for `aor`. */
export interface RegisterRequest {
  /** Canonical address of record, `sip:user@domain`. */
  aor: string
  contacts: readonly RequestedContact[] | '*'
  /** The Expires header, in seconds. */
  expires?: number | undefined
  callId: string
  cseq: number
  /** Values of the Path header, topmost first. */
  path: readonly string[]
  /** Option tags of Supported and Require, in lower case. */
  supported: readonly string[]
  require: readonly string[]
  /** How many Via values it has: one means that it came from the phone itself (RFC 5626 section 6). */
  vias: number
  flow: string
  protocol: Protocol
  source: { address: string; port: number }
  userAgent: string
}

/** What a REGISTER does to the bindings of its address. */
export interface Decision {
  /** The new list. */
  bindings: Binding[]
  /** Those of the new list that this request added or renewed. */
  touched: { binding: Binding; renewed: boolean }[]
  ended: { contact: string; why: 'requested' | 'replaced' }[]
  /** True when Outbound was applied to a contact. */
  outbound: boolean
}

/** What the decision needs besides the request and the present bindings. */
export interface Rules {
  config: RegistrarConfig
  node: string
  now: number
  /** URI comparison of RFC 3261 section 19.1.4. */
  sameUri(a: string, b: string): boolean
}

const extensions = ['path', 'outbound', 'gruu']

/** Refuses what the request asks for and nobody here can give (RFC 3261 section 10.3 step 2, RFC 3327 section 5.3). */
export function checkExtensions(request: RegisterRequest): void {
  const unknown = request.require.filter(tag => !extensions.includes(tag))
  if (unknown.length > 0) {
    throw new Refusal('bad-extension', undefined, { headers: { Unsupported: unknown.join(', ') } })
  }
  // A Path that the phone does not know of could not be shown to it, and it could not see who gets into its calls.
  if (request.path.length > 0 && !knows(request, 'path')) {
    throw new Refusal('bad-extension', 'Path without Supported: path', { headers: { Unsupported: 'path' } })
  }
}

export function knows(request: RegisterRequest, tag: string): boolean {
  return request.supported.includes(tag) || request.require.includes(tag)
}

/**
 * Applies a REGISTER to the live bindings of its address (RFC 3261 section 10.3 steps 6 and 7, RFC 5626 section 6):
 * the whole of it or, with a Refusal, nothing. Pure.
 */
export function decide(request: RegisterRequest, present: readonly Binding[], rules: Rules): Decision {
  if (request.contacts === '*') return removeAll(request, present)
  const bindings = [...present]
  const decision: Decision = { bindings, touched: [], ended: [], outbound: false }
  const regIds = request.contacts.filter(
    contact => outboundOf(contact, request) !== undefined && lifetime(contact, request, rules.config) > 0,
  )
  // RFC 5626 section 4.2.1: one flow, one contact.
  if (regIds.length > 1) throw new Refusal('bad-request', 'More than one Contact with reg-id')
  for (const contact of request.contacts) apply(contact, request, decision, rules)
  makeRoom(decision, rules.config.mostContacts)
  return decision
}

/**
 * Phones that die without taking their registration back leave it behind, and come again with another contact: what
 * was renewed longest ago gives way. A request that by itself brings too many is refused.
 */
function makeRoom(decision: Decision, most: number): void {
  const { bindings, touched } = decision
  const surplus = bindings.length - most
  if (surplus <= 0 || touched.every(({ renewed }) => renewed)) return
  const kept = new Set(touched.map(({ binding }) => binding))
  const candidates = bindings
    .filter(binding => !kept.has(binding))
    .sort((a, b) => a.updatedAt - b.updatedAt || (a.contact < b.contact ? -1 : 1))
  if (candidates.length < surplus) throw new Refusal('forbidden', 'Too many contacts')
  const leaving = new Set(candidates.slice(0, surplus))
  decision.bindings = bindings.filter(binding => !leaving.has(binding))
  for (const { contact } of leaving) decision.ended.push({ contact, why: 'replaced' })
}

function removeAll(request: RegisterRequest, present: readonly Binding[]): Decision {
  if (request.expires !== 0) throw new Refusal('bad-request', 'Contact: * needs Expires: 0')
  for (const binding of present) checkOrder(binding, request)
  const ended = present.map(({ contact }) => ({ contact, why: 'requested' as const }))
  return { bindings: [], touched: [], ended, outbound: false }
}

function apply(contact: RequestedContact, request: RegisterRequest, decision: Decision, rules: Rules): void {
  const { bindings } = decision
  if (!/^sips?:/i.test(contact.uri)) throw new Refusal('bad-request', 'Contact is no SIP or SIPS URI')
  const instance = instanceOf(contact)
  const regId = outboundOf(contact, request)
  decision.outbound ||= regId !== undefined
  const seconds = lifetime(contact, request, rules.config)
  const found = bindings.findIndex(binding => isMeant(binding, contact.uri, instance, regId, rules))
  const old = bindings[found]
  // Of two values for one binding in one request the last one holds, so what this request made is in order.
  const earlier = decision.touched.find(({ binding }) => binding === old)
  if (old !== undefined && earlier === undefined) checkOrder(old, request)
  decision.touched = decision.touched.filter(touch => touch !== earlier)
  if (seconds === 0) {
    if (old === undefined) return
    bindings.splice(found, 1)
    if (earlier?.renewed !== false) decision.ended.push({ contact: old.contact, why: 'requested' })
    return
  }
  const binding = bindingOf(contact, request, rules, seconds, old, instance, regId)
  const renewed = old !== undefined && earlier?.renewed !== false
  // A new flow of the same instance takes the place of its old one (RFC 5626 section 6).
  if (renewed && !rules.sameUri(old.contact, binding.contact)) {
    decision.ended.push({ contact: old.contact, why: 'replaced' })
  }
  if (old === undefined) bindings.push(binding)
  else bindings[found] = binding
  decision.touched.push({ binding, renewed })
  if (instance !== undefined) dropGhosts(binding, request, decision)
}

/** Whether a contact value speaks of this binding: with Outbound the same instance and reg-id, else the same URI. */
function isMeant(
  binding: Binding,
  uri: string,
  instance: string | undefined,
  regId: number | undefined,
  rules: Rules,
): boolean {
  if (regId !== undefined) return binding.regId === regId && sameInstance(binding.instance, instance)
  // A phone may name what it registered with Outbound without it, to take it away; another phone may not.
  const others = binding.regId !== undefined && instance !== undefined && !sameInstance(binding.instance, instance)
  return !others && rules.sameUri(binding.contact, uri)
}

// A phone that names itself (+sip.instance) but knows no Outbound registers anew when its address changes, and cannot
// take back the old contact from there. Kept, the old one would ring into nothing or at a stranger until it expires.
// RFC 5626 orders replacement only with a reg-id; but one instance is one phone (RFC 5626 section 4.1), and without
// Outbound it has one contact. So the instance's other contacts without reg-id go, also when it has come to use
// Outbound, unless the same request names them, or a later one of the same Call-ID made them. The Call-ID alone is no
// ground: one phone may add several contacts under it (RFC 3261 section 10.2).
function dropGhosts(binding: Binding, request: RegisterRequest, decision: Decision): void {
  for (let at = decision.bindings.length - 1; at >= 0; at--) {
    const other = decision.bindings[at]!
    if (other === binding || other.regId !== undefined || !sameInstance(other.instance, binding.instance)) continue
    if (other.callId === request.callId && other.cseq >= request.cseq) continue
    decision.bindings.splice(at, 1)
    decision.ended.push({ contact: other.contact, why: 'replaced' })
  }
}

function bindingOf(
  contact: RequestedContact,
  request: RegisterRequest,
  rules: Rules,
  seconds: number,
  old: Binding | undefined,
  instance: string | undefined,
  regId: number | undefined,
): Binding {
  const binding: Binding = {
    aor: request.aor,
    contact: contact.uri,
    callId: request.callId,
    cseq: request.cseq,
    q: contact.q ?? 1,
    expiresAt: rules.now + seconds * 1000,
    path: request.path,
    flow: request.flow,
    protocol: request.protocol,
    source: request.source,
    userAgent: request.userAgent,
    registeredAt: old?.registeredAt ?? rules.now,
    updatedAt: rules.now,
    node: rules.node,
  }
  if (instance !== undefined) binding.instance = instance
  if (regId !== undefined) binding.regId = regId
  return binding
}

// RFC 3261 section 10.3 step 7: out of order within one Call-ID fails the whole request.
function checkOrder(binding: Binding, request: RegisterRequest): void {
  if (binding.callId === request.callId && request.cseq <= binding.cseq) {
    throw new Refusal('server-error', 'REGISTER is out of order')
  }
}

/** Seconds that a contact may stay, 0 to take it away (RFC 3261 section 10.2.1.1 and section 10.3 step 7). */
function lifetime(contact: RequestedContact, request: RegisterRequest, config: RegistrarConfig): number {
  const wish = contact.expires ?? request.expires ?? config.defaultExpires
  // An hour or more may not be refused as too brief, whatever the setting says.
  if (wish > 0 && wish < 3600 && wish < config.minExpires) {
    throw new Refusal('interval-too-brief', undefined, { headers: { 'Min-Expires': String(config.minExpires) } })
  }
  return Math.min(wish, config.maxExpires)
}

/** The reg-id where Outbound is to be applied (RFC 5626 section 6). */
function outboundOf(contact: RequestedContact, request: RegisterRequest): number | undefined {
  const text = contact.params.get('reg-id')
  if (text === undefined || instanceOf(contact) === undefined || !knows(request, 'outbound')) return undefined
  const regId = /^\d{1,10}$/.test(text) ? Number(text) : 0
  if (regId < 1 || regId >= 2 ** 31) throw new Refusal('bad-request', 'Malformed reg-id')
  if (firstHopKeepsFlows(request)) return regId
  if (request.require.includes('outbound')) throw new Refusal('first-hop-lacks-outbound')
  // The phone sees by the missing Require: outbound in the 200 that it has an ordinary registration.
  return undefined
}

// RFC 5626 section 6: the flow is worth keeping only if it is the phone's own, or if the proxy next to the phone, whose
// Path value is the last one because each proxy puts its own before the others, keeps it and says so by `ob`.
function firstHopKeepsFlows(request: RegisterRequest): boolean {
  return request.vias <= 1 || /;ob(?:[;>=]|$)/i.test(request.path.at(-1) ?? '')
}

/** The +sip.instance of a contact without quotes and angle brackets. */
function instanceOf(contact: RequestedContact): string | undefined {
  const text = contact.params.get('+sip.instance')?.replace(/^"?<?|>?"?$/g, '')
  return text === '' ? undefined : text
}

// URN scheme and namespace, and the digits of a UUID, are the same in either case (RFC 8141 section 3.1, RFC 9562).
export function sameInstance(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && (a === b || a.toLowerCase() === b.toLowerCase())
}
