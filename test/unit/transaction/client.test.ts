import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { createSilentLog } from '../../../src/log.ts'
import { createResponse, type SipMessage } from '../../../src/sip/engine/message/message.ts'
import { createTransactionLayer } from '../../../src/sip/engine/transaction/layer.ts'
import { deriveTimers } from '../../../src/sip/engine/transaction/timers.ts'
import type { ClientTransaction } from '../../../src/sip/engine/transaction/transaction.ts'
import { createFakeFlow, type FakeFlow, readSip, requestText } from '../../support/fake-flow.ts'

// RFC 3261 figures 5 and 6 with RFC 6026. Time is the test's.

const timers = deriveTimers({ t1: 500, t2: 4000, t4: 5000, timerC: 180_000 })
let udp: FakeFlow
let tcp: FakeFlow
let seen: string[]
let strays: number
let layer: ReturnType<typeof createTransactionLayer>

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  udp = createFakeFlow()
  tcp = createFakeFlow({ protocol: 'tcp' })
  seen = []
  strays = 0
  layer = createTransactionLayer({
    timers,
    openFlow: () => Promise.reject(new Error('no way')),
    user: { onRequest() {}, onAck() {}, onStrayResponse: () => strays++ },
    log: createSilentLog(),
    now: () => Date.now(),
  })
})

afterEach(() => {
  layer.close()
  mock.timers.reset()
})

const tick = (ms: number) => mock.timers.tick(ms)

function start(method: string, flow: FakeFlow, more: string[] = []): ClientTransaction {
  const request = readSip(requestText(method, { uri: 'sip:b@192.0.2.9', more }))
  request.remove('Via')
  return layer.send(request, flow, {
    onResponse: response => seen.push(String(response.status)),
    onTimeout: () => seen.push('timeout'),
    onTransportError: () => seen.push('broken'),
    onEnd: () => seen.push('end'),
  })
}

/** Answers what was sent first, as its peer would. */
function answer(client: ClientTransaction, status: number, request: SipMessage = client.request, tag = 't'): void {
  const response = createResponse(request, status)
  if (status > 100) response.set('To', `${response.get('To')};tag=${tag}`)
  const bytes = response.toBuffer()
  layer.onMessage(readSip(bytes), client.flow, bytes.length)
}

test('INVITE over UDP: Timer A doubles, Timer B gives up', () => {
  start('INVITE', udp)
  tick(500)
  tick(1000)
  tick(2000)
  assert.equal(udp.take().length, 4)
  tick(4000 + 8000)
  tick(16_000)
  tick(500)
  assert.deepEqual(seen, ['end', 'timeout'])
  assert.deepEqual(layer.stats(), { server: 0, client: 0 })
})

test('INVITE: a provisional stops the repeats; a failure is acknowledged each time it comes, until Timer D', () => {
  const client = start('INVITE', udp, ['Route: <sip:edge.example.org;lr>'])
  answer(client, 100)
  answer(client, 180)
  tick(40_000)
  assert.deepEqual(udp.take(), ['INVITE'])
  answer(client, 486)
  answer(client, 486)
  const [ack, again] = udp.sent
  assert.equal(ack!.via.branch, client.request.via.branch)
  assert.equal(ack!.get('Route'), '<sip:edge.example.org;lr>')
  assert.deepEqual([ack!.cseq, ack!.toTag, again!.method], [{ number: 1, method: 'ACK' }, 't', 'ACK'])
  assert.deepEqual(seen, ['100', '180', '486'])
  tick(31_999)
  assert.equal(client.ended, false)
  tick(1)
  assert.deepEqual([client.ended, layer.stats().client], [true, 0])
  answer(client, 486)
  assert.equal(strays, 1)
})

test('INVITE, success: repeats and other forks of the 2xx go up until Timer M, no ACK by itself', () => {
  const client = start('INVITE', udp)
  answer(client, 200)
  answer(client, 200)
  answer(client, 200, client.request, 'fork')
  answer(client, 486)
  assert.deepEqual([seen, udp.take()], [['200', '200', '200'], ['INVITE']])
  tick(32_000)
  assert.deepEqual(layer.stats(), { server: 0, client: 0 })
})

