import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { complete } from '../../../src/config/load.ts'
import { openFlow } from '../../../src/drill/flow.ts'
import { createTestPhone } from '../../../src/drill/phone.ts'
import { openStream } from '../../../src/drill/stream.ts'
import { until } from '../../../src/drill/until.ts'
import { Refusal } from '../../../src/errors.ts'

// What a test phone does when a node does not do what it should; how it is when all is well is shown by the scenario.

const { limits } = complete({}).sip
const { signal } = new AbortController()
const sockets = new Set<Socket>()
let server: Server
let place: string
let answer: (request: string, socket: Socket) => void = () => undefined

before(async () => {
  server = createServer(socket => {
    sockets.add(socket)
    // A phone that is closed resets what it has not read.
    socket.on('error', () => undefined)
    socket.on('data', bytes => answer(bytes.toString(), socket))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  place = `sip:127.0.0.1:${(server.address() as AddressInfo).port};transport=tcp`
})
after(() => {
  for (const socket of sockets) socket.destroy()
  server.close()
})

const phoneOf = () => createTestPhone({ user: 'drill-1', password: 'p', domain: 'example.org', limits })
const refusal = (code: string) => (error: unknown) => error instanceof Refusal && error.code === code

test('a node that says nothing, hangs up, refuses, or is not there', async t => {
  const phone = phoneOf()
  t.after(() => phone.close())
  answer = () => undefined
  await assert.rejects(phone.register(place, 1, 50), refusal('request-timeout'))
  answer = (_request, socket) => socket.destroy()
  await assert.rejects(phone.register(place, 1, 1000), refusal('flow-failed'))
  answer = (request, socket) => {
    const kept = request.split('\r\n').filter(line => /^(Via|From|To|Call-ID|CSeq):/.test(line))
    socket.write(['SIP/2.0 503 Service Unavailable', ...kept, 'Content-Length: 0', '', ''].join('\r\n'))
  }
  await assert.rejects(phone.register(place, 1, 1000), /REGISTER was answered 503/)
  await assert.rejects(phone.call('drill-2', 1, 1000), /INVITE was answered 503/)
  await assert.rejects(phone.call('drill-2', 2, 1000), refusal('flow-failed'))
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as AddressInfo
  closed.close()
  await once(closed, 'close')
  await assert.rejects(
    openFlow(`sip:127.0.0.1:${port}`, limits, 1000, () => undefined),
    refusal('flow-failed'),
  )
})

test('what is no SIP ends the connection', async () => {
  answer = (_request, socket) => void socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')
  const phone = phoneOf()
  await assert.rejects(phone.register(place, 1, 1000), refusal('flow-failed'))
  phone.close()
  phone.close()
})

test('only packets with the mark of the other end count as heard', async t => {
  const [one, other, stranger] = await Promise.all([1, 2, 3].map(() => openStream('127.0.0.1')))
  t.after(() => {
    for (const stream of [one, other, stranger]) stream?.close()
  })
  one!.listenFor(other!.mark)
  stranger!.sendTo('127.0.0.1', one!.port)
  other!.sendTo('127.0.0.1', one!.port)
  assert.ok(await until(() => one!.count().heard >= 5 && stranger!.count().sent >= 5, 2000, signal))
  for (const stream of [other, stranger]) stream!.stopSending()
  const { sent } = other!.count()
  assert.ok(await until(() => one!.count().heard === sent, 2000, signal))
  assert.deepEqual(stranger!.count().heard, 0)
})
