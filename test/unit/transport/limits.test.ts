import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { connectPhone, optionsRequest, startTransport } from '../../support/transport.ts'

for (const protocol of ['tcp', 'tls', 'ws', 'wss'] as const) {
  test(`${protocol}: connections above the limit of one address are refused, and room comes back`, async () => {
    const s = await startTransport({ connections: { mostPerAddress: 2 } })
    const phones = [await connectPhone(protocol, s.port(protocol)), await connectPhone(protocol, s.port(protocol))]
    const third = connect(s.port(protocol), '127.0.0.1').on('error', () => {})
    await once(third.resume(), 'close')
    assert.equal(s.layer.stats().dropped, 1)
    phones[0]!.vanish()
    await s.until(() => s.layer.stats().flows === 1)
    // The socket is counted off when it has closed, which may be a moment after its flow.
    await new Promise(setImmediate)
    const next = await connectPhone(protocol, s.port(protocol))
    next.send(optionsRequest('next'))
    await s.until(() => s.arrived.length === 1)
    await s.layer.close()
  })
}

test('connections above the limit of all are refused, dialled ones too', async () => {
  const s = await startTransport({ connections: { most: 1 } })
  await connectPhone('tcp', s.port('tcp'))
  const second = connect(s.port('tls'), '127.0.0.1').on('error', () => {})
  await once(second.resume(), 'close')
  const target = { protocol: 'tcp' as const, address: '127.0.0.1', port: s.port('tcp') }
  await assert.rejects(s.layer.open(target), /too many connections/)
  await s.layer.close()
})

test('a silent connection is closed after idleSeconds; a WebSocket that answers pings is not', async () => {
  const s = await startTransport({ connections: { idleSeconds: 0.3 } })
  const phone = await connectPhone('tcp', s.port('tcp'))
  const web = new WebSocket(`ws://127.0.0.1:${s.port('ws')}/`, 'sip')
  let pings = 0
  web.on('ping', () => pings++)
  await once(web, 'open')
  await phone.closed
  await s.until(() => pings >= 3)
  assert.equal(web.readyState, WebSocket.OPEN)
  assert.deepEqual(
    s.closed.map(flow => flow.protocol),
    ['tcp'],
  )
  await s.layer.close()
})

for (const protocol of ['tcp', 'ws'] as const) {
  test(`${protocol}: a peer that does not read is given up when too much waits for it`, async () => {
    const s = await startTransport()
    const phone = connect(s.port(protocol), '127.0.0.1').on('error', () => {})
    if (protocol === 'ws') {
      phone.write(
        'GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
          'Sec-WebSocket-Key: dGVzdHRlc3R0ZXN0dGVzdA==\r\nSec-WebSocket-Protocol: sip\r\n\r\n',
      )
    }
    await s.until(() => s.layer.stats().flows === 1)
    const flow = s.layer.find({ protocol, address: '127.0.0.1', port: phone.localPort! })!
    const failures: Error[] = []
    const bytes = Buffer.from(optionsRequest('flood', 'x'.repeat(60_000)))
    for (let sent = 0; sent < 1000 && !flow.closed; sent++) flow.send(bytes, error => failures.push(error))
    assert.ok(flow.closed)
    await s.until(() => failures.some(error => /does not read/.test(error.message)) && s.closed.includes(flow))
    phone.destroy()
    await s.layer.close()
  })
}

test('who may not talk to us is dropped over udp and closed over all others, and asked about once', async () => {
  let asked = 0
  const allowed = () => {
    asked++
    return false
  }
  const s = await startTransport({ deps: { allowed } })
  const phone = await connectPhone('udp', s.port('udp'))
  for (let i = 0; i < 3; i++) phone.send(optionsRequest('no'))
  await s.until(() => s.layer.stats().dropped === 3)
  for (const protocol of ['tcp', 'tls', 'ws', 'wss'] as const) {
    const socket = connect(s.port(protocol), '127.0.0.1').on('error', () => {})
    await once(socket.resume(), 'close')
  }
  assert.deepEqual([s.layer.stats().dropped, s.layer.stats().flows, s.arrived.length, asked], [7, 0, 0, 1])
  phone.vanish()
  await s.layer.close()
})
