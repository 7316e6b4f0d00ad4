import assert from 'node:assert/strict'
import { test } from 'node:test'
import { complete } from '../../../src/config/load.ts'
import { checkRoles } from '../../../src/media-node.ts'

const among = { name: 'm', secret: 'a secret of tests, long enough' }
const store = { redis: 'redis://192.0.2.9:6379' }

test('a node by itself does both, and one among others what it is told', () => {
  checkRoles(complete({}))
  for (const roles of [['media'], ['sip'], ['sip', 'media']])
    checkRoles(complete({ store, cluster: { ...among, roles } }))
})

const wrong: [name: string, config: object, words: RegExp][] = [
  ['no role', { cluster: { roles: [] } }, /is empty/],
  ['an unknown role', { cluster: { roles: ['sip', 'media', 'music'] } }, /no 'music'/],
  ['one role without others who have the other', { cluster: { roles: ['media'] } }, /by itself does both/],
  ['one role without a way to find others', { cluster: { ...among, roles: ['media'] } }, /store\.redis/],
  [
    'a FreeSWITCH that nobody can call',
    { store, cluster: { ...among, roles: ['media'] }, media: { mixer: 'freeswitch' } },
    /without the role sip/,
  ],
]

for (const [name, config, words] of wrong) {
  test(`refuses ${name}`, () => {
    assert.throws(() => checkRoles(complete(config)), { code: 'bad-config', message: words })
  })
}
