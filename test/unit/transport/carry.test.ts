import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { createEvents } from '../../../src/events.ts'
import { createSilentLog } from '../../../src/log.ts'
import type { LocalAddress } from '../../../src/network/interfaces.ts'
import type { SipMessage } from '../../../src/sip/engine/message/message.ts'
import { createTransportLayer } from '../../../src/sip/engine/transport/layer.ts'
import type { Flow } from '../../../src/sip/engine/transport/transport.ts'

const limits = { messageBytes: 65535, headerBytes: 8192, headers: 128, values: 64, uriBytes: 2048, parameters: 64 }
const connections = { most: 100, mostPerAddress: 3, idleSeconds: 60, connectSeconds: 2 }

function local(address: string): LocalAddress {
  const family = address.includes(':') ? 6 : 4
  return { interface: 'lo', address, family, netmask: '', prefix: family === 6 ? 128 : 8, internal: true, scope: 0 }
}

function options(callId: string): string {
  return [
    'OPTIONS sip:vaartha.local SIP/2.0',
    'Via: SIP/2.0/UDP phone.invalid:5060;branch=z9hG4bKa;rport',
    'From: <sip:a@vaartha.local>;tag=1',
    'To: <sip:vaartha.local>',
    `Call-ID: ${callId}`,
    'CSeq: 1 OPTIONS',
    'Max-Forwards: 70',
    'Content-Length: 0',
    '',
    '',
  ].join('\r\n')
}

async function start(address: string) {
  const arrived: { message: SipMessage; flow: Flow }[] = []
  const waiting: (() => void)[] = []
  const wake = () => waiting.splice(0).forEach(done => void done())
  let malformed = 0
  const layer = createTransportLayer({
    config: { udp: 1, tcp: 1, tls: 0, ws: 1, wss: 0, limits, connections },
    addresses: { current: () => [local(address)], onChange: () => () => {} },
    allowed: () => true,
    user: {
      onMessage: (message, flow) => {
        arrived.push({ message, flow })
        wake()
      },
      onMalformed: () => {
        malformed++
        wake()
      },
      onFlowClosed: wake,
    },
    events: createEvents(),
    log: createSilentLog(),
    ports: 'ephemeral',
  })
  await layer.listen()
  const until = async (fact: () => boolean) => {
    while (!fact()) await new Promise<void>(resolve => waiting.push(resolve))
  }
  const port = (protocol: string) => layer.points().find(p => p.protocol === protocol)!.port
  return { layer, arrived, until, port, malformed: () => malformed }
}

for (const address of ['127.0.0.1', '::1']) {
  test(`udp ${address}: in with its source recorded, out again, by id`, async () => {
    const s = await start(address)
    const phone = createSocket(address === '::1' ? 'udp6' : 'udp4')
    phone.send(options('u1'), s.port('udp'), address)
    await s.until(() => s.arrived.length === 1)
    const { message, flow } = s.arrived[0]!
    assert.equal(message.via.params.get('received'), address)
    assert.equal(message.via.params.get('rport'), String(phone.address().port))
    assert.equal(s.layer.flowById(flow.id)?.remote.port, phone.address().port)
    const got = once(phone, 'message')
    flow.send(Buffer.from(options('u2')))
    assert.match(String((await got)[0]), /Call-ID: u2/)
    phone.close()
    await s.layer.close()
  })

  test(`tcp ${address}: split, joined, ping, reuse, close`, async () => {
    const s = await start(address)
    const phone = connect(s.port('tcp'), address)
    await once(phone, 'connect')
    const both = options('t1') + options('t2')
    phone.write(both.slice(0, 50))
    phone.write(both.slice(50))
    await s.until(() => s.arrived.length === 2)
    const { flow } = s.arrived[0]!
    phone.write('\r\n\r\n')
    assert.equal(String((await once(phone, 'data'))[0]), '\r\n')
    assert.equal(s.layer.find({ protocol: 'tcp', ...flow.remote }), flow)
    phone.resetAndDestroy()
    await s.until(() => flow.closed && s.layer.stats().flows === 0)
    const error = await new Promise<Error>(resolve => flow.send(Buffer.from('x'), resolve))
    assert.match(error.message, /closed/)
    await s.layer.close()
  })

  test(`ws ${address}: sub-protocol, message, keep-alive, answer`, async () => {
    const s = await start(address)
    const url = `ws://${address === '::1' ? '[::1]' : address}:${s.port('ws')}/`
    const bare = new WebSocket(url)
    const [refusal] = await once(bare, 'error')
    assert.match(String(refusal), /400/)
    const phone = new WebSocket(url, 'sip')
    await once(phone, 'open')
    phone.send(options('w1'))
    await s.until(() => s.arrived.length === 1)
    phone.send('\r\n\r\n')
    assert.equal(String((await once(phone, 'message'))[0]), '\r\n')
    s.arrived[0]!.flow.send(Buffer.from(options('w2')))
    assert.match(String((await once(phone, 'message'))[0]), /Call-ID: w2/)
    phone.close()
    await s.until(() => s.layer.stats().flows === 0)
    await s.layer.close()
  })
}

test('one server dials another over tcp, and a second open uses the same connection', async () => {
  const a = await start('127.0.0.1')
  const b = await start('127.0.0.1')
  const target = { protocol: 'tcp' as const, address: '127.0.0.1', port: b.port('tcp') }
  const [one, two] = await Promise.all([a.layer.open(target), a.layer.open(target)])
  assert.equal(one, two)
  assert.equal(one.advertised.port, a.port('tcp'))
  one.send(Buffer.from(options('d1')))
  await b.until(() => b.arrived.length === 1)
  await a.layer.close()
  await b.layer.close()
  await assert.rejects(a.layer.open(target), /off/)
})

test('garbage on a stream is reported and closes it', async () => {
  const s = await start('127.0.0.1')
  const phone = connect(s.port('tcp'), '127.0.0.1')
  phone.write('no sip at all\r\n\r\n')
  await once(phone.resume(), 'close')
  assert.equal(s.malformed(), 1)
  await s.layer.close()
})

test('connections above the limit of one address are closed at the accept', async () => {
  const s = await start('127.0.0.1')
  const phones = Array.from({ length: 3 }, () => connect(s.port('tcp'), '127.0.0.1'))
  await Promise.all(phones.map(phone => once(phone, 'connect')))
  const fourth = connect(s.port('tcp'), '127.0.0.1')
  await once(fourth.on('error', () => {}).resume(), 'close')
  assert.equal(s.layer.stats().dropped, 1)
  await s.layer.close()
})
