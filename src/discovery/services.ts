import { Service } from 'bonjour-service'
import { type OwnRecord, ownRecord } from './records.ts'

/** One service to announce: `{ type: 'sip', protocol: 'udp', port: 5060, txt: {} }` is `_sip._udp`. */
export interface ServiceInfo {
  type: string
  protocol: 'udp' | 'tcp'
  port: number
  txt?: Readonly<Record<string, string>>
  subtypes?: readonly string[]
  /** Of several nodes the lowest is asked first (RFC 2782). */
  priority?: number
}

// One key=value of a TXT record holds at most 255 bytes, and a TXT record at least one string (RFC 6763 section 6.1).
function texts(data: unknown): Buffer[] {
  const strings = (data as Buffer[]).map(text => text.subarray(0, 255))
  return strings.length > 0 ? strings : [Buffer.alloc(0)]
}

// bonjour-service knows no other priority than 0.
function withPriority({ type, data }: { type: string; data: unknown }, priority: number): unknown {
  return type === 'SRV' ? { ...(data as object), priority } : data
}

/**
 * The PTR, SRV and TXT records of one service (RFC 6763), as bonjour-service makes them. Its address records are left
 * out: it lists the addresses of every interface, while each interface has to tell its own only. Sending is left to the
 * responder, which probes, sets the cache-flush bit and answers by unicast where that is asked for.
 */
export function serviceRecords(info: ServiceInfo, instance: string, host: string): OwnRecord[] {
  const nothing = () => {}
  const service = new Service(
    {
      name: instance,
      type: info.type,
      protocol: info.protocol,
      port: info.port,
      host,
      txt: { ...info.txt },
      subtypes: [...(info.subtypes ?? [])],
      disableIPv6: true,
    },
    nothing,
    nothing,
  )
  return service
    .records()
    .filter(record => record.type !== 'A' && record.type !== 'AAAA')
    .map(record => {
      const unique = record.type === 'SRV' || record.type === 'TXT'
      const data = record.type === 'TXT' ? texts(record.data) : withPriority(record, info.priority ?? 0)
      return ownRecord({ name: record.name, type: record.type, ttl: record.ttl, data }, { unique, needs: service.fqdn })
    })
}
