import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Refusal } from '../../../src/errors.ts'
import { createMemoryStore } from '../../../src/location/memory.ts'
import type { LocationStore } from '../../../src/location/store.ts'
import { ann, openRegistrar, register } from '../../support/registrar.ts'

const one = '<sip:ann@192.0.2.1>'
const phone = '<sip:ann@192.0.2.1>;+sip.instance="<urn:uuid:a>"'

function opened(now = 1_000_000_000_000) {
  const clock = { now }
  const store = createMemoryStore({ now: () => clock.now })
  return { clock, store, registrar: openRegistrar(store, clock) }
}

test('the 200 has a Date, what is supported, and the Path', async () => {
  const { registrar } = opened()
  const path = ['<sip:b;lr>', '<sip:a;lr>']
  const { status, headers } = await registrar.register(register([one], { path, supported: ['path'] }))
  assert.equal(status, 200)
  assert.deepEqual(headers, { Date: 'Sun, 09 Sep 2001 01:46:40 GMT', Path: path, Supported: 'path, outbound, gruu' })
})

test('Require: outbound tells that Outbound was applied', async () => {
  const { registrar } = opened()
  const supported = ['outbound']
  assert.equal(
    (await registrar.register(register([`${phone};reg-id=1`], { supported }))).headers['Require'],
    'outbound',
  )
  const through = await registrar.register(register([`${phone};reg-id=1`], { supported, cseq: 2, vias: 2 }))
  assert.equal(through.headers['Require'], undefined)
})

test('a binding keeps the way that its REGISTER came', async () => {
  const { registrar, clock } = opened()
  const path = ['<sip:edge;lr;ob>']
  const request = register([`${phone};reg-id=3;q=0.5`], { path, supported: ['path', 'outbound'], vias: 2, flow: 'f' })
  await registrar.register(request)
  clock.now += 5000
  await registrar.register({ ...request, cseq: 2, flow: 'g' })
  assert.deepEqual(await registrar.bindings(ann), [
    {
      aor: ann,
      contact: 'sip:ann@192.0.2.1',
      callId: 'call-1',
      cseq: 2,
      q: 0.5,
      expiresAt: clock.now + 1_800_000,
      path,
      flow: 'g',
      protocol: 'tcp',
      source: { address: '192.0.2.7', port: 5060 },
      userAgent: 'test phone',
      registeredAt: clock.now - 5000,
      updatedAt: clock.now,
      node: 'node-1',
      instance: 'urn:uuid:a',
      regId: 3,
    },
  ])
})

test('each change is told once, as what it was', async () => {
  const { registrar, clock } = opened()
  const told = () => registrar.facts.splice(0).map(([name, fact]) => [name, { ...fact }])
  const fact = (contact: string, renewed: boolean, expires = 1800) => [
    'registered',
    { aor: ann, contact, expires, protocol: 'tcp', source: '192.0.2.7:5060', renewed, userAgent: 'test phone' },
  ]
  const gone = (contact: string, why: string) => ['unregistered', { aor: ann, contact, why }]
  await registrar.register(register([one]))
  assert.deepEqual(told(), [fact('sip:ann@192.0.2.1', false)])
  await registrar.register(register([`${one};expires=60`], { cseq: 2 }))
  assert.deepEqual(told(), [fact('sip:ann@192.0.2.1', true, 60)])
  clock.now += 60_000
  await registrar.register(register(['<sip:ann@192.0.2.2>;+sip.instance="<urn:uuid:a>"'], { cseq: 3 }))
  assert.deepEqual(told(), [gone('sip:ann@192.0.2.1', 'expired'), fact('sip:ann@192.0.2.2', false)])
  await registrar.register(register([phone], { cseq: 4 }))
  assert.deepEqual(told(), [gone('sip:ann@192.0.2.2', 'replaced'), fact('sip:ann@192.0.2.1', false)])
  await registrar.register(register([`${one};expires=0`], { cseq: 5 }))
  assert.deepEqual(told(), [gone('sip:ann@192.0.2.1', 'requested')])
  await registrar.register(register([one, `${one};expires=0`], { cseq: 6 }))
  assert.deepEqual(told(), [])
  await registrar.register(register([], { cseq: 7 }))
  assert.deepEqual(told(), [])
})

test('an operator takes away one contact or all', async () => {
  const { registrar } = opened()
  await registrar.register(register([one, '<sip:ann@192.0.2.2>', '<sip:ann@192.0.2.3>']))
  registrar.facts.length = 0
  assert.equal(await registrar.remove(ann, 'sip:ann@192.0.2.2'), 1)
  assert.equal(await registrar.remove(ann, 'sip:nobody@192.0.2.2'), 0)
  assert.equal(await registrar.remove(ann), 2)
  assert.equal(await registrar.count(), 0)
  assert.deepEqual(
    registrar.facts.map(([, fact]) => 'why' in fact && fact.why),
    ['removed', 'removed', 'removed'],
  )
})

test('a store that fails or always moves is a 503, and the next request has its turn', async () => {
  const { registrar, store, clock } = opened()
  const moving: LocationStore = { ...store, save: () => false }
  const busy = openRegistrar(moving, clock)
  await assert.rejects(busy.register(register([one])), { sipStatus: 503, headers: { 'Retry-After': '1' } })
  let broken = true
  const failing: LocationStore = {
    ...store,
    load(aor) {
      if (broken) throw new Refusal('store-unavailable')
      return store.load(aor)
    },
  }
  const again = openRegistrar(failing, clock)
  const both = [again.register(register([one])), again.register(register([one], { callId: 'b' }))]
  assert.deepEqual(
    (await Promise.allSettled(both)).map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  broken = false
  assert.equal((await again.register(register([one]))).contacts.length, 1)
  assert.equal((await registrar.register(register([]))).contacts.length, 1)
})
