import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type Srf from 'drachtio-srf'
import { type EngineUnderTest, startEngineUnderTest } from '../../support/engine.ts'
import { createUdpPeer, type Peer, sipRequest, sipResponse, tagIn, unique } from '../../support/sip-peer.ts'

// An unmodified drachtio-srf that proxies between two phones, over loopback.

let server: EngineUnderTest
let caller: Peer
let callee: Peer
let results: Promise<unknown>

before(async () => {
  server = await startEngineUnderTest()
  caller = await createUdpPeer(server.udp)
  callee = await createUdpPeer(server.udp)
  const srf = server.srf as unknown as {
    invite(handler: (req: Srf.SrfRequest) => void): void
    options(handler: (req: Srf.SrfRequest, res: Srf.SrfResponse) => void): void
    proxyRequest(req: Srf.SrfRequest, target: string[], options: object): Promise<unknown>
  }
  const targets = [`sip:b@127.0.0.1:${callee.port}`]
  srf.invite(req => {
    results = srf.proxyRequest(req, targets, { recordRoute: true, remainInDialog: true, forking: 'simultaneous' })
  })
  srf.options((_req, res) => res.send(200))
  // Routes are known in the order they were asked for, so the first 200 means that both are.
  for (let status = 0; status !== 200; ) {
    caller.send(sipRequest({ method: 'OPTIONS', peer: caller, callId: unique() }))
    status = (await caller.wait(message => message.status >= 200)).status
  }
})

after(async () => {
  caller.close()
  callee.close()
  await server.close()
})

test('a call through the proxy: INVITE, 200, ACK and BYE, and the app hears the outcome', async () => {
  const callId = unique()
  caller.send(sipRequest({ method: 'INVITE', peer: caller, callId }))
  const invite = await callee.request('INVITE')
  const route = invite.header('Record-Route')
  assert.match(route, /;lr>/)
  callee.send(sipResponse(invite, 200, { tag: 'b', contact: callee.port, headers: [`Record-Route: ${route}`] }))
  const ok = await caller.status(200)
  assert.equal(tagIn(ok.header('To')), 'b')
  const within = {
    peer: caller,
    callId,
    toTag: 'b',
    uri: `sip:b@127.0.0.1:${callee.port}`,
    headers: [`Route: ${route}`],
  }
  caller.send(sipRequest({ method: 'ACK', ...within }))
  assert.equal((await callee.request('ACK')).header('Route'), '')
  await results
  caller.send(sipRequest({ method: 'BYE', sequence: 2, ...within }))
  callee.send(sipResponse(await callee.request('BYE'), 200))
  await caller.status(200)
  assert.equal(server.engine.stats().proxied, 0)
})
