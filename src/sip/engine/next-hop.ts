import { isIP } from 'node:net'
import type { Protocol } from '../../events.ts'
import type { Uri } from './message/uri.ts'
import type { Resolve } from './resolve.ts'
import type { OpenFlow } from './transaction/transaction.ts'
import type { Flow, Target } from './transport/transport.ts'

// From a URI to the flow that a request leaves by (RFC 3263 section 4, RFC 3261 section 18.1.1). Proxy and dialogs share it.

export type NextHopFailure =
  | 'flow-failed'
  | 'own-address'
  | 'unsupported-uri-scheme'
  | 'unsupported-transport'
  | 'no-address'
  | 'unreachable'

/** Why no flow could be had. `code` is for programs, the text for people. */
export class NextHopError extends Error {
  override readonly name = 'NextHopError'
  readonly code: NextHopFailure

  constructor(code: NextHopFailure, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/** A target to try. `upgraded`: TCP instead of UDP because of the size, so failing must be quick. */
export interface Attempt extends Target {
  upgraded?: boolean
}

export interface NextHop {
  /**
   * The flow for a request of `bytes` to `uri`: at once where an open one fits, else when one is open. With `pinned` a
   * parameter `fl` names the only flow that may be used; it must be set for URIs of our own application only, as a
   * stranger's URI could else choose another phone's connection. With `node` too, that flow is another node's. Rejects with a NextHopError, never throws.
   */
  flowFor(uri: Uri, bytes: number, pinned?: boolean): Flow | Promise<Flow>
  /** The open flow of this id. */
  flow(id: string): Flow | undefined
}

export interface NextHopDeps {
  resolve: Resolve
  find: (target: Target) => Flow | undefined
  flowById: (id: string) => Flow | undefined
  open: OpenFlow
  isOwn: (host: string, port: number, protocol?: Protocol) => boolean
  /** A request larger than this goes over TCP where the URI does not ask for UDP. */
  udpMaxBytes: number
  /** How long a peer that was chosen for UDP may take to accept TCP, in milliseconds. */
  upgradeMs?: number
}

// Peers that refused TCP once are not asked again for this time, and at most this many are remembered.
const refusedMs = 60_000
const mostRefused = 1000

const secured: Partial<Record<string, Protocol>> = { udp: 'tls', tcp: 'tls', tls: 'tls', ws: 'wss', wss: 'wss' }
const plain: Partial<Record<string, Protocol>> = { udp: 'udp', tcp: 'tcp', tls: 'tls', ws: 'ws', wss: 'wss' }
const defaultPorts: Record<Protocol, number> = { udp: 5060, tcp: 5060, tls: 5061, ws: 80, wss: 443 }

/** The transport that a URI asks for with its scheme and parameter; undefined for one that nobody knows. */
export function protocolOf(uri: Uri): Protocol | undefined {
  const asked = uri.params.get('transport')?.toLowerCase()
  return (uri.scheme === 'sips' ? secured : plain)[asked ?? 'udp']
}

/** The target of a URI whose host is an address: RFC 3263 section 4.1 and 4.2 without any look-up. */
export function numericTarget(uri: Uri): Target | undefined {
  const address = uri.params.get('maddr') ?? uri.host
  if (isIP(address) === 0) return undefined
  const protocol = protocolOf(uri)
  return protocol && { protocol, address, port: uri.port ?? defaultPorts[protocol] }
}

/**
 * What to try, in order. A message above `udpMaxBytes` tries TCP before each UDP target, and UDP after it, as RFC 3261
 * section 18.1.1 asks; a URI that names UDP (`mayUpgrade` false) gets UDP only.
 */
export function planAttempts(
  targets: readonly Target[],
  bytes: number,
  udpMaxBytes: number,
  mayUpgrade: boolean,
): Attempt[] {
  if (bytes <= udpMaxBytes || !mayUpgrade) return [...targets]
  const offersTcp = targets.some(target => target.protocol === 'tcp')
  return targets
    .flatMap(target =>
      target.protocol === 'udp' && !offersTcp
        ? [{ ...target, protocol: 'tcp' as const, upgraded: true }, target]
        : [target],
    )
    .sort((a, b) => Number(offersTcp && a.protocol === 'udp') - Number(offersTcp && b.protocol === 'udp'))
}

/** Opens the first target that can be opened (RFC 3263 section 4.3); rejects with the last failure. */
export async function openFirst<T extends Target>(
  targets: readonly T[],
  open: (target: T) => Promise<Flow>,
): Promise<Flow> {
  let last: unknown
  for (const target of targets) {
    try {
      return await open(target)
    } catch (error) {
      last = error
    }
  }
  throw new NextHopError('unreachable', last instanceof Error ? last.message : 'no target', last)
}

export function createNextHop(deps: NextHopDeps): NextHop {
  const { udpMaxBytes, upgradeMs = 1000 } = deps
  const refused = new Map<string, number>()

  function refusesTcp(target: Target): boolean {
    const key = `${target.address} ${target.port}`
    const until = refused.get(key)
    if (until === undefined) return false
    if (until > performance.now()) return true
    refused.delete(key)
    return false
  }

  function rememberRefusal(target: Target): void {
    if (refused.size >= mostRefused) refused.delete(refused.keys().next().value!)
    refused.set(`${target.address} ${target.port}`, performance.now() + refusedMs)
  }

  async function openAttempt(attempt: Attempt): Promise<Flow> {
    const open = deps.find(attempt)
    if (open) return open
    if (!attempt.upgraded) return deps.open(attempt)
    // Most phones that were reached over UDP do not listen on TCP, and a firewall in between may say nothing at all.
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('no TCP connection in time')), upgradeMs)
    })
    try {
      return await Promise.race([deps.open(attempt), late])
    } catch (error) {
      rememberRefusal(attempt)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  function choose(uri: Uri, targets: readonly Target[], bytes: number): Flow | Promise<Flow> {
    const mayUpgrade = uri.params.get('transport') === undefined
    const attempts = planAttempts(targets, bytes, udpMaxBytes, mayUpgrade).filter(a => !a.upgraded || !refusesTcp(a))
    const first = attempts[0]
    if (!first) return fail('no-address', `${uri.host} has no address`)
    return deps.find(first) ?? openFirst(attempts, openAttempt)
  }

  async function resolved(uri: Uri, bytes: number): Promise<Flow> {
    const query = {
      scheme: uri.scheme === 'sips' ? ('sips' as const) : ('sip' as const),
      host: uri.params.get('maddr') ?? uri.host,
      port: uri.port,
      transport: uri.params.get('transport')?.toLowerCase(),
    }
    let targets: readonly Target[]
    try {
      targets = await deps.resolve(query)
    } catch (error) {
      return fail('no-address', `${query.host} can not be looked up`, error)
    }
    if (targets.some(target => deps.isOwn(target.address, target.port, target.protocol)))
      return fail('own-address', myself)
    return choose(uri, targets, bytes)
  }

  function openFlow(id: string): Flow | undefined {
    const flow = deps.flowById(id)
    return flow && !flow.closed ? flow : undefined
  }

  return {
    flow: openFlow,
    flowFor(uri, bytes, pinned = false) {
      const id = pinned && !uri.params.has('node') ? uri.params.get('fl') : undefined
      if (id !== undefined) return openFlow(id) ?? fail('flow-failed', 'the flow to this phone is gone')
      if (uri.scheme !== 'sip' && uri.scheme !== 'sips') {
        return fail('unsupported-uri-scheme', `cannot send to ${uri.scheme}:`)
      }
      if (protocolOf(uri) === undefined) {
        return fail('unsupported-transport', `no transport ${uri.params.get('transport')}`)
      }
      const target = numericTarget(uri)
      if (target === undefined) return resolved(uri, bytes)
      if (deps.isOwn(target.address, target.port, target.protocol)) return fail('own-address', myself)
      if (bytes <= udpMaxBytes || target.protocol !== 'udp') return deps.find(target) ?? openFirst([target], deps.open)
      return choose(uri, [target], bytes)
    },
  }
}

const myself = 'can not send request to myself'

function fail(code: NextHopFailure, message: string, cause?: unknown): Promise<never> {
  return Promise.reject(new NextHopError(code, message, cause))
}
