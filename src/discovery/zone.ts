// Pure: what a DNS server has to say of the nodes of a domain, for phones that find their server by RFC 3263.

export interface ZoneNode {
  /** One label, for example `a`: the host is `a.<domain>`. */
  name: string
  /** IPv4 and IPv6 addresses. */
  addresses: readonly string[]
  /** Of RFC 2782: the lowest is asked first. */
  priority: number
  /** SIP ports; 0 is off. */
  udp: number
  tcp: number
  tls: number
}

export interface ZoneRecord {
  /** Without the final dot. */
  name: string
  type: 'A' | 'AAAA' | 'SRV' | 'NAPTR'
  /** Seconds. */
  ttl: number
  /** As in a zone file; names in it end with a dot. */
  data: string
}

export interface ZoneOptions {
  domain: string
  nodes: readonly ZoneNode[]
  /** Of addresses: how long phones may ask for a server at a place that it has left. Service records live ten times as long. */
  ttl: number
  /** Phones trust the certificate by themselves: TLS is named first. */
  trusted: boolean
}

const services = [
  { transport: 'tls', service: 'SIPS+D2T', owner: '_sips._tcp' },
  { transport: 'udp', service: 'SIP+D2U', owner: '_sip._udp' },
  { transport: 'tcp', service: 'SIP+D2T', owner: '_sip._tcp' },
] as const

/**
 * NAPTR, SRV, A and AAAA records (RFC 3263 section 4, RFC 2782, RFC 3403). A phone takes the service with the lowest NAPTR
 * order, so TLS comes last unless phones can trust its certificate: a local authority is trusted by nobody by itself.
 */
export function zoneRecords({ domain, nodes, ttl, trusted }: ZoneOptions): ZoneRecord[] {
  const offered = services.filter(({ transport }) => nodes.some(node => node[transport] !== 0))
  const ordered = trusted ? offered : [...offered].sort((a, b) => rank(a.transport) - rank(b.transport))
  const naptr = ordered.map(({ service, owner }, at) => ({
    name: domain,
    type: 'NAPTR' as const,
    ttl: ttl * 10,
    data: `${(at + 1) * 10} 50 "s" "${service}" "" ${owner}.${domain}.`,
  }))
  const srv = ordered.flatMap(({ transport, owner }) =>
    byPriority(nodes)
      .filter(node => node[transport] !== 0)
      .map(node => ({
        name: `${owner}.${domain}`,
        type: 'SRV' as const,
        ttl: ttl * 10,
        data: `${node.priority} 1 ${node[transport]} ${node.name}.${domain}.`,
      })),
  )
  const addressesOf = (name: string, node: ZoneNode): ZoneRecord[] =>
    node.addresses.map(data => ({ name, type: data.includes(':') ? 'AAAA' : 'A', ttl, data }))
  const hosts = byPriority(nodes).flatMap(node => addressesOf(`${node.name}.${domain}`, node))
  // Browsers and phones that know no SRV ask for the domain itself; they try one address after the other.
  const apex = byPriority(nodes).flatMap(node => addressesOf(domain, node))
  return [...naptr, ...srv, ...hosts, ...apex]
}

const rank = (transport: 'udp' | 'tcp' | 'tls') => (transport === 'tls' ? 1 : 0)
const byPriority = (nodes: readonly ZoneNode[]) => [...nodes].sort((a, b) => a.priority - b.priority)

/** A whole zone file, as nsd, knot and BIND read it. `serial` must grow with each change. */
export function zoneFile(
  records: readonly ZoneRecord[],
  domain: string,
  nodes: readonly ZoneNode[],
  serial: number,
): string {
  const first = byPriority(nodes)[0]?.name ?? 'ns'
  const width = Math.max(...records.map(record => record.name.length)) + 2
  const lines = records.map(({ name, type, ttl, data }) => `${`${name}.`.padEnd(width)}${ttl}\tIN\t${type}\t${data}`)
  return [
    `$ORIGIN ${domain}.`,
    `@ 3600 IN SOA ${first}.${domain}. hostmaster.${domain}. ${serial} 3600 600 86400 10`,
    `@ 3600 IN NS ${first}.${domain}.`,
    ...lines,
    '',
  ].join('\n')
}

/** The same for dnsmasq's configuration. Its TTL is one for all local records. */
export function dnsmasqFile(records: readonly ZoneRecord[], domain: string): string {
  const ttl = Math.min(...records.map(record => record.ttl))
  const lines = records.map(({ name, type, data }) => {
    if (type === 'A' || type === 'AAAA') return `host-record=${name},${data}`
    if (type === 'SRV') {
      const [priority, weight, port, target = ''] = data.split(' ')
      return `srv-host=${name},${target.slice(0, -1)},${port},${priority},${weight}`
    }
    const [order, preference, flags = '', service = '', , replacement = ''] = data.split(' ')
    const bare = (text: string) => text.replaceAll('"', '')
    return `naptr-record=${name},${order},${preference},${bare(flags)},${bare(service)},,${replacement.slice(0, -1)}`
  })
  return [`local=/${domain}/`, `local-ttl=${ttl}`, ...lines, ''].join('\n')
}
