import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { createSilentLog } from '../../../src/log.ts'
import { createResponse, ParseFailure, type SipMessage } from '../../../src/sip/engine/message/message.ts'
import { createTransactionLayer } from '../../../src/sip/engine/transaction/layer.ts'
import { deriveTimers } from '../../../src/sip/engine/transaction/timers.ts'
import type { ServerTransaction } from '../../../src/sip/engine/transaction/transaction.ts'
import type { Flow } from '../../../src/sip/engine/transport/transport.ts'
import { createFakeFlow, type FakeFlow, readSip, requestText } from '../../support/fake-flow.ts'

// RFC 3261 figures 7 and 8 with RFC 6026, and what the layer answers by itself. Time is the test's.

const timers = deriveTimers({ t1: 500, t2: 4000, t4: 5000, timerC: 180_000 })
let udp: FakeFlow
let tcp: FakeFlow
let up: ServerTransaction[]
let acks: SipMessage[]
let layer: ReturnType<typeof createTransactionLayer>
let opened: () => Promise<Flow>

function create(more: { mostAnsweredBytes?: number } = {}) {
  return createTransactionLayer({
    timers,
    openFlow: () => opened(),
    user: {
      onRequest: transaction => up.push(transaction),
      onAck: ack => acks.push(ack),
      onStrayResponse() {},
    },
    log: createSilentLog(),
    now: () => Date.now(),
    ...more,
  })
}

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  udp = createFakeFlow()
  tcp = createFakeFlow({ protocol: 'tcp' })
  up = []
  acks = []
  opened = () => Promise.reject(new Error('no way'))
  layer = create()
})

afterEach(() => {
  layer.close()
  mock.timers.reset()
})

const receive = (text: string, flow = udp) => layer.onMessage(readSip(text), flow, text.length)
const tick = (ms: number) => mock.timers.tick(ms)

function respond(transaction: ServerTransaction, status: number): void {
  const response = createResponse(transaction.request, status)
  response.set('To', `${response.get('To')};tag=t`)
  transaction.respond(response)
}

function invite(flow = udp): ServerTransaction {
  receive(requestText('INVITE'), flow)
  assert.deepEqual(flow.take(), ['100'])
  return up.at(-1)!
}

test('INVITE: 100 at once, retransmissions get the last provisional and come up once', () => {
  const transaction = invite()
  receive(requestText('INVITE'))
  assert.deepEqual(udp.take(), ['100'])
  respond(transaction, 180)
  receive(requestText('INVITE'))
  assert.deepEqual(udp.take(), ['180', '180'])
  assert.equal(up.length, 1)
  assert.equal(transaction.status, 180)
})

test('INVITE over UDP, failure: repeated by Timer G until the ACK, then Timer I', () => {
  const transaction = invite()
  const acknowledged: boolean[] = []
  transaction.onAcknowledged = done => acknowledged.push(done)
  respond(transaction, 486)
  tick(500)
  tick(1000)
  tick(2000)
  tick(4000)
  tick(4000)
  assert.deepEqual(udp.take(), ['486', '486', '486', '486', '486', '486'])
  receive(requestText('INVITE'))
  assert.deepEqual(udp.take(), ['486'])
  receive(requestText('ACK', { toTag: 't' }))
  assert.deepEqual(acknowledged, [true])
  assert.equal(acks.length, 0)
  tick(4999)
  receive(requestText('ACK', { toTag: 't' }))
  receive(requestText('INVITE'))
  assert.deepEqual(udp.take(), [])
  assert.equal(transaction.ended, false)
  tick(1)
  assert.equal(transaction.ended, true)
  assert.deepEqual(layer.stats(), { server: 0, client: 0 })
})

test('INVITE, failure without an ACK: Timer H tells the owner', () => {
  const transaction = invite()
  const acknowledged: boolean[] = []
  transaction.onAcknowledged = done => acknowledged.push(done)
  let ends = 0
  transaction.onEnd = () => ends++
  respond(transaction, 404)
  tick(32_000)
  assert.deepEqual([acknowledged, ends, transaction.ended], [[false], 1, true])
})

