import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createChoice } from '../../../src/auth/choice.ts'

const choice = () => createChoice({ config: { md5: true, md5Agents: ['baresip v1.'] } })
const fresh = { authorization: [], source: '192.0.2.1', callId: 'a' }

test('SHA-256 is offered first, then MD5', () => {
  assert.deepEqual(choice().offer(fresh), ['SHA-256', 'MD5'])
})

test('a phone that is known to give up at SHA-256 is offered MD5 alone', () => {
  assert.deepEqual(choice().offer({ ...fresh, userAgent: 'baresip v1.0.0 (x86_64/linux)' }), ['MD5'])
  assert.deepEqual(choice().offer({ ...fresh, userAgent: 'baresip v3.10.0' }), ['SHA-256', 'MD5'])
})

test('a phone that comes again without credentials is offered MD5 alone, another one is not', () => {
  const it = choice()
  it.offer(fresh)
  assert.deepEqual(it.offer(fresh), ['MD5'])
  assert.deepEqual(it.offer({ ...fresh, callId: 'b' }), ['SHA-256', 'MD5'])
  assert.deepEqual(it.offer({ ...fresh, source: '192.0.2.2' }), ['SHA-256', 'MD5'])
})

test('a wrong password keeps both on offer', () => {
  const it = choice()
  it.offer(fresh)
  assert.deepEqual(it.offer({ ...fresh, authorization: ['Digest x'] }), ['SHA-256', 'MD5'])
})

test('MD5 can be turned off for everybody', () => {
  const it = createChoice({ config: { md5: false, md5Agents: ['baresip'] } })
  assert.deepEqual(it.offer({ ...fresh, userAgent: 'baresip v1' }), ['SHA-256'])
  assert.deepEqual(it.accepted, ['SHA-256'])
})
