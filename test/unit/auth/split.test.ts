import assert from 'node:assert/strict'
import { test } from 'node:test'
import { splitCredentials } from '../../../src/auth/split.ts'

test('one credential stays whole, with its commas', () => {
  const one = 'Digest username="mum, \\"the\\" Digest x", realm="a", nonce="b,Digest c"'
  assert.deepEqual(splitCredentials(one), [one])
})

test('joined credentials are parted where a new scheme begins', () => {
  assert.deepEqual(splitCredentials('Digest realm="a", nonce="1",Digest realm="b", qop=auth,  Bearer abc'), [
    'Digest realm="a", nonce="1"',
    'Digest realm="b", qop=auth',
    'Bearer abc',
  ])
})