test('INVITE over TCP, failure: no Timer G, and Timer I is zero', () => {
  const transaction = invite(tcp)
  respond(transaction, 486)
  tick(31_000)
  assert.deepEqual(tcp.take(), ['486'])
  receive(requestText('ACK', { toTag: 't' }), tcp)
  assert.equal(transaction.ended, true)
})

test('INVITE, success: Accepted absorbs the INVITE, lets 2xx pass and ACKs up, until Timer L', () => {
  const transaction = invite()
  respond(transaction, 200)
  receive(requestText('INVITE'))
  assert.deepEqual(udp.take(), ['200'])
  respond(transaction, 200)
  respond(transaction, 486)
  assert.deepEqual(udp.take(), ['200'])
  receive(requestText('ACK', { toTag: 't' }))
  receive(requestText('ACK', { toTag: 't', branch: 'z9hG4bK2' }))
  assert.equal(acks.length, 2)
  tick(31_999)
  assert.equal(transaction.ended, false)
  tick(1)
  assert.equal(transaction.ended, true)
  respond(transaction, 200)
  assert.deepEqual(udp.take(), [])
})

test('an INVITE that nobody answers is answered 408 in the end; a provisional gives it time', () => {
  const transaction = invite()
  tick(600_000)
  respond(transaction, 180)
  tick(600_000)
  assert.deepEqual(udp.take(), ['180'])
  tick(60_000)
  assert.equal(udp.take()[0], '408')
  tick(32_000)
  assert.deepEqual(layer.stats(), { server: 0, client: 0 })
})

test('non-INVITE: absorbed in Trying, repeated in Proceeding and Completed, gone after Timer J', () => {
  receive(requestText('OPTIONS'))
  receive(requestText('OPTIONS'))
  assert.deepEqual([udp.take(), up.length], [[], 1])
  const transaction = up[0]!
  let ends = 0
  transaction.onEnd = () => ends++
  respond(transaction, 180)
  assert.deepEqual(udp.take(), [])
  respond(transaction, 100)
  receive(requestText('OPTIONS'))
  assert.deepEqual(udp.take(), ['100', '100'])
  respond(transaction, 200)
  respond(transaction, 404)
  receive(requestText('OPTIONS'))
  assert.deepEqual(udp.take(), ['200', '200'])
  assert.equal(ends, 1)
  tick(31_000)
  receive(requestText('OPTIONS'))
  assert.deepEqual([udp.take(), up.length], [['200'], 1])
  tick(8000)
  assert.deepEqual(layer.stats(), { server: 0, client: 0 })
  receive(requestText('OPTIONS'))
  assert.equal(up.length, 2)
})

test('non-INVITE over TCP ends with its answer; without one it is dropped after 64*T1, never 408 (RFC 4320)', () => {
  receive(requestText('OPTIONS'), tcp)
  respond(up[0]!, 200)
  assert.deepEqual([tcp.take(), layer.stats().server], [['200'], 0])
  receive(requestText('OPTIONS', { branch: 'z9hG4bK2' }), tcp)
  tick(32_000)
  assert.deepEqual([tcp.take(), layer.stats().server], [[], 0])
  respond(up[1]!, 200)
  assert.deepEqual(tcp.take(), [])
})

test('answers to be repeated are bounded: the oldest goes first', () => {
  layer.close()
  layer = create({ mostAnsweredBytes: 500 })
  for (const n of [1, 2, 3]) {
    receive(requestText('OPTIONS', { branch: `z9hG4bK${n}`, callId: `c${n}` }))
    respond(up.at(-1)!, 200)
  }
  assert.ok(layer.stats().server < 3)
  receive(requestText('OPTIONS', { branch: 'z9hG4bK3', callId: 'c3' }))
  assert.equal(up.length, 3)
  receive(requestText('OPTIONS', { branch: 'z9hG4bK1', callId: 'c1' }))
  assert.equal(up.length, 4)
})

