import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Avahi, startAvahi } from '../support/avahi.ts'
import { createNetwork, type Host, type Network, type Running, whyNoNamespaces } from '../support/netns.ts'

// Our announcements as avahi sees them, between hosts of their own. Where namespaces cannot be made the tests are
// skipped and say why; in CI they fail instead.
const why = await whyNoNamespaces()
const skip = why !== undefined && !process.env['CI'] ? why : false

const services = [
  { type: 'sip', protocol: 'udp', port: 5060, txt: { node: 'one' } },
  { type: 'vaartha', protocol: 'tcp', port: 8080 },
]

function announcer(host: Host, nodeId: string): Running {
  const settings = JSON.stringify({ name: 'vaartha', nodeId, services })
  return host.spawn(process.execPath, [new URL('../support/announcer.ts', import.meta.url).pathname, settings])
}

/** A node that shares the name with others; it is its turn when `ours`, and SIGUSR2 changes that. */
function sharer(host: Host, nodeId: string, ours: boolean): Running {
  const settings = JSON.stringify({ name: 'home', nodeId, ours })
  return host.spawn(process.execPath, [new URL('../support/sharer.ts', import.meta.url).pathname, settings])
}

/** Ends an announcer, which has to have said goodbye: what it leaves in caches spoils the next test. */
async function leave(program: Running): Promise<void> {
  await program.stop()
  assert.match(program.output(), /closed/)
}

async function resolve(avahi: Avahi, name: string, family: '-4' | '-6' = '-4'): Promise<string | undefined> {
  return (await avahi.run('avahi-resolve', family, '-n', name)).trim().split(/\s+/)[1]
}

/** Asks again until the answer is `wanted`, for 15 s: a time limit of the test alone would leave the loop running. */
async function until<T>(wanted: T, ask: () => Promise<T>): Promise<void> {
  const late = performance.now() + 15_000
  let answer = await ask()
  while (answer !== wanted) {
    assert.ok(performance.now() < late, `${answer} has not become ${wanted}`)
    answer = await ask()
  }
}

describe('discovery, seen by avahi', { skip, timeout: 50_000 }, () => {
  let network: Network
  let box: Host
  let second: Host
  let left: Avahi
  let right: Avahi

  before(async () => {
    if (why) assert.fail(why)
    network = await createNetwork(2)
    box = await network.addHost('box', [0, 1])
    second = await network.addHost('second')
    const [a, b] = [await network.addHost('left', [0]), await network.addHost('right', [1])]
    await box.addAddress('eth0', '10.1.0.1/24')
    await box.addAddress('eth0', 'fd01::1/64')
    await box.addAddress('eth1', '10.2.0.1/24')
    await second.addAddress('eth0', '10.1.0.2/24')
    await second.addAddress('eth0', 'fd01::2/64')
    await a.addAddress('eth0', '10.1.0.3/24')
    await a.addAddress('eth0', 'fd01::3/64')
    await b.addAddress('eth0', '10.2.0.3/24')
    ;[left, right] = await Promise.all([startAvahi(a, 'left'), startAvahi(b, 'right')])
  })
  after(async () => {
    await left?.close()
    await right?.close()
    await network?.close()
  })

  it('gives each interface its own address, services with TXT, follows a change, says goodbye', async () => {
    const program = announcer(box, 'one')
    await program.waitFor(/ready vaartha\.local/)
    assert.equal(await resolve(left, 'vaartha.local'), '10.1.0.1')
    assert.equal(await resolve(left, 'vaartha.local', '-6'), 'fd01::1')
    assert.equal(await resolve(right, 'vaartha.local'), '10.2.0.1')

    const found = await left.run('avahi-browse', '-rptk', '_sip._udp')
    assert.match(found, /=;eth0;IPv4;vaartha-[0-9a-f]{6};_sip._udp;local;vaartha.local;10\.1\.0\.1;5060;"node=one"/)
    assert.doesNotMatch(found, /10\.2\.0\.1/)
    assert.match(await right.run('avahi-browse', '-rptk', '_vaartha._tcp'), /vaartha.local;10\.2\.0\.1;8080;/)

    await box.removeAddress('eth1', '10.2.0.1/24')
    await box.addAddress('eth1', '10.2.0.9/24')
    await until('10.2.0.9', () => resolve(right, 'vaartha.local').then(address => address ?? ''))
    assert.equal(await resolve(left, 'vaartha.local'), '10.1.0.1')

    await leave(program)
    await until(false, async () => /^=/m.test(await left.run('avahi-browse', '-rptk', '_sip._udp')))
  })

  it('calls the second server of one name vaartha-2', async () => {
    const one = announcer(box, 'one')
    await one.waitFor(/ready vaartha\.local/)
    const two = announcer(second, 'two')
    await two.waitFor(/ready vaartha-2\.local/)
    assert.match(two.output(), /nameConflict {"name":"vaartha.local","next":"vaartha-2.local"}/)
    assert.equal(await resolve(left, 'vaartha.local'), '10.1.0.1')
    assert.equal(await resolve(left, 'vaartha-2.local'), '10.1.0.2')
    await Promise.all([leave(one), leave(two)])
  })

  it('settles two servers that start at the same time', async () => {
    const both = [announcer(box, 'one'), announcer(second, 'two')]
    const names = await Promise.all(both.map(async p => (await p.waitFor(/ready (\S+)/))[1]))
    assert.deepEqual(names.sort(), ['vaartha-2.local', 'vaartha.local'])
    await Promise.all(both.map(leave))
  })

  it('leaves the name to a foreign host that has it', async () => {
    await left.start(/Established/, 'avahi-publish', '-a', '-R', 'vaartha.local', '10.1.0.3')
    const program = announcer(second, 'two')
    await program.waitFor(/ready vaartha-2\.local/)
    // The case before may have given this name to the other host; its goodbye takes a second (RFC 6762 section 10.1).
    await until('10.1.0.2', () => resolve(left, 'vaartha-2.local'))
    await leave(program)
  })

  it('works beside an avahi on the same host', async () => {
    const beside = await startAvahi(second, 'second')
    const program = announcer(second, 'two')
    await program.waitFor(/ready (\S+)/)
    const name = program.output().match(/ready (\S+)/)![1]!
    await until('10.1.0.2', () => resolve(left, name))
    await until('10.1.0.2', () => resolve(beside, name))
    await until('10.1.0.2', () => resolve(left, 'second.local'))
    await leave(program)
    await beside.close()
  })

  it('gives a name that nodes share to the next one, within two seconds of the death of the one that had it', async () => {
    const one = sharer(box, 'one', true)
    await one.waitFor(/answers to the shared name/)
    const two = sharer(second, 'two', false)
    await two.waitFor(/running/)
    await until('10.1.0.1', () => resolve(left, 'home.local').then(address => address ?? ''))

    await one.stop('SIGKILL')
    const began = performance.now()
    process.kill(two.pid, 'SIGUSR2')
    await until('10.1.0.2', () => resolve(left, 'home.local').then(address => address ?? ''))
    assert.ok(performance.now() - began < 2000, `${Math.round(performance.now() - began)} ms`)

    // The first one comes back and wants it while the second still has it: nobody becomes home-2.
    const again = sharer(box, 'one', true)
    await again.waitFor(/still held by another node/)
    assert.equal(await resolve(left, 'home.local'), '10.1.0.2')
    process.kill(two.pid, 'SIGUSR2')
    await until('10.1.0.1', () => resolve(left, 'home.local').then(address => address ?? ''))
    assert.doesNotMatch(again.output() + two.output(), /home-2/)
    await Promise.all([leave(again), leave(two)])
  })
})
