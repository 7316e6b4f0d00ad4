import { lookup as lookupAddress } from 'node:dns'
import { resolveSrv as resolveSrvRecords } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { Protocol } from '../events.ts'
import type { Resolve } from './engine/resolve.ts'
import type { Target } from './engine/transport/transport.ts'

// From a SIP URI to the targets to try (RFC 3263 section 4), without NAPTR: a choice between transports is made by the
// URI, else by which SRV records there are.

export interface SrvRecord {
  name: string
  port: number
  priority: number
  weight: number
}

export interface ResolveDeps {
  /** All addresses of a name; empty when it has none. */
  lookup?: (name: string) => Promise<string[]>
  /** SRV records of a name; empty when there are none. */
  resolveSrv?: (name: string) => Promise<SrvRecord[]>
  /** Milliseconds, never going back. */
  now?: () => number
  /** 0 up to 1, for weights. */
  random?: () => number
}

const keepMs = 30_000
const mostKept = 1000

const absent = new Set([
  'ENOTFOUND',
  'ENODATA',
  'ESERVFAIL',
  'ETIMEOUT',
  'ECONNREFUSED',
  'EAI_AGAIN',
  'EREFUSED',
  'EBADNAME',
])

// A name server that says no, or says nothing, means the same to a caller: there is no such target.
function noneWhenAbsent(error: unknown): [] {
  if (absent.has(String((error as { code?: unknown }).code))) return []
  throw error
}

function systemLookup(name: string): Promise<string[]> {
  return new Promise<string[]>((resolve, reject) => {
    lookupAddress(name, { all: true }, (error, found) => (error ? reject(error) : resolve(found.map(a => a.address))))
  }).catch(noneWhenAbsent)
}

const systemSrv = (name: string): Promise<SrvRecord[]> => resolveSrvRecords(name).catch(noneWhenAbsent)

/**
 * Orders SRV records: by priority, and among equals drawn by weight (RFC 2782). `random` gives numbers from 0 up to 1.
 */
export function orderSrv(records: readonly SrvRecord[], random: () => number): SrvRecord[] {
  const rest = [...records].sort((a, b) => a.priority - b.priority || a.weight - b.weight)
  const ordered: SrvRecord[] = []
  while (rest.length > 0) {
    const equals = rest.filter(record => record.priority === rest[0]!.priority)
    const total = equals.reduce((sum, record) => sum + record.weight, 0)
    let mark = random() * total
    const chosen = equals.find(record => (mark -= record.weight) < 0) ?? equals[0]!
    ordered.push(chosen)
    rest.splice(rest.indexOf(chosen), 1)
  }
  return ordered
}

const services: Record<string, string> = { udp: '_sip._udp', tcp: '_sip._tcp', tls: '_sips._tcp' }
const plain: Record<string, Protocol> = { udp: 'udp', tcp: 'tcp', tls: 'tls', ws: 'ws', wss: 'wss' }
const secured: Record<string, Protocol> = { udp: 'tls', tcp: 'tls', tls: 'tls', ws: 'wss', wss: 'wss' }

/** Port of a protocol when neither URI nor SRV names one (RFC 3261 section 19.1.2, RFC 7118). */
export function defaultPort(protocol: Protocol): number {
  if (protocol === 'ws') return 80
  if (protocol === 'wss') return 443
  return protocol === 'tls' ? 5061 : 5060
}

export function createResolve(deps: ResolveDeps = {}): Resolve {
  const { lookup = systemLookup, resolveSrv = systemSrv, now = () => performance.now(), random = Math.random } = deps
  const kept = new Map<string, { until: number; value: Promise<unknown> }>()

  // Names that strangers make up must not fill the memory, and asking twice at once is asking once.
  function once<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const found = kept.get(key)
    if (found && found.until > now()) return found.value as Promise<T>
    kept.delete(key)
    if (kept.size >= mostKept) kept.delete(kept.keys().next().value!)
    const value = ask()
    kept.set(key, { until: now() + keepMs, value })
    value.catch(() => kept.delete(key))
    return value
  }

  async function targetsOf(name: string, protocol: Protocol, port: number, serverName: string): Promise<Target[]> {
    const addresses = isIP(name) === 0 ? await once(`a ${name}`, () => lookup(name)) : [name]
    return addresses.map(address => ({ protocol, address, port, serverName }))
  }

  async function bySrv(host: string, protocol: Protocol): Promise<Target[]> {
    const name = `${services[protocol]}.${host}`
    const records = await once(`srv ${name}`, () => resolveSrv(name))
    const ordered = orderSrv(records.slice(0, 32), random)
    const targets = await Promise.all(ordered.map(record => targetsOf(record.name, protocol, record.port, host)))
    return targets.flat()
  }

  return async ({ scheme, host, port, transport }) => {
    const chosen = (scheme === 'sips' ? secured : plain)[transport ?? 'udp']
    if (chosen === undefined) return []
    // Multicast DNS names have no SRV records of this form; a port in the URI rules SRV out (section 4.2).
    const askSrv = port === undefined && isIP(host) === 0 && host.includes('.') && !host.endsWith('.local')
    if (askSrv && services[chosen] !== undefined) {
      const wanted: Protocol[] = transport === undefined && scheme === 'sip' ? ['udp', 'tcp'] : [chosen]
      for (const protocol of wanted) {
        const targets = await bySrv(host, protocol)
        if (targets.length > 0) return targets
      }
    }
    return targetsOf(host, chosen, port ?? defaultPort(chosen), host)
  }
}
