import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type Srf from 'drachtio-srf'
import { type EngineUnderTest, startEngineUnderTest } from '../support/engine.ts'
import { freePorts } from '../support/server.ts'
import { runSipp, startSipp } from '../support/sipp.ts'

// sipp through drachtio-srf's own proxyRequest and createB2BUA on the embedded engine: applications that were written for
// a drachtio-server must find what they know.

let engine: EngineUnderTest
let route: (req: Srf.SrfRequest, res: Srf.SrfResponse) => void

before(async () => {
  engine = await startEngineUnderTest({ t1: 500 })
  engine.srf.invite((req, res) => route(req, res))
})
after(() => engine?.close())

const remote = (transport: 'u1' | 't1') => `127.0.0.1:${transport === 'u1' ? engine.udp : engine.tcp}`

// Staying in the path: sipp sends ACK and BYE to where it sent the INVITE, so it must be there.
for (const [protocol, transport] of [
  ['udp', 'u1'],
  ['tcp', 't1'],
] as const) {
  test(`100 calls through proxyRequest over ${protocol}`, async t => {
    const callee = await startSipp({
      scenario: 'answer',
      remote: remote(transport),
      calls: 100,
      transport,
      seconds: 60,
    })
    t.after(() => callee.stop())
    const target = `sip:127.0.0.1:${callee.port};transport=${protocol}`
    route = req => engine.srf.proxyRequest(req, target, { recordRoute: true, remainInDialog: true }, () => {})
    const caller = await runSipp({
      scenario: 'plain-call',
      remote: remote(transport),
      calls: 100,
      rate: 20,
      transport,
      seconds: 60,
    })
    assert.deepEqual([caller.successful, caller.failed], [100, 0], caller.text)
    const answered = await callee.done
    assert.deepEqual([answered.successful, answered.failed], [100, 0], answered.text)
  })
}

test('a busy callee is told to the caller', async t => {
  const callee = await startSipp({ scenario: 'busy', remote: remote('u1'), calls: 20, seconds: 30 })
  t.after(() => callee.stop())
  route = req => engine.srf.proxyRequest(req, `sip:127.0.0.1:${callee.port}`, {}, () => {})
  const caller = await runSipp({
    scenario: 'refused-call',
    remote: remote('u1'),
    values: { STATUS: '486' },
    calls: 20,
    seconds: 30,
  })
  assert.deepEqual([caller.successful, caller.failed], [20, 0], caller.text)
})

test('serial forking goes on after a busy callee', async t => {
  const [busy, callee] = await Promise.all([
    startSipp({ scenario: 'busy', remote: remote('u1'), calls: 20, seconds: 30 }),
    startSipp({ scenario: 'answer', remote: remote('u1'), calls: 20, seconds: 30 }),
  ])
  t.after(() => {
    busy.stop()
    callee.stop()
  })
  const targets = [busy, callee].map(sipp => `sip:127.0.0.1:${sipp.port}`)
  route = req =>
    engine.srf.proxyRequest(req, targets, { forking: 'sequential', recordRoute: true, remainInDialog: true }, () => {})
  const caller = await runSipp({ scenario: 'plain-call', remote: remote('u1'), calls: 20, seconds: 30 })
  assert.deepEqual([caller.successful, caller.failed], [20, 0], caller.text)
})

test('a callee that never answers is 408', async () => {
  const [silent] = (await freePorts(1)) as [number]
  route = req => engine.srf.proxyRequest(req, `sip:127.0.0.1:${silent}`, {}, () => {})
  const caller = await runSipp({
    scenario: 'refused-call',
    remote: remote('u1'),
    values: { STATUS: '408' },
    seconds: 60,
  })
  assert.deepEqual([caller.successful, caller.failed], [1, 0], caller.text)
})

test('100 calls through createB2BUA', async t => {
  const callee = await startSipp({ scenario: 'answer', remote: remote('u1'), calls: 100, seconds: 60 })
  t.after(() => callee.stop())
  route = (req, res) => {
    engine.srf
      .createB2BUA(req, res, `sip:127.0.0.1:${callee.port}`, {})
      .then(({ uas, uac }) => {
        uas.on('destroy', () => uac.destroy())
        uac.on('destroy', () => uas.destroy())
      })
      .catch(() => {})
  }
  const caller = await runSipp({ scenario: 'plain-call', remote: remote('u1'), calls: 100, rate: 20, seconds: 60 })
  assert.deepEqual([caller.successful, caller.failed], [100, 0], caller.text)
})