test('INVITE over TCP: no repeats, Timer D is zero, a lost connection breaks it', () => {
  const client = start('INVITE', tcp)
  tick(20_000)
  assert.deepEqual(tcp.take(), ['INVITE'])
  answer(client, 486)
  tick(0)
  assert.equal(client.ended, true)
  const second = start('INVITE', tcp)
  layer.onFlowClosed(tcp)
  assert.deepEqual([seen.slice(-2), second.ended], [['end', 'broken'], true])
})

test('CANCEL waits for a provisional, is sent once, and never after a final answer', () => {
  const client = start('INVITE', udp)
  const cancel = client.cancel([['Reason', 'SIP;cause=200']])
  assert.equal(client.cancel(), cancel)
  assert.deepEqual(udp.take(), ['INVITE'])
  answer(client, 180)
  assert.equal(udp.sent[0]!.get('Reason'), 'SIP;cause=200')
  assert.equal(udp.sent[0]!.via.branch, client.request.via.branch)
  answer(client, 200, cancel)
  answer(client, 183)
  assert.deepEqual(udp.take(), ['CANCEL'])
  answer(client, 487)
  assert.deepEqual(udp.take(), ['ACK'])

  const late = start('INVITE', udp)
  answer(late, 486)
  udp.take()
  late.cancel()
  assert.deepEqual(udp.take(), [])
})

test('a cancelled INVITE that never gets a final answer ends 64*T1 later (section 9.1)', () => {
  const client = start('INVITE', udp)
  answer(client, 180)
  tick(100_000)
  client.cancel()
  tick(32_000)
  assert.deepEqual(seen, ['180', 'end', 'timeout'])
})

test('an INVITE that rings for ever is cancelled', () => {
  const client = start('INVITE', tcp)
  answer(client, 180)
  tick(660_000)
  assert.deepEqual(tcp.take(), ['INVITE', 'CANCEL'])
})

test('non-INVITE over UDP: Timer E up to T2, T2 in Proceeding, Timer F', () => {
  const client = start('OPTIONS', udp)
  for (const ms of [500, 1000, 2000, 4000, 4000]) tick(ms)
  assert.equal(udp.take().length, 6)
  answer(client, 100)
  tick(4000)
  tick(4000)
  assert.equal(udp.take().length, 2)
  tick(13_000)
  assert.deepEqual(seen, ['100', 'end', 'timeout'])
})

test('non-INVITE: the final answer ends the repeats, later ones are absorbed until Timer K', () => {
  const client = start('OPTIONS', udp)
  answer(client, 200)
  answer(client, 200)
  tick(4999)
  assert.deepEqual([seen, client.ended], [['200'], false])
  tick(1)
  assert.deepEqual([seen, client.ended], [['200', 'end'], true])
  assert.throws(() => client.cancel(), TypeError)
  const quick = start('OPTIONS', tcp)
  answer(quick, 200)
  tick(0)
  assert.equal(quick.ended, true)
})

test('a flow that fails at once is heard of after the call, not in it', async () => {
  for (const method of ['INVITE', 'OPTIONS']) {
    udp.broken = new Error('unreachable')
    start(method, udp)
    assert.deepEqual(seen, [])
    await new Promise(resolve => process.nextTick(resolve))
    assert.deepEqual(seen.splice(0), ['end', 'broken'])
  }
  assert.deepEqual(layer.stats(), { server: 0, client: 0 })
})

test('Via: the advertised address, a port asked for, IPv6 in brackets', () => {
  const flow = createFakeFlow({ protocol: 'wss', advertised: { host: '2001:db8::1', port: 443 } })
  start('OPTIONS', flow)
  assert.match(flow.sent[0]!.get('Via')!, /^SIP\/2\.0\/WSS \[2001:db8::1\]:443;branch=z9hG4bK[^;]+;rport$/)
})
