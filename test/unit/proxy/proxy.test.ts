import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { createSilentLog } from '../../../src/log.ts'
import { createResponse, type SipMessage } from '../../../src/sip/engine/message/message.ts'
import { createNextHop } from '../../../src/sip/engine/next-hop.ts'
import { createPeerTokens } from '../../../src/sip/engine/proxy/peer-token.ts'
import { createProxyLayer } from '../../../src/sip/engine/proxy/proxy.ts'
import type { ProxyLayer, ProxyOptions } from '../../../src/sip/engine/proxy/proxy-layer.ts'
import { createTransactionLayer } from '../../../src/sip/engine/transaction/layer.ts'
import { deriveTimers } from '../../../src/sip/engine/transaction/timers.ts'
import type { ServerTransaction } from '../../../src/sip/engine/transaction/transaction.ts'
import { createFakeFlow, type FakeFlow, readSip, requestText } from '../../support/fake-flow.ts'

// The proxy with real transactions on flows without sockets. 192.0.2.1 is ours, .9 calls, .11 to .13 are called.

const timers = deriveTimers({ t1: 500, t2: 4000, t4: 5000, timerC: 180_000 })
let flows: FakeFlow[]
let caller: FakeFlow
let layer: ReturnType<typeof createTransactionLayer>
let proxy: ProxyLayer
let done: (string | undefined)[]
let finals: number[]
let onRequest: (transaction: ServerTransaction) => void

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  caller = createFakeFlow()
  flows = [caller, ...[11, 12, 13].map(n => createFakeFlow({ remote: `192.0.2.${n}` }))]
  done = []
  finals = []
  layer = createTransactionLayer({
    timers,
    openFlow: () => Promise.reject(new Error('no way')),
    user: {
      onRequest: transaction => onRequest(transaction),
      onAck: (ack, flow) => proxy.forwardAck(ack, flow),
      onStrayResponse() {},
    },
    log: createSilentLog(),
    now: () => Date.now(),
  })
  const isOwn = (host: string) => host === '192.0.2.1'
  const find = (target: { address: string }) => flows.find(flow => flow.remote.address === target.address)
  const nextHop = createNextHop({
    resolve: () => [],
    find,
    flowById: id => flows.find(flow => flow.id === id),
    open: () => Promise.reject(new Error('refused')),
    isOwn,
    udpMaxBytes: 1300,
  })
  const peers = createPeerTokens('a-1', ['a secret of these nodes'], () => Date.now())
  proxy = createProxyLayer({ transactions: layer, nextHop, timers, isOwn, peers, log: createSilentLog() })
})

afterEach(() => {
  proxy.close()
  layer.close()
  mock.timers.reset()
})

const tick = (ms: number) => mock.timers.tick(ms)
const settled = async () => {
  for (let i = 0; i < 10; i++) await Promise.resolve()
}
const target = (n: number) => `sip:b@192.0.2.${n}`
const phone = (n: number) => flows.find(flow => flow.remote.address === `192.0.2.${n}`)!

function receive(text: string | Buffer, flow: FakeFlow): void {
  layer.onMessage(readSip(text), flow, text.length)
}

function start(method: string, options: Partial<ProxyOptions>, request: Parameters<typeof requestText>[1] = {}): void {
  onRequest = transaction =>
    proxy.start(transaction, {
      targets: [target(11)],
      recordRoute: false,
      forking: 'simultaneous',
      followRedirects: false,
      provisionalTimeoutMs: undefined,
      finalTimeoutMs: undefined,
      headers: [],
      onFinal: response => finals.push(response.status),
      onDone: error => done.push(error),
      ...options,
    })
  receive(requestText(method, { more: ['Contact: <sip:a@192.0.2.9>'], ...request }), caller)
}

function answer(n: number, request: SipMessage, status: number, headers: [string, string][] = []): void {
  const response = createResponse(request, status)
  response.set('To', `${response.get('To')};tag=t${n}`)
  for (const route of request.getAll('Record-Route')) response.append('Record-Route', route)
  for (const [name, value] of headers) response.append(name, value)
  receive(response.toBuffer(), phone(n))
}

function sentTo(n: number): SipMessage {
  const request = phone(n).sent.shift()
  assert.ok(request, `nothing was sent to ${n}`)
  return request
}

