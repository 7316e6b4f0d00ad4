import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { createSourceChoice } from '../../../src/sip/engine/transport/route.ts'
import { connectPhone, localAddress, optionsRequest, startTransport } from '../../support/transport.ts'

test('an address that comes is listened on; one that goes takes its connections with it, and no others', async () => {
  const s = await startTransport()
  const stays = await connectPhone('tcp', s.port('tcp'))
  s.move(['127.0.0.1', '127.0.0.2'])
  await s.until(() => s.layer.points().length === 10)
  const goes = await connectPhone('tcp', s.port('tcp', '127.0.0.2'), '127.0.0.2')
  const datagrams = await connectPhone('udp', s.port('udp', '127.0.0.2'), '127.0.0.2')
  datagrams.send(optionsRequest('u'))
  await s.until(() => s.arrived.length === 1)
  const { flow } = s.arrived[0]!
  s.move(['127.0.0.1'])
  await goes.closed
  await s.until(() => s.layer.points().length === 5)
  assert.ok(flow.closed)
  assert.equal(s.layer.flowById(flow.id), undefined)
  stays.send(optionsRequest('still here'))
  await s.until(() => s.arrived.length === 2)
  datagrams.vanish()
  await s.layer.close()
})

test('a port in use is named, with its protocol, address and setting, and nothing stays open', async () => {
  for (const protocol of ['udp', 'tcp'] as const) {
    const other = protocol === 'udp' ? createSocket('udp4') : createTcpServer()
    if ('bind' in other) other.bind(0, '127.0.0.1')
    else other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const config = { udp: 0, tcp: 0, tls: 0, ws: 0, wss: 0, [protocol]: port }
    const start = startTransport({ config, deps: { ports: undefined as never } })
    const message = `${protocol.toUpperCase()} port ${port} on 127.0.0.1 is in use by another program: stop that, or choose another port with sip.${protocol}`
    await assert.rejects(start, { code: 'bad-config', message })
    await new Promise<void>(resolve => void other.close(() => resolve()))
  }
})

test('an HTTP server hands WebSockets over; its port is ours for WebSockets only', async () => {
  const s = await startTransport({ config: { ws: 0 }, deps: { publicAddress: '203.0.113.5' } })
  const web = createServer().on('upgrade', (request, socket, head) => {
    s.layer.acceptUpgrade(request, socket, head, false)
  })
  web.listen(0, '::')
  await once(web, 'listening')
  const { port } = web.address() as AddressInfo
  const phone = await connectPhone('ws', port)
  phone.send(optionsRequest('w'))
  await s.until(() => s.arrived.length === 1)
  const { flow } = s.arrived[0]!
  assert.deepEqual([flow.remote.address, flow.advertised], ['127.0.0.1', { host: '127.0.0.1', port }])
  assert.ok(s.layer.isOwn('127.0.0.1', port, 'ws') && s.layer.isOwn('127.0.0.1', port))
  assert.ok(s.layer.isOwn('203.0.113.5', port, 'ws'))
  for (const protocol of ['udp', 'tcp', 'tls', 'wss'] as const) assert.ok(!s.layer.isOwn('127.0.0.1', port, protocol))
  assert.ok(!s.layer.isOwn('192.0.2.1', port, 'ws'))
  const bare = new WebSocket(`ws://127.0.0.1:${port}/`, 'other')
  assert.match(String((await once(bare, 'error'))[0]), /400/)
  await s.layer.close()
  web.close()
})

test('isOwn knows listeners by address, port and protocol, and the public address', async () => {
  const s = await startTransport({ addresses: ['127.0.0.1', '::1'], deps: { publicAddress: '203.0.113.5' } })
  const udp = s.port('udp')
  assert.ok(s.layer.isOwn('127.0.0.1', udp) && s.layer.isOwn('127.0.0.1', udp, 'udp'))
  assert.ok(s.layer.isOwn('203.0.113.5', udp, 'udp'))
  assert.ok(s.layer.isOwn('[::1]', s.port('tls', '::1'), 'tls'))
  assert.ok(!s.layer.isOwn('127.0.0.1', udp, 'wss'))
  assert.ok(!s.layer.isOwn('192.0.2.9', udp) && !s.layer.isOwn('', udp))
  await s.layer.close()
})

test('peers outside the LAN are told the public address, those inside our own', async () => {
  const s = await startTransport({ deps: { publicAddress: '203.0.113.5' } })
  const port = s.port('udp')
  const to = (address: string) => s.layer.find({ protocol: 'udp', address, port: 5060 })!.advertised
  assert.deepEqual(to('8.8.8.8'), { host: '203.0.113.5', port })
  assert.deepEqual(to('127.0.0.9'), { host: '127.0.0.1', port })
  await s.layer.close()
})

test('the source is the target itself, else the nearest net, else the default route, else any that is not loopback', () => {
  const own = [
    localAddress('127.0.0.1'),
    { ...localAddress('10.0.0.1'), prefix: 8, internal: false },
    { ...localAddress('10.1.0.1'), prefix: 16, internal: false },
    { ...localAddress('192.168.1.2'), prefix: 24, internal: false },
  ]
  const choose = createSourceChoice(own, ['192.168.1.2'])
  const cases = { '10.1.2.3': '10.1.0.1', '10.2.2.3': '10.0.0.1', '8.8.8.8': '192.168.1.2', '10.0.0.1': '10.0.0.1' }
  for (const [target, source] of Object.entries(cases)) assert.equal(choose(target)?.address, source)
  assert.equal(createSourceChoice(own, [])('8.8.8.8')?.address, '10.0.0.1')
  assert.equal(choose('2001:db8::1'), undefined)
})
