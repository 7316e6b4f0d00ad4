import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { test } from 'node:test'
import { connectPhone, first, foreign, optionsRequest, second, startTransport } from '../../support/transport.ts'

const serial = (pair: typeof first) => new X509Certificate(pair!.cert).serialNumber

for (const protocol of ['tls', 'wss'] as const) {
  test(`${protocol}: a new certificate is for new connections; open ones go on`, async () => {
    const s = await startTransport()
    const old = await connectPhone(protocol, s.port(protocol))
    s.present(second!)
    const late = await connectPhone(protocol, s.port(protocol))
    if (protocol === 'tls') assert.deepEqual([old.serial(), late.serial()], [serial(first), serial(second)])
    old.send(optionsRequest('old'))
    late.send(optionsRequest('late'))
    await s.until(() => s.arrived.length === 2)
    await s.layer.close()
  })

  test(`${protocol}: a client that speaks no TLS hurts nobody, and closing does not wait for one that says nothing`, async () => {
    const s = await startTransport({ connections: { connectSeconds: 60 } })
    const loud = connect(s.port(protocol), '127.0.0.1').on('error', () => {})
    loud.end('GET / HTTP/1.0\r\n\r\n')
    await once(loud.resume(), 'close')
    const silent = connect(s.port(protocol), '127.0.0.1').on('error', () => {})
    await once(silent, 'connect')
    const phone = await connectPhone(protocol, s.port(protocol))
    phone.send(optionsRequest('good'))
    await s.until(() => s.arrived.length === 1)
    await s.layer.close()
    if (!silent.closed) await once(silent, 'close')
  })
}

test('tls: what is dialled is verified, by name or by address, and told apart by name', async () => {
  const a = await startTransport()
  const b = await startTransport()
  const target = { protocol: 'tls' as const, address: '127.0.0.1', port: b.port('tls') }
  const byAddress = await a.layer.open(target)
  const byName = await a.layer.open({ ...target, serverName: 'sip.test' })
  assert.notEqual(byName, byAddress)
  assert.equal(await a.layer.open({ ...target, serverName: 'sip.test' }), byName)
  assert.deepEqual(byName.advertised, { host: '127.0.0.1', port: a.port('tls') })
  byName.send(Buffer.from(optionsRequest('named')))
  await b.until(() => b.arrived.length === 1)
  await assert.rejects(a.layer.open({ ...target, serverName: 'wrong.test' }), /wrong\.test/)
  b.present(foreign!)
  byName.close()
  await a.until(() => byName.closed)
  await assert.rejects(a.layer.open({ ...target, serverName: 'sip.test' }), /sip\.test/)
  await Promise.all([a.layer.close(), b.layer.close()])
})

test('tls: nobody is trusted whose authority is unknown', async () => {
  const b = await startTransport()
  const a = await startTransport({ deps: { tls: { current: () => first!, onChange: () => () => {} } } })
  await assert.rejects(a.layer.open({ protocol: 'tls', address: '127.0.0.1', port: b.port('tls') }), /certificate/)
  assert.equal(a.layer.stats().flows, 0)
  await Promise.all([a.layer.close(), b.layer.close()])
})

test('dialling ends after connectSeconds, at once when refused, and when the layer closes', async () => {
  const mute = createServer(() => {}).listen(0, '127.0.0.1')
  await once(mute, 'listening')
  const sockets: import('node:net').Socket[] = []
  mute.on('connection', socket => sockets.push(socket.on('error', () => {})))
  const place = mute.address()
  const port = typeof place === 'object' && place ? place.port : 0
  const a = await startTransport({ connections: { connectSeconds: 0.05 } })
  const target = { protocol: 'tls' as const, address: '127.0.0.1', port }
  await assert.rejects(a.layer.open(target), /did not answer in 0\.05 s/)
  await assert.rejects(a.layer.open({ ...target, protocol: 'tcp', port: 1 }), { code: 'ECONNREFUSED' })
  await assert.rejects(a.layer.open({ ...target, protocol: 'wss' }), /can not be opened from here/)
  await a.layer.close()
  const b = await startTransport({ connections: { connectSeconds: 60 } })
  const rejected = assert.rejects(b.layer.open(target), /closing/)
  await b.layer.close()
  await rejected
  for (const socket of sockets) socket.destroy()
  mute.close()
})