test('one target: copy, Via, Max-Forwards, headers; responses come back without our Via; ACK by itself', () => {
  start('INVITE', { headers: [['X-Proxied', 'yes']] }, { more: ['Max-Forwards: 10', 'X-Kept: 1'] })
  const invite = sentTo(11)
  assert.equal(invite.uri, target(11))
  assert.equal(invite.get('Max-Forwards'), '9')
  assert.deepEqual([invite.get('X-Proxied'), invite.get('X-Kept'), invite.has('Record-Route')], ['yes', '1', false])
  assert.equal(invite.getAll('Via').length, 2)
  answer(11, invite, 100)
  answer(11, invite, 180)
  answer(11, invite, 486)
  assert.deepEqual(
    caller.sent.map(m => [m.status, m.getAll('Via').length, m.toTag]),
    [
      [100, 1, undefined],
      [180, 1, 't11'],
      [486, 1, 't11'],
    ],
  )
  assert.deepEqual(phone(11).take(), ['ACK'])
  assert.deepEqual([finals, done, proxy.stats().contexts], [[486], [undefined], 0])
})

test('a request-URI that is not ours stays; a missing Max-Forwards becomes 70', () => {
  start('OPTIONS', {}, { uri: 'sip:b@example.org' })
  const options = sentTo(11)
  assert.deepEqual([options.uri, options.get('Max-Forwards')], ['sip:b@example.org', '70'])
})

test('section 16.3: 483, 482 for a loop, 420 for Proxy-Require; a spiral passes', () => {
  start('OPTIONS', {}, { more: ['Max-Forwards: 0'] })
  start('OPTIONS', {}, { branch: 'z9hG4bK2', callId: '2', more: ['Proxy-Require: magic'] })
  assert.deepEqual(
    caller.sent.map(m => [m.status, m.get('Unsupported')]),
    [
      [483, undefined],
      [420, 'magic'],
    ],
  )
  caller.take()
  assert.deepEqual(done, ['Rejected with 483 Too Many Hops', 'Rejected with 420 Bad Extension'])
  start('OPTIONS', {}, { branch: 'z9hG4bK3', callId: '3', uri: 'sip:x@example.org' })
  const passed = sentTo(11)
  const again = passed.clone()
  again.prepend('Via', 'SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKback')
  receive(again.toBuffer(), phone(11))
  assert.deepEqual(phone(11).take(), ['482'])
  again.replaceFirst('Via', 'SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKmoved')
  again.uri = 'sip:elsewhere@example.org'
  receive(again.toBuffer(), phone(11))
  assert.deepEqual(phone(11).take(), ['OPTIONS'])
})

test('simultaneous: the first 2xx wins, the others are cancelled with the reason, later 2xx still pass', () => {
  start('INVITE', { targets: [target(11), target(12), target(13)] })
  const [one, two, three] = [sentTo(11), sentTo(12), sentTo(13)]
  answer(11, one, 180)
  answer(12, two, 180)
  answer(13, three, 180)
  answer(12, two, 200)
  const cancel = sentTo(11)
  assert.equal(cancel.method, 'CANCEL')
  assert.match(cancel.get('Reason')!, /cause=200;text="Call completed elsewhere"/)
  answer(11, one, 487)
  answer(13, three, 200)
  assert.deepEqual(caller.take(), ['100', '180', '180', '180', '200', '200'])
  assert.deepEqual([finals, done], [[200, 487, 200], [undefined]])
})

test('a 6xx stops the search, and is the answer once all have ended', () => {
  start('INVITE', { targets: [target(11), target(12)] })
  const [one, two] = [sentTo(11), sentTo(12)]
  answer(12, two, 180)
  answer(11, one, 603)
  assert.deepEqual(phone(12).take(), ['CANCEL'])
  assert.deepEqual(caller.take(), ['100', '180'])
  answer(12, two, 487)
  assert.deepEqual(caller.take(), ['603'])
})

test('challenges of all branches go to the caller together', () => {
  start('INVITE', { targets: [target(11), target(12)] })
  const [one, two] = [sentTo(11), sentTo(12)]
  answer(11, one, 401, [['WWW-Authenticate', 'Digest realm="one", nonce="1"']])
  answer(12, two, 407, [['Proxy-Authenticate', 'Digest realm="two", nonce="2"']])
  const final = caller.sent.at(-1)!
  assert.equal(final.status, 401)
  assert.match(final.get('WWW-Authenticate')!, /one/)
  assert.match(final.get('Proxy-Authenticate')!, /two/)
})

