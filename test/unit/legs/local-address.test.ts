import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressTowards } from '../../../src/media/legs/local-address.ts'
import type { LocalAddress } from '../../../src/network/interfaces.ts'

const own = (address: string, prefix: number, internal = false): LocalAddress => ({
  interface: internal ? 'lo' : 'eth0',
  address,
  family: address.includes(':') ? 6 : 4,
  netmask: '',
  prefix,
  internal,
  scope: 0,
})
const all = [
  own('127.0.0.1', 8, true),
  own('::1', 128, true),
  own('192.168.1.10', 24),
  own('10.8.0.1', 16),
  own('2001:db8:1::10', 64),
]

const cases: [peer: string, publicAddress: string, bind: string, announce: string][] = [
  ['127.0.0.1', '203.0.113.5', '127.0.0.1', '127.0.0.1'],
  ['::1', '', '::1', '::1'],
  ['192.168.1.77', '203.0.113.5', '192.168.1.10', '192.168.1.10'],
  ['::ffff:10.8.200.3', '', '10.8.0.1', '10.8.0.1'],
  ['2001:db8:1::99', '', '2001:db8:1::10', '2001:db8:1::10'],
  ['198.51.100.20', '203.0.113.5', '192.168.1.10', '203.0.113.5'],
  ['198.51.100.20', '', '192.168.1.10', '192.168.1.10'],
  ['172.16.3.4', '203.0.113.5', '192.168.1.10', '192.168.1.10'],
]
for (const [peer, publicAddress, bind, announce] of cases) {
  test(`${peer} is met at ${announce}${publicAddress === '' ? '' : ` with ${publicAddress} outside`}`, () => {
    assert.deepEqual(addressTowards(peer, all, publicAddress), { bind, announce })
  })
}

test('without any address there is none to give', () => {
  assert.equal(addressTowards('192.0.2.1', [], ''), undefined)
})
