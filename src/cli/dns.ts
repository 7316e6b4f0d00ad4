import type { Command } from 'commander'
import type { Member } from '../cluster/members.ts'
import type { Config } from '../config/schema.ts'
import { dnsmasqFile, type ZoneNode, zoneFile, zoneRecords } from '../discovery/zone.ts'
import { Refusal } from '../errors.ts'
import { allAddresses, chooseAddresses } from '../network/interfaces.ts'
import { ask, NotRunning } from './ask.ts'
import type { Load } from './load.ts'
import { remark, say, sayJson } from './print.ts'

interface Options {
  format: string
  ttl: string
  json?: boolean
}

/** `vaartha dns`: the records that make phones find this server, or all nodes of its cluster, by DNS. */
export function addDns(program: Command, load: Load): void {
  program
    .command('dns')
    .description('print the DNS records by which phones find this server and the other nodes of its cluster')
    .option('-f, --format <format>', 'zone (nsd, knot, BIND) or dnsmasq', 'zone')
    .option('-t, --ttl <seconds>', 'how long addresses may be kept; what moves is found again after it', '10')
    .option('--json', 'print JSON')
    .action(async (options: Options) => {
      const { config } = load()
      const ttl = Number(options.ttl)
      if (!Number.isInteger(ttl) || ttl < 1 || ttl > 86_400)
        throw new Refusal('bad-request', '--ttl: 1 to 86400 seconds')
      if (options.format !== 'zone' && options.format !== 'dnsmasq')
        throw new Refusal('bad-request', '--format: zone or dnsmasq')
      const { domain } = config
      if (domain.endsWith('.local')) {
        remark(`${domain} is a name for mDNS, which needs no DNS server; for DNS set 'domain' to a name of your own.`)
      }
      const nodes = await nodesOf(config)
      const records = zoneRecords({ domain, nodes, ttl, trusted: config.certificates.cert !== '' })
      if (options.json) return sayJson(records)
      const serial = Math.floor(Date.now() / 1000)
      say(
        (options.format === 'zone' ? zoneFile(records, domain, nodes, serial) : dnsmasqFile(records, domain)).trimEnd(),
      )
    })
}

/** The members as the running server sees them; without it only this machine is known. All nodes have the same ports. */
async function nodesOf(config: Config): Promise<ZoneNode[]> {
  const { udp, tcp, tls } = config.sip
  const ports = { udp, tcp, tls }
  const { name, priority, address } = config.cluster
  const addresses = address === '' ? reached(config) : [address]
  const self: ZoneNode = { name: name === '' ? 'sip' : name, addresses, priority, ...ports }
  if (name === '') return [self]
  try {
    const nodes = await ask<Member[]>(config, '/api/nodes')
    const among = nodes.filter(member => member.state !== 'down' && member.roles.includes('sip') && member.sip !== '')
    return among.map(member =>
      member.node === name
        ? self
        : { name: member.node, addresses: [hostOf(member.sip)], priority: member.priority, ...ports },
    )
  } catch (error) {
    if (!(error instanceof NotRunning)) throw error
    remark('No server runs here: only this node is listed. Ask again when all nodes are up.')
    return [self]
  }
}

/** Of `sip:192.0.2.1:5060;transport=tcp`. */
const hostOf = (uri: string) => /^sip:\[?([^\];]+?)\]?(:\d+)?(;|$)/.exec(uri)?.[1] ?? ''

function reached(config: Config): string[] {
  return chooseAddresses(allAddresses(), config.network)
    .filter(found => !found.internal)
    .map(found => found.address)
}