test('serial: one after another; a challenge ends the search', () => {
  start('INVITE', { forking: 'serial', targets: [target(11), target(12), target(13)] })
  answer(11, sentTo(11), 486)
  const second = sentTo(12)
  assert.deepEqual(phone(13).take(), [])
  answer(12, second, 407)
  assert.deepEqual(phone(13).take(), [])
  assert.equal(caller.take().at(-1), '407')
})

test('serial: a silent target is passed over after the provisional timeout, a ringing one after the final timeout', () => {
  const timeouts = { provisionalTimeoutMs: 400, finalTimeoutMs: 5000 }
  start('INVITE', { forking: 'serial', targets: [target(11), target(12), target(13)], ...timeouts })
  phone(11).take()
  tick(400)
  const ringing = sentTo(12)
  answer(12, ringing, 180)
  tick(5000)
  assert.equal(sentTo(12).method, 'CANCEL')
  answer(12, ringing, 487)
  answer(13, sentTo(13), 486)
  // Nobody waits for the target that has never said a word.
  assert.deepEqual(caller.take(), ['100', '180', '486'])
  assert.deepEqual([done, proxy.stats().contexts], [[undefined], 0])
})

test('nobody answers: 408 for an INVITE, silence for anything else (RFC 4320)', () => {
  start('INVITE', {})
  start('MESSAGE', {}, { branch: 'z9hG4bK2', callId: '2' })
  // One tick after another, as each repeat sets the next timer.
  for (let i = 0; i < 80; i++) tick(500)
  assert.equal(caller.take().includes('408'), true)
  assert.deepEqual(
    caller.take().filter(status => status !== '408'),
    [],
  )
  assert.deepEqual([done.length, proxy.stats().contexts], [2, 0])
})

test('Timer C: a target that rings too long is cancelled, and counts as 408', () => {
  start('INVITE', {})
  const invite = sentTo(11)
  answer(11, invite, 180)
  tick(170_000)
  answer(11, invite, 180)
  tick(170_000)
  assert.deepEqual(phone(11).take(), [])
  tick(10_000)
  assert.deepEqual(phone(11).take(), ['CANCEL'])
  answer(11, invite, 487)
  assert.equal(caller.take().at(-1), '408')
})

test('CANCEL: 200 at once, the branches are cancelled, 487 when they have ended', () => {
  start('INVITE', { targets: [target(11), target(12)] })
  const [one, two] = [sentTo(11), sentTo(12)]
  answer(11, one, 180)
  caller.take()
  receive(requestText('CANCEL', { more: ['Reason: SIP;cause=486'] }), caller)
  assert.deepEqual(caller.take(), ['200'])
  assert.equal(sentTo(11).get('Reason'), 'SIP;cause=486')
  answer(11, one, 487)
  answer(12, two, 486)
  assert.deepEqual(caller.take(), ['487'])
  assert.deepEqual(done, [undefined])
})

test('CANCEL that a 2xx overtakes: the 2xx is not lost', () => {
  start('INVITE', {})
  const invite = sentTo(11)
  answer(11, invite, 180)
  caller.take()
  receive(requestText('CANCEL'), caller)
  answer(11, invite, 200)
  assert.deepEqual(caller.take(), ['200', '200'])
})

test('CANCEL of an INVITE that nobody ever answers: 487 in the end', () => {
  start('INVITE', {})
  receive(requestText('CANCEL'), caller)
  for (let i = 0; i < 70; i++) tick(500)
  assert.equal(caller.take()[2], '487')
  assert.equal(proxy.stats().contexts, 0)
})

test('redirects are followed when asked, each contact once and by q; they may not choose a flow', () => {
  const contact: [string, string] = [
    'Contact',
    `<${target(12)};fl=${phone(13).id}>;q=0.2, <${target(13)}>;q=0.9, <${target(11)}>`,
  ]
  start('INVITE', { forking: 'serial', followRedirects: true })
  answer(11, sentTo(11), 302, [contact])
  answer(13, sentTo(13), 486)
  const last = sentTo(12)
  assert.equal(last.uri, target(12))
  answer(12, last, 404)
  assert.equal(caller.take().at(-1), '486')

  start('INVITE', {}, { branch: 'z9hG4bK2', callId: '2' })
  phone(11).sent.splice(0, phone(11).sent.length - 1)
  answer(11, sentTo(11), 302, [contact])
  assert.equal(caller.take().at(-1), '302')
})

