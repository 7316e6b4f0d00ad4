import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startBaresip } from '../../support/baresip.ts'
import { theLab } from '../../support/lab.ts'
import { startPair, until } from '../../support/pair.ts'
import { freePorts } from '../../support/server.ts'

// A pair as DNS shows it: a real baresip knows a domain and a DNS server, and nothing else. That DNS server is a dnsmasq
// with what `vaartha dns` has printed.

const domain = 'office.example'
const mostMs = 1000

test('a baresip finds the active node by SRV, and the standby within a second when that one is killed', {
  timeout: 90_000,
}, async t => {
  const [sip, tls, dns] = (await freePorts(3)) as [number, number, number]
  const ports = { VAARTHA_SIP_UDP: String(sip), VAARTHA_SIP_TCP: String(sip), VAARTHA_SIP_TLS: String(tls) }
  const { hosts } = await theLab()
  const pair = await startPair({ places: hosts, settings: { ...ports, VAARTHA_DOMAIN: domain } })
  t.after(() => pair.close())
  const password = await pair.addUser('mum')
  const { stdout, code } = await pair.a.cli('dns', '--format', 'dnsmasq')
  assert.equal(code, 0)
  const dnsmasq = await serve(stdout, dns)
  t.after(() => dnsmasq.stop())

  const phone = await startBaresip({
    ...{ user: 'mum', password, domain, transport: 'tcp', regint: 60, address: hosts.phones.address },
    server: '',
    dns: `127.0.0.1:${dns}`,
  })
  t.after(() => phone.kill())
  const nodeOf = async () => {
    const { bindings } = await pair.b.api<{ bindings: { node: string; flow: string }[] }>('/api/registrations')
    return bindings.filter(({ flow }) => flow !== '').map(({ node }) => node[0])
  }
  assert.deepEqual(await nodeOf(), ['a'])

  await pair.a.kill()
  const since = performance.now()
  // It takes its account anew, and so registers now.
  await phone.command('uadel', `sip:mum@${domain}`)
  await phone.command('uanew', `<sip:mum@${domain};transport=tcp>;auth_pass=${password};regint=60`)
  await until(async () => (await nodeOf()).includes('b'), 20_000)
  const ms = Math.round(performance.now() - since)
  t.diagnostic(`registered at the standby ${ms} ms after it began to`)
  assert.ok(ms <= mostMs, `${ms} ms`)
})

async function serve(records: string, port: number): Promise<{ stop(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'vaartha-dns-'))
  const file = join(folder, 'dnsmasq.conf')
  writeFileSync(file, records)
  const own = ['--listen-address=127.0.0.1', '--bind-interfaces', '--no-resolv', '--no-hosts', '--no-dhcp-interface=lo']
  const place = [`--conf-file=${file}`, `--port=${port}`, '--pid-file=', '--user=', '--group=']
  const child: ChildProcess = spawn('dnsmasq', ['--keep-in-foreground', '--log-facility=-', ...place, ...own], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr!.on('data', chunk => {
    said += chunk
  })
  await until(() => {
    assert.equal(child.exitCode, null, said)
    return said.includes('started')
  }, 10_000)
  return {
    async stop() {
      const gone = once(child, 'exit')
      child.kill()
      await gone
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
