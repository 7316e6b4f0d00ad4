import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import multicastDns from 'multicast-dns'
import { type Lab, theLab } from '../../support/lab.ts'
import { createPhone } from '../../support/phone.ts'
import { startVaartha, type TestServer } from '../../support/server.ts'
import { createUdpPeer } from '../../support/sip-peer.ts'

// A server moves to a new address while it runs: who knows it by its name is told at once, and registers there.

const moved = '10.9.0.77'
let lab: Lab
let server: TestServer
let password: string

before(async () => {
  lab = await theLab()
  const { a } = lab.hosts
  server = await startVaartha({ place: a, listen: [], settings: { VAARTHA_DISCOVERY_ENABLED: 'true' } })
  password = await server.addUser('alice')
})
after(() => server?.close())

/** Registers at that address, and leaves nothing behind. */
async function register(address: string): Promise<void> {
  const peer = await createUdpPeer(server.ports.sip, undefined, { own: lab.hosts.phones.address, server: address })
  try {
    const alice = createPhone({ peer, user: 'alice', domain: server.domain, password })
    for (const expires of [600, 0]) assert.equal((await alice.register(expires, 2000)).status, 200)
  } finally {
    peer.close()
  }
}

/** What a phone has to know the name by: each answer with the cache-flush bit (RFC 6762 section 10.2) replaces the last. */
function createResolver() {
  const socket = multicastDns({ interface: lab.hosts.phones.address, bind: '0.0.0.0' })
  let known = ''
  const waiting = new Set<() => void>()
  socket.on('response', ({ answers, additionals }) => {
    for (const record of [...(answers ?? []), ...(additionals ?? [])]) {
      if (record.type !== 'A' || record.name !== 'vaartha.local' || record.ttl === 0) continue
      known = record.data
      for (const look of waiting) look()
    }
  })
  return {
    close: () => socket.destroy(),
    ask: () => socket.query('vaartha.local', 'A'),
    /** Resolves when the name is that of `address`. */
    isAt: (address: string, ms: number) =>
      new Promise<void>((done, failed) => {
        const end = (settle: () => void) => {
          waiting.delete(look)
          clearTimeout(timer)
          settle()
        }
        const look = () => known === address && end(done)
        const timer = setTimeout(() => end(() => failed(new Error(`vaartha.local is ${known}, not ${address}`))), ms)
        waiting.add(look)
        look()
      }),
  }
}

test('a server that gets a new address is found and takes registrations there within ten seconds', async t => {
  const { a } = lab.hosts
  const resolver = createResolver()
  t.after(resolver.close)
  // It looks first whether nobody else has the name.
  const asking = setInterval(resolver.ask, 500)
  await resolver.isAt(a.address, 20_000).finally(() => clearInterval(asking))
  await register(a.address)
  const began = performance.now()
  await a.must('ip', 'address', 'delete', `${a.address}/24`, 'dev', 'eth0')
  await a.must('ip', 'address', 'add', `${moved}/24`, 'dev', 'eth0')
  await a.must('ip', 'route', 'add', 'default', 'dev', 'eth0')
  // Nobody asks: the server tells it by itself.
  await resolver.isAt(moved, 10_000)
  const told = performance.now() - began
  for (;;) {
    try {
      await register(moved)
      break
    } catch (error) {
      if (performance.now() - began > 10_000) throw error
    }
  }
  const registered = performance.now() - began
  t.diagnostic(`told after ${Math.round(told)} ms, registered after ${Math.round(registered)} ms`)
  assert.ok(registered < 10_000)
})