test('what can not be sent: 430 for a lost flow, 500 for the unreachable, the bad URI and 503; the next target is tried', async () => {
  start('INVITE', { targets: [`${target(11)};fl=gone`] })
  await settled()
  start('INVITE', { targets: ['sip:b@192.0.2.77'] }, { branch: 'z9hG4bK2', callId: '2' })
  await settled()
  start('INVITE', { targets: ['nonsense'] }, { branch: 'z9hG4bK3', callId: '3' })
  assert.deepEqual(caller.take(), ['100', '430', '100', '500', '100', '500'])
  assert.match(done[2]!, /^error proxying request to nonsense/)
  start('INVITE', { forking: 'serial', targets: ['sip:b@192.0.2.77', target(11)] }, { branch: 'z9hG4bK4', callId: '4' })
  await settled()
  answer(11, sentTo(11), 503)
  assert.deepEqual(caller.take(), ['100', '500'])
})

/** A call through the proxy with Record-Route; returns what each side knows. */
function call(to: string) {
  start('INVITE', { targets: [to], recordRoute: true })
  const flow = flows.find(f => f.sent.some(m => m.isRequest))!
  const invite = flow.sent.shift()!
  const response = createResponse(invite, 200)
  response.set('To', `${response.get('To')};tag=t`)
  for (const route of invite.getAll('Record-Route')) response.append('Record-Route', route)
  receive(response.toBuffer(), flow)
  const ok = caller.sent.at(-1)!
  caller.take()
  onRequest = transaction => proxy.forward(transaction)
  return { flow, routes: invite.getAll('Record-Route'), callerRoutes: ok.getAll('Record-Route').reverse() }
}

const within = (routes: string[], uri: string, more: object = {}) => ({
  uri,
  toTag: 't',
  sequence: 2,
  branch: 'z9hG4bKbye',
  more: routes.map(route => `Route: ${route}`),
  ...more,
})

test('Record-Route once where both sides see the same address; ACK and BYE pass in both directions', () => {
  const { flow, routes, callerRoutes } = call(target(11))
  assert.equal(routes.length, 1)
  assert.match(routes[0]!, /^<sip:d\.[^@]+@192\.0\.2\.1:5060;lr>$/)
  receive(requestText('ACK', within(callerRoutes, target(11), { sequence: 1 })), caller)
  const ack = sentTo(11)
  assert.deepEqual([ack.method, ack.uri, ack.has('Route'), ack.getAll('Via').length], ['ACK', target(11), false, 2])
  const bye = within(routes, 'sip:a@192.0.2.9', { fromTag: 't', toTag: 'a' })
  receive(requestText('BYE', bye), flow)
  assert.equal(caller.sent[0]!.method, 'BYE')
  answerFrom(caller, caller.sent[0]!, 200)
  assert.deepEqual(flow.take(), ['200'])
})

function answerFrom(flow: FakeFlow, request: SipMessage, status: number): void {
  receive(createResponse(request, status).toBuffer(), flow)
}

test('Record-Route twice between two transports; a browser is reached over its own connection, and 430 when it is gone', async () => {
  const browser = createFakeFlow({ protocol: 'ws', remote: '192.0.2.50', advertised: { host: '192.0.2.1', port: 80 } })
  flows.push(browser)
  const { flow, routes, callerRoutes } = call(`sip:b@x.invalid;transport=ws;fl=${browser.id}`)
  assert.equal(flow, browser)
  assert.equal(routes.length, 2)
  assert.match(routes[0]!, /:80;transport=ws;lr>$/)
  receive(requestText('BYE', within(callerRoutes, 'sip:b@x.invalid;transport=ws')), caller)
  assert.deepEqual(browser.take(), ['BYE'])
  browser.closed = true
  receive(requestText('BYE', within(callerRoutes, 'sip:b@x.invalid;transport=ws', { branch: 'z9hG4bKb2' })), caller)
  await settled()
  assert.equal(caller.take().at(-1), '430')
})

