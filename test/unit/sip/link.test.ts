import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { complete } from '../../../src/config/load.ts'
import type { SipConfig } from '../../../src/config/schema.ts'
import { createEvents } from '../../../src/events.ts'
import { createSilentLog } from '../../../src/log.ts'
import { createFrameReader, encodeFrame } from '../../../src/sip/engine/wire/framing.ts'
import { connectSip } from '../../../src/sip/link.ts'
import { loopback } from '../../support/loopback.ts'
import { createUdpPeer, sipRequest, unique } from '../../support/sip-peer.ts'

// The link to the SIP engine: an external drachtio-server, played at the socket, and the end of the embedded engine.

const deps = {
  addresses: { current: () => [loopback], onChange: () => () => {} },
  allowed: () => true,
  resolve: () => [],
  events: createEvents(),
  log: createSilentLog(),
  ports: 'ephemeral' as const,
}
const defaults = complete({}).sip

/** An admin server that knows one secret; it keeps what it was told. */
async function createFakeServer(secret: string) {
  const told: string[][] = []
  const sockets: Socket[] = []
  const server = createServer(socket => {
    sockets.push(socket)
    socket.on('error', () => {})
    const reader = createFrameReader(payload => {
      const fields = payload.toString().split('|')
      told.push(fields)
      if (fields[1] === 'authenticate' && fields[2] !== secret) {
        socket.end(encodeFrame(`s|response|${fields[0]}|NO|incorrect secret`))
        return
      }
      const data = fields[1] === 'authenticate' ? '|udp/192.0.2.1:5060,wss/[2001:db8::1]:443|v0.9.10|' : ''
      socket.write(encodeFrame(`s|response|${fields[0]}|OK${data}`))
      server.emit('told')
    }, 65_536)
    socket.on('data', chunk => reader.push(chunk))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    told,
    sockets,
    config: (given = secret): SipConfig => ({
      ...defaults,
      engine: 'drachtio',
      drachtio: { host: '127.0.0.1', port: (server.address() as AddressInfo).port, secret: given },
    }),
    async heard(verb: string, times: number) {
      while (told.filter(fields => fields[1] === verb).length < times) await once(server, 'told')
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

test('an external engine without a secret is refused in plain words', async () => {
  const config: SipConfig = { ...defaults, engine: 'drachtio', drachtio: { ...defaults.drachtio, secret: '' } }
  await assert.rejects(connectSip(config, deps), { code: 'bad-config', message: /sip\.drachtio\.secret/ })
})

test('an external engine: says the secret, routes, and comes back after a lost connection', async () => {
  const fake = await createFakeServer('s3cret')
  const link = await connectSip(fake.config(), deps)
  assert.equal(link.engine, 'drachtio')
  assert.equal(link.dialogs, undefined)
  assert.deepEqual(
    link.points().map(point => [point.protocol, point.address, point.port]),
    [
      ['udp', '192.0.2.1', 5060],
      ['wss', '2001:db8::1', 443],
    ],
  )
  const srf = link.srf as unknown as Record<string, (handler: () => void) => void>
  srf['register']!(() => {})
  await fake.heard('route', 1)
  fake.sockets[0]!.destroy()
  await fake.heard('authenticate', 2)
  await fake.heard('route', 2)
  assert.ok(fake.told.filter(fields => fields[1] === 'authenticate').every(fields => fields[2] === 's3cret'))
  await link.close()
  await fake.close()
})

test('an external engine that refuses the secret is a mistake in the configuration', async () => {
  const fake = await createFakeServer('s3cret')
  await assert.rejects(connectSip(fake.config('other'), deps), { code: 'bad-config', message: /refuses the secret/ })
  await fake.close()
})

test('closing lets requests under way be answered, refuses new calls, and waits no longer than a second', async () => {
  const link = await connectSip({ ...defaults, tls: 0 }, deps)
  const phone = await createUdpPeer(link.points().find(point => point.protocol === 'udp')!.port)
  const srf = link.srf as unknown as Record<string, (handler: (req: unknown, res: Answer) => void) => void>
  interface Answer {
    send(status: number): void
  }
  let take: (res: Answer) => void = () => {}
  const shown = new Promise<Answer>(resolve => {
    take = resolve
  })
  srf['invite']!((_req, res) => take(res))
  srf['options']!((_req, res) => res.send(200))
  phone.send(sipRequest({ method: 'OPTIONS', peer: phone, callId: unique() }))
  while ((await phone.wait(message => message.status > 100)).status !== 200)
    phone.send(sipRequest({ method: 'OPTIONS', peer: phone, callId: unique() }))
  phone.send(sipRequest({ method: 'INVITE', peer: phone, callId: unique() }))
  const pending = await shown
  const begin = performance.now()
  const closed = link.close()
  assert.equal(link.close(), closed)
  phone.send(sipRequest({ method: 'INVITE', peer: phone, callId: unique() }))
  assert.match((await phone.status(503)).header('Retry-After'), /^\d+$/)
  pending.send(486)
  await phone.status(486)
  await closed
  assert.ok(performance.now() - begin < 1000)
  phone.close()
})

test('dialogs of the embedded engine are asked for over its connection, and refused without one', async () => {
  const link = await connectSip({ ...defaults, tls: 0 }, deps)
  assert.ok(link.dialogs)
  assert.equal(await link.dialogs.read('x'), undefined)
  const asked = link.dialogs.read('x')
  const refused = assert.rejects(asked, { code: 'server-error' })
  await link.close()
  await refused
  await assert.rejects(link.dialogs.read('x'), { code: 'server-error' })
})
