import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createMemoryStore } from '../../../src/location/memory.ts'
import { createGruus, digestCallId } from '../../../src/registrar/gruu.ts'
import { parseNameAddr, unquote } from '../../../src/sip/engine/message/message.ts'
import { parseUri } from '../../../src/sip/engine/message/uri.ts'
import { ann, openRegistrar, register } from '../../support/registrar.ts'

const instance = 'urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6'
const gruus = createGruus('example.org', Buffer.alloc(32, 1))

test('a public GRUU is the address with the instance, and leads back', () => {
  const uri = gruus.pub(ann, instance)
  assert.equal(uri, `sip:ann@example.org;gr=${instance}`)
  assert.deepEqual(gruus.resolve(uri), { aor: ann, instance })
  assert.deepEqual(gruus.resolve(`${uri};transport=tcp?x=y`), { aor: ann, instance })
  assert.deepEqual(gruus.resolve(uri.replace('sip:', 'SIP:').replace('example', 'Example'))?.instance, instance)
})

test('any instance makes a valid URI and comes back', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), text => {
      const uri = gruus.pub(ann, text)
      assert.notEqual(parseUri(uri), undefined)
      assert.equal(gruus.resolve(uri)?.instance, text.toWellFormed())
    }),
  )
})

test('a temporary GRUU shows nothing, is new with each salt, and leads back', () => {
  const uri = gruus.temp(ann, instance, 'call-1', '1')
  assert.notEqual(parseUri(uri), undefined)
  assert.doesNotMatch(uri, /ann@|uuid/)
  assert.deepEqual(gruus.resolve(uri), { aor: ann, instance, callIdDigest: digestCallId('call-1') })
  assert.equal(gruus.temp(ann, instance, 'call-1', '1'), uri)
  assert.notEqual(gruus.temp(ann, instance, 'call-1', '2'), uri)
})

test('a forged one leads nowhere', () => {
  const uri = gruus.temp(ann, instance, 'call-1', '1')
  const [, token = ''] = /tgruu\.([^@]+)/.exec(uri) ?? []
  const bytes = Buffer.from(token, 'base64url')
  for (let at = 0; at < bytes.length; at++) {
    const forged = Buffer.from(bytes)
    forged[at]! ^= 1
    assert.equal(gruus.resolve(uri.replace(token, forged.toString('base64url'))), undefined)
  }
  for (const wrong of ['', 'AAAA', token.slice(0, 20), `${token.slice(0, -4)}`, `${token}AAAA`]) {
    assert.equal(gruus.resolve(uri.replace(token, wrong)), undefined)
  }
  const others = createGruus('example.org', Buffer.alloc(32, 2))
  assert.equal(others.resolve(uri), undefined)
})

test('what is no GRUU of this domain leads nowhere', () => {
  for (const uri of [
    ann,
    'sip:ann@other.org;gr=x',
    'sip:example.org;gr=x',
    'sip:ann@example.org;gr',
    'tel:1;gr=x',
    '',
  ]) {
    assert.equal(gruus.resolve(uri), undefined)
  }
})

test('RFC 5627 section 5: a phone that knows GRUUs gets them, and they lead to its bindings only', async () => {
  const clock = { now: 1_000_000 }
  const registrar = openRegistrar(createMemoryStore({ now: () => clock.now }), clock)
  const mine = `<sip:ann@192.0.2.1>;+sip.instance="<${instance}>"`
  const answer = await registrar.register(register([mine], { supported: ['gruu'] }))
  await registrar.register(register(['<sip:ann@192.0.2.2>'], { callId: 'other' }))
  const { params } = parseNameAddr(answer.contacts[0]!)
  const [pub, temp] = ['pub-gruu', 'temp-gruu'].map(name => unquote(params.get(name) ?? ''))
  const reached = async (uri = '') => (await registrar.bindingsOfGruu(uri))?.map(({ contact }) => contact)
  assert.deepEqual([await reached(pub), await reached(temp)], [['sip:ann@192.0.2.1'], ['sip:ann@192.0.2.1']])
  assert.equal(await reached(ann), undefined)

  // Still good after a refresh, no longer after a registration with another Call-ID (RFC 5627 section 3.3).
  await registrar.register(register([mine], { cseq: 2 }))
  assert.deepEqual(await reached(temp), ['sip:ann@192.0.2.1'])
  await registrar.register(register([mine], { callId: 'new' }))
  assert.deepEqual([await reached(pub), await reached(temp)], [['sip:ann@192.0.2.1'], []])

  const plain = await registrar.register(register([mine], { callId: 'newer' }))
  assert.doesNotMatch(plain.contacts.join(), /gruu/)
})