test('a strict router in the path: its rewriting is undone, and a strict next hop gets what it expects', () => {
  const { callerRoutes } = call(target(11))
  const own = /<([^>]+)>/.exec(callerRoutes[0]!)![1]!
  receive(requestText('BYE', within([`<${target(11)}>`], own)), caller)
  assert.equal(sentTo(11).uri, target(11))
  const strict = within([callerRoutes[0]!, '<sip:192.0.2.12>'], target(11), { branch: 'z9hG4bKs' })
  receive(requestText('BYE', strict), caller)
  const bye = sentTo(12)
  assert.deepEqual([bye.uri, bye.getAll('Route')], ['sip:192.0.2.12', [`<${target(11)}>`]])
})

test('no relay for strangers: a Route of ours by name only, of another dialog, or without a To tag is not followed', () => {
  const { callerRoutes } = call(target(11))
  const preloaded = ['<sip:192.0.2.1;lr>']
  for (const request of [
    within(preloaded, target(12)),
    within(callerRoutes, target(12), { callId: 'other' }),
    within(callerRoutes, target(12), { toTag: undefined }),
    within([callerRoutes[0]!.replace(/d\.../, 'd.AA')], target(12)),
  ]) {
    const message = readSip(requestText('BYE', request))
    assert.equal(proxy.isForUs(message), false)
  }
  receive(requestText('BYE', within(preloaded, target(12))), caller)
  assert.deepEqual([caller.take(), phone(12).take()], [['481'], []])
  // A phone that always puts its outbound proxy first is in its dialog all the same.
  assert.equal(proxy.isForUs(readSip(requestText('BYE', within([...preloaded, ...callerRoutes], target(11))))), true)
})

test('REGISTER with Path: requests to the phone later come back over its flow', () => {
  start('REGISTER', { recordRoute: true })
  const register = sentTo(11)
  assert.equal(register.get('Require'), 'path')
  const path = register.get('Path')!
  onRequest = transaction => proxy.forward(transaction)
  const request = { uri: 'sip:a@10.0.0.1', branch: 'z9hG4bKp', callId: 'p', more: [`Route: ${path}`] }
  receive(requestText('MESSAGE', request), phone(11))
  assert.equal(caller.sent.at(-1)!.method, 'MESSAGE')
})

test('for another node: by the flow that it names, once; and what that node does not hear later is given back', () => {
  const node = createPeerTokens('b-1', ['a secret of these nodes'], () => Date.now())
  const contact = 'Contact: <sip:a@192.0.2.9>'
  const user = node.mint('a-1', phone(12).id, readSip(requestText('INVITE', { more: [contact] })))
  const more = [contact, `Route: <sip:${user}@192.0.2.1;lr>`]
  const givenBack: string[] = []
  onRequest = transaction => {
    if (proxy.isForUs(transaction.request)) proxy.forward(transaction, () => givenBack.push(transaction.request.method))
  }
  receive(requestText('INVITE', { more, branch: 'z9hG4bKn1' }), caller)
  const invite = sentTo(12)
  assert.equal(invite.has('Route'), false)
  const [route] = invite.getAll('Record-Route')
  assert.match(route!, /sip:m\./)
  answer(12, invite, 200)
  assert.deepEqual(caller.take(), ['100', '200'])
  tick(timers.timeout)
  receive(requestText('INVITE', { more, branch: 'z9hG4bKn2' }), caller)
  assert.deepEqual(caller.take(), ['100', '403'])

  const info = requestText('INFO', { fromTag: 't12', toTag: 'a', sequence: 2, more: [`Route: ${route}`] })
  receive(info, phone(12))
  assert.deepEqual(caller.take(), ['INFO'])
  tick(3500)
  assert.deepEqual(givenBack, [])
  tick(600)
  assert.deepEqual(givenBack, ['INFO'])
  assert.equal(proxy.stats().contexts, 0)
})

test('closing leaves no context and no timer that acts', () => {
  start('INVITE', { targets: [target(11), target(12)], provisionalTimeoutMs: 100 })
  proxy.close()
  proxy.close()
  tick(100)
  assert.deepEqual([proxy.stats().contexts, done], [0, ['closing']])
})
