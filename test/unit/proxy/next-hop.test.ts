import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseUri } from '../../../src/sip/engine/message/uri.ts'
import { createNextHop, NextHopError, planAttempts } from '../../../src/sip/engine/next-hop.ts'
import type { Flow, Target } from '../../../src/sip/engine/transport/transport.ts'
import { createFakeFlow } from '../../support/fake-flow.ts'

const udp = (address: string): Target => ({ protocol: 'udp', address, port: 5060 })
const tcp = (address: string): Target => ({ protocol: 'tcp', address, port: 5060 })

function create(options: { targets?: Target[]; listening?: string[]; resolve?: () => Promise<Target[]> } = {}) {
  const opened: string[] = []
  const { targets = [], listening = [] } = options
  const datagrams = createFakeFlow()
  const pinned = createFakeFlow({ protocol: 'ws' })
  const hop = createNextHop({
    resolve: options.resolve ?? (() => targets),
    find: target => (target.protocol === 'udp' ? datagrams : undefined),
    flowById: id => (id === pinned.id ? pinned : undefined),
    open(target) {
      opened.push(`${target.protocol}/${target.address}:${target.port}`)
      if (target.protocol === 'udp') return Promise.resolve(datagrams)
      if (!listening.includes(target.address)) return Promise.reject(new Error('refused'))
      return Promise.resolve(createFakeFlow({ protocol: target.protocol, remote: target.address }))
    },
    isOwn: host => host === '192.0.2.1',
    udpMaxBytes: 1300,
  })
  const to = (uri: string, bytes = 500, pin?: boolean): Flow | Promise<Flow> => hop.flowFor(parseUri(uri)!, bytes, pin)
  return { to, opened, datagrams, pinned, hop }
}

const code = (expected: string) => (error: unknown) => error instanceof NextHopError && error.code === expected

test('an address over UDP is had at once', () => {
  const { to, datagrams } = create()
  assert.equal(to('sip:b@192.0.2.7'), datagrams)
})

test('fl pins for an application, and means nothing in a URI of the network', async () => {
  const { to, pinned, datagrams, hop } = create()
  assert.equal(to(`sip:b@192.0.2.7;fl=${pinned.id}`, 500, true), pinned)
  assert.equal(to(`sip:b@192.0.2.7;fl=${pinned.id}`), datagrams)
  await assert.rejects(async () => to('sip:b@192.0.2.7;fl=gone', 500, true), code('flow-failed'))
  pinned.closed = true
  await assert.rejects(async () => to(`sip:b@192.0.2.7;fl=${pinned.id}`, 500, true), code('flow-failed'))
  assert.equal(hop.flow(pinned.id), undefined)
})

test('each failure is a NextHopError', async () => {
  const failing = create({ resolve: () => Promise.reject(new Error('DNS is down')) })
  const { to } = create()
  await assert.rejects(async () => to('tel:+4930123'), code('unsupported-uri-scheme'))
  await assert.rejects(async () => to('sip:b@192.0.2.7;transport=sctp'), code('unsupported-transport'))
  await assert.rejects(async () => to('sip:b@name.example;transport=sctp'), code('unsupported-transport'))
  await assert.rejects(async () => to('sip:b@192.0.2.1'), code('own-address'))
  await assert.rejects(async () => to('sip:b@name.example'), code('no-address'))
  await assert.rejects(async () => failing.to('sip:b@name.example'), code('no-address'))
  await assert.rejects(
    async () => create({ targets: [udp('192.0.2.1')] }).to('sip:b@name.example'),
    code('own-address'),
  )
  await assert.rejects(async () => to('sip:b@192.0.2.7;transport=tcp'), code('unreachable'))
})

test('the first target that can be opened is taken', async () => {
  const { to, opened } = create({ targets: [tcp('192.0.2.7'), tcp('192.0.2.8')], listening: ['192.0.2.8'] })
  assert.equal((await to('sip:b@name.example')).remote.address, '192.0.2.8')
  assert.deepEqual(opened, ['tcp/192.0.2.7:5060', 'tcp/192.0.2.8:5060'])
})

test('a large request tries TCP first, falls back to UDP, and remembers who refused', async () => {
  const { to, opened, datagrams } = create({ listening: ['192.0.2.8'] })
  assert.equal((await to('sip:b@192.0.2.8', 2000)).protocol, 'tcp')
  assert.equal(await to('sip:b@192.0.2.7', 2000), datagrams)
  assert.equal(await to('sip:b@192.0.2.7', 2000), datagrams)
  assert.equal(opened.filter(target => target === 'tcp/192.0.2.7:5060').length, 1)
  assert.equal(to('sip:b@192.0.2.8;transport=udp', 2000), datagrams)
})

test('the order of attempts', () => {
  const names = (targets: Target[]) => planAttempts(targets, 2000, 1300, true).map(t => `${t.protocol} ${t.address}`)
  assert.deepEqual(names([udp('a'), udp('b')]), ['tcp a', 'udp a', 'tcp b', 'udp b'])
  assert.deepEqual(names([udp('a'), tcp('b')]), ['tcp b', 'udp a'])
})