test('CANCEL: to its INVITE, 481 without one, 200 after a final answer; both answers have one tag', () => {
  const transaction = invite()
  const cancels: ServerTransaction[] = []
  transaction.onCancel = cancel => cancels.push(cancel)
  receive(requestText('CANCEL'))
  receive(requestText('CANCEL'))
  assert.equal(cancels.length, 1)
  transaction.onCancel = undefined as never
  receive(requestText('CANCEL', { branch: 'z9hG4bKother' }))
  assert.deepEqual(udp.take(), ['481'])
  respond(transaction, 486)
  udp.take()

  receive(requestText('INVITE', { branch: 'z9hG4bK5', callId: 'c5' }))
  receive(requestText('CANCEL', { branch: 'z9hG4bK5', callId: 'c5' }))
  const [, ok, terminated] = udp.sent
  assert.deepEqual(
    udp.sent.map(m => m.status),
    [100, 200, 487],
  )
  assert.equal(ok!.toTag, terminated!.toTag)
  udp.take()

  receive(requestText('INVITE', { branch: 'z9hG4bK6', callId: 'c6' }))
  respond(up.at(-1)!, 200)
  receive(requestText('CANCEL', { branch: 'z9hG4bK6', callId: 'c6' }))
  assert.deepEqual(udp.take(), ['100', '200', '200'])
})

test('a request that comes by two ways is answered 482 on the second, while the first lives', () => {
  invite()
  receive(requestText('INVITE', { branch: 'z9hG4bKb' }))
  assert.deepEqual(udp.take(), ['100', '482'])
  receive(requestText('MESSAGE', { branch: 'z9hG4bKm', callId: 'm' }))
  respond(up.at(-1)!, 200)
  receive(requestText('MESSAGE', { branch: 'z9hG4bKn', callId: 'm' }))
  assert.deepEqual(udp.take(), ['200', '482'])
  assert.equal(up.length, 2)
})

test('RFC 2543: without the cookie the request itself is the key', () => {
  const via = 'Via: SIP/2.0/UDP 192.0.2.9:5060'
  receive(requestText('INVITE', { via }))
  receive(requestText('INVITE', { via }))
  assert.equal(up.length, 1)
  respond(up[0]!, 486)
  receive(requestText('ACK', { via, toTag: 't' }))
  udp.take()
  tick(2000)
  assert.deepEqual(udp.take(), [])
  receive(requestText('INVITE', { via, sequence: 2 }))
  assert.equal(up.length, 2)
})

test('the same branch of another sender or method is another transaction', () => {
  receive(requestText('OPTIONS'))
  receive(requestText('OPTIONS', { via: 'Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK1', callId: 'x' }))
  receive(requestText('MESSAGE', { callId: 'y' }))
  assert.equal(up.length, 3)
})

test('a broken request is refused without a transaction, twice alike; a broken ACK or response is dropped', () => {
  const bad = requestText('OPTIONS', { more: ['Max-Forwards: many'] })
  receive(bad)
  receive(bad)
  assert.deepEqual(
    udp.sent.map(m => m.status),
    [400, 400],
  )
  assert.equal(udp.sent[0]!.toTag, udp.sent[1]!.toTag)
  assert.ok(udp.sent[0]!.toTag)
  udp.take()
  receive(requestText('ACK', { more: ['Max-Forwards: many'] }))
  receive(
    requestText('OPTIONS').replace('OPTIONS sip:b@192.0.2.1 SIP/2.0', 'SIP/2.0 200 OK').replace('CSeq: 1', 'CSeq: x'),
  )
  assert.deepEqual([udp.take(), up.length, layer.stats().server], [[], 0, 0])
  layer.onMalformed(new ParseFailure('bad', readSip(requestText('OPTIONS'))), udp)
  layer.onMalformed(new ParseFailure('bad'), udp)
  assert.deepEqual(udp.take(), ['400'])
})

test('a closed connection: the answer goes by another one, and the transaction ends when there is none', async () => {
  const other = createFakeFlow({ protocol: 'tcp' })
  const first = invite(tcp)
  tcp.closed = true
  opened = () => Promise.resolve(other)
  respond(first, 180)
  await Promise.resolve()
  await Promise.resolve()
  assert.deepEqual(other.take(), ['180'])
  opened = () => Promise.reject(new Error('no way'))
  const ended = new Promise<void>(resolve => {
    first.onEnd = resolve
  })
  respond(first, 486)
  await ended
  assert.deepEqual(layer.stats(), { server: 0, client: 0 })
})

test('a handler that throws is answered 500', () => {
  up.push = () => {
    throw new Error('bug')
  }
  receive(requestText('OPTIONS'))
  assert.deepEqual(udp.take(), ['500'])
})
