import assert from 'node:assert/strict'
import { it } from 'node:test'
import { createSealer, secretsOf } from '../../../src/cluster/seal.ts'

const [old, young] = ['an old secret of 24 chars', 'a new secret of 24 characters']

it('opens only what was sealed with the secret, for this place', () => {
  const sealer = createSealer([old])
  const sealed = sealer.seal('grüße', 'account|mum')
  assert.equal(sealer.open(sealed, 'account|mum'), 'grüße')
  assert.equal(sealer.open(sealed, 'account|dad'), undefined)
  assert.equal(createSealer([young]).open(sealed, 'account|mum'), undefined)
  assert.notEqual(sealer.seal('grüße', 'account|mum'), sealed)
  const changed = sealed.slice(0, -2) + (sealed.endsWith('AA') ? 'BB' : 'AA')
  for (const wrong of [changed, '', '.', 'x.y', sealed.slice(0, 20)]) {
    assert.equal(sealer.open(wrong, 'account|mum'), undefined)
  }
})

it('opens what an older secret has sealed, while it is named', () => {
  const sealed = createSealer([old]).seal('text', '')
  const both = createSealer([young, old])
  assert.equal(both.open(sealed, ''), 'text')
  assert.equal(createSealer([young]).open(both.seal('text', ''), ''), 'text')
  const anew = both.reseal(sealed, '') ?? ''
  assert.equal(createSealer([young]).open(anew, ''), 'text')
  assert.equal(both.reseal(anew, ''), undefined)
  assert.equal(both.reseal(sealed, 'elsewhere'), undefined)
})

it('refuses a secret that is missing or short', () => {
  for (const secrets of [[], [''], ['too short'], [young, 'too short']]) {
    assert.throws(() => createSealer(secrets), { code: 'bad-config', message: /24 characters/ })
  }
  assert.deepEqual(secretsOf({ secret: young, otherSecrets: [old, young] }), [young, old])
  assert.throws(() => secretsOf({ secret: young, otherSecrets: ['too short'] }), { code: 'bad-config' })
  const many = Array.from({ length: 8 }, (_, n) => `${n}${old}`)
  assert.throws(() => secretsOf({ secret: young, otherSecrets: many }), { code: 'bad-config', message: /7 secrets/ })
})
