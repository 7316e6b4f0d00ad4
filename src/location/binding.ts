import type { Protocol } from '../events.ts'

/** What the registrar knows of one contact of one address of record (RFC 3261 section 10). Plain JSON. */
export interface Binding {
  /** Canonical address of record, `sip:user@domain`. */
  aor: string
  /** Contact URI as the phone gave it. */
  contact: string
  callId: string
  cseq: number
  /** Preference, 0 to 1. */
  q: number
  /** When it ends, in ms since 1970. */
  expiresAt: number
  /** Path URIs or name-addrs in the order of the REGISTER (RFC 3327). */
  path: readonly string[]
  /** Instance id without `<` and `>`, for example `urn:uuid:…` (RFC 5626 section 4.1). */
  instance?: string
  /** Present only where Outbound is in use (RFC 5626 section 6). */
  regId?: number
  /** Id of the engine's flow that the REGISTER came over; '' when that flow is gone. It means something only on `node`. */
  flow: string
  protocol: Protocol
  source: { address: string; port: number }
  userAgent: string
  /** When this contact came first, and when it was renewed last, in ms since 1970. */
  registeredAt: number
  updatedAt: number
  /** The server process that holds the flow. */
  node: string
}

/** True for a binding whose flow belongs to RFC 5626: the phone keeps several and restores a lost one by itself. */
export function isOutbound(binding: Binding): boolean {
  return binding.instance !== undefined && binding.regId !== undefined
}

const texts = ['aor', 'contact', 'callId', 'flow', 'protocol', 'userAgent', 'node'] as const
const numbers = ['cseq', 'q', 'expiresAt', 'registeredAt', 'updatedAt'] as const

/** Whether what was read from a file is a binding. */
export function isBinding(value: unknown): value is Binding {
  if (typeof value !== 'object' || value === null) return false
  const binding = value as Binding
  for (const name of texts) if (typeof binding[name] !== 'string') return false
  for (const name of numbers) if (typeof binding[name] !== 'number') return false
  return Array.isArray(binding.path) && typeof binding.source?.address === 'string'
}

// Higher q first; among equals the most recent one, because that is where the person is (RFC 5626 section 7).
function byPreference(a: Binding, b: Binding): number {
  return b.q - a.q || b.updatedAt - a.updatedAt
}

/** Parts bindings into live ones, best first, and those whose time has run out. */
export function partByTime(
  bindings: readonly Binding[],
  now: number,
): { bindings: readonly Binding[]; expired: readonly Binding[] } {
  const live = bindings.filter(binding => binding.expiresAt > now)
  const expired = live.length === bindings.length ? [] : bindings.filter(binding => binding.expiresAt <= now)
  if (live.length > 1) live.sort(byPreference)
  return { bindings: live, expired }
}
