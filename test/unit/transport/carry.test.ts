import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connectPhone, optionsRequest, protocols, startTransport } from '../../support/transport.ts'

// Every protocol over both families does the same for the layers above.

for (const address of ['127.0.0.1', '::1']) {
  for (const protocol of protocols) {
    test(`${protocol} ${address}: in with its source recorded, out again, found by id and by target`, async () => {
      const s = await startTransport({ addresses: [address] })
      const phone = await connectPhone(protocol, s.port(protocol, address), address)
      phone.send(optionsRequest('in'))
      await s.until(() => s.arrived.length === 1)
      const { message, flow } = s.arrived[0]!
      assert.equal(message.via.params.get('received'), address)
      assert.equal(message.via.params.get('rport'), String(phone.port()))
      assert.equal(flow.protocol, protocol)
      assert.equal(flow.reliable, protocol !== 'udp')
      assert.deepEqual(flow.advertised, { host: address, port: s.port(protocol, address) })
      const again = s.layer.flowById(flow.id)
      assert.equal(again?.remote.port, phone.port())
      assert.equal(s.layer.find({ protocol, ...flow.remote })?.id, flow.id)
      again!.send(Buffer.from(optionsRequest('out')))
      assert.match(await phone.next(), /Call-ID: out/)
      phone.vanish()
      if (protocol !== 'udp') await s.until(() => flow.closed && s.closed.includes(flow))
      await s.layer.close()
      const error = await new Promise<Error>(resolve => flow.send(Buffer.from('x'), resolve))
      assert.match(error.message, /closed/)
      assert.equal(s.layer.flowById(flow.id), undefined)
    })
  }
}

for (const protocol of ['tcp', 'tls'] as const) {
  test(`${protocol}: split and joined messages, ping and pong, one line end alone`, async () => {
    const s = await startTransport()
    const phone = await connectPhone(protocol, s.port(protocol))
    const both = `\r\n${optionsRequest('one', 'hello')}${optionsRequest('two')}`
    phone.send(both.slice(0, 50))
    await new Promise(setImmediate)
    phone.send(both.slice(50))
    await s.until(() => s.arrived.length === 2)
    assert.deepEqual(
      s.arrived.map(({ message }) => message.callId),
      ['one', 'two'],
    )
    phone.send('\r\n\r\n')
    assert.equal(await phone.next(), '\r\n')
    await s.layer.close()
    await phone.closed
  })
}

for (const protocol of ['tcp', 'tls', 'ws', 'wss'] as const) {
  test(`${protocol}: garbage is reported and closes the connection, and no other`, async () => {
    const s = await startTransport()
    const [bad, good] = [await connectPhone(protocol, s.port(protocol)), await connectPhone(protocol, s.port(protocol))]
    bad.send('no sip at all\r\n\r\n')
    await bad.closed
    assert.equal(s.malformed.length, 1)
    good.send(optionsRequest('good'))
    await s.until(() => s.arrived.length === 1)
    await s.layer.close()
  })

  test(`${protocol}: a message above the limit is reported and closes the connection`, async () => {
    const s = await startTransport({ messageBytes: 1024 })
    const phone = await connectPhone(protocol, s.port(protocol))
    phone.send(optionsRequest('large', 'x'.repeat(2000)))
    await phone.closed
    assert.equal(s.malformed.length, 1)
    assert.equal(s.arrived.length, 0)
    await s.layer.close()
  })
}

test('over udp garbage is reported, a few line ends or zero bytes are not', async () => {
  const s = await startTransport()
  const phone = await connectPhone('udp', s.port('udp'))
  for (const text of ['\r\n\r\n', '\0\0\0\0', '', 'no sip\r\n\r\n', optionsRequest('good')]) phone.send(text)
  await s.until(() => s.arrived.length === 1)
  assert.equal(s.malformed.length, 1)
  phone.vanish()
  await s.layer.close()
})
