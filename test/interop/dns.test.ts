import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { Resolver } from 'node:dns/promises'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { dnsmasqFile, type ZoneNode, zoneFile, zoneRecords } from '../../src/discovery/zone.ts'
import { createResolve } from '../../src/sip/resolve.ts'
import { freePorts } from '../support/server.ts'

// The records that `vaartha dns` prints, served by real DNS servers on loopback and read as a phone reads them (RFC 3263).

const ports = { udp: 5060, tcp: 5060, tls: 5061 }
const domain = 'office.example'
const nodes: ZoneNode[] = [
  { name: 'b', addresses: ['127.0.0.3'], priority: 20, ...ports },
  { name: 'a', addresses: ['127.0.0.2', '::1'], priority: 10, ...ports },
]
const records = zoneRecords({ domain, nodes, ttl: 10, trusted: false })

type Start = (directory: string, port: number) => Promise<ChildProcess>

const startDnsmasq: Start = async (directory, port) => {
  const file = join(directory, 'dnsmasq.conf')
  await writeFile(file, dnsmasqFile(records, domain))
  const own = ['--listen-address=127.0.0.1', '--bind-interfaces', '--no-resolv', '--no-hosts', '--no-dhcp-interface=lo']
  const place = [`--conf-file=${file}`, `--port=${port}`, '--pid-file=', '--user=', '--group=']
  return spawn('dnsmasq', ['--keep-in-foreground', ...place, ...own], { stdio: ['ignore', 'ignore', 'pipe'] })
}

const startNsd: Start = async (directory, port) => {
  const zone = join(directory, 'office.zone')
  await writeFile(zone, zoneFile(records, domain, nodes, 1))
  const config = join(directory, 'nsd.conf')
  const places = ['pidfile', 'xfrdfile', 'zonelistfile'].map(name => `  ${name}: "${directory}/${name}"`)
  await writeFile(
    config,
    `server:
  ip-address: 127.0.0.1
  port: ${port}
  username: ""
  zonesdir: "${directory}"
  xfrdir: "${directory}"
${places.join('\n')}
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: "${domain}"
  zonefile: "office.zone"
`,
  )
  return spawn('nsd', ['-d', '-c', config], { stdio: ['ignore', 'ignore', 'pipe'] })
}

for (const [name, start] of [
  ['dnsmasq', startDnsmasq],
  ['nsd', startNsd],
] as const) {
  describe(`the records of a pair, served by ${name}`, { timeout: 30_000 }, () => {
    let directory: string
    let server: ChildProcess
    let said = ''
    const resolver = new Resolver({ timeout: 300, tries: 3 })

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'vaartha-dns-'))
      const [port] = (await freePorts(1)) as [number]
      server = await start(directory, port)
      server.stderr?.on('data', chunk => {
        said += chunk
      })
      resolver.setServers([`127.0.0.1:${port}`])
      for (;;) {
        assert.equal(server.exitCode, null, said)
        if ((await resolver.resolveSoa(domain).catch(error => error.code === 'ENODATA')) !== false) break
      }
    })
    after(async () => {
      const gone = new Promise(resolve => server.once('close', resolve))
      server.kill()
      await gone
      await rm(directory, { recursive: true, force: true })
    })

    it('answers NAPTR in the order of the transports', async () => {
      const found = await resolver.resolveNaptr(domain)
      const ordered = found.toSorted((one, other) => one.order - other.order)
      assert.deepEqual(
        ordered.map(record => [record.flags, record.service, record.replacement]),
        [
          ['s', 'SIP+D2U', `_sip._udp.${domain}`],
          ['s', 'SIP+D2T', `_sip._tcp.${domain}`],
          ['s', 'SIPS+D2T', `_sips._tcp.${domain}`],
        ],
      )
    })

    it('leads a request to the active node first, then to the standby', async () => {
      const lookup = async (host: string) => (await resolver.resolve4(host, { ttl: true })).map(found => found.address)
      const resolve = createResolve({ lookup, resolveSrv: host => resolver.resolveSrv(host) })
      const targets = await resolve({ scheme: 'sip', host: domain, port: undefined, transport: 'tcp' })
      assert.deepEqual(
        targets.map(({ protocol, address, port }) => `${protocol} ${address} ${port}`),
        ['tcp 127.0.0.2 5060', 'tcp 127.0.0.3 5060'],
      )
      assert.deepEqual(await resolver.resolve6(`a.${domain}`), ['::1'])
      const [first] = await resolver.resolve4(`a.${domain}`, { ttl: true })
      assert.ok(first!.ttl <= 10, `an address may be kept for ${first!.ttl} s`)
    })
  })
}
