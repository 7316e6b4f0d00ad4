import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { listenInfos } from '../../../src/media/worker/listen-infos.ts'
import { portRange, shareOf } from '../../../src/media/worker/ports.ts'
import type { LocalAddress } from '../../../src/network/interfaces.ts'

const address = (text: string, internal = false): LocalAddress => ({
  interface: internal ? 'lo' : 'eth0',
  address: text,
  family: text.includes(':') ? 6 : 4,
  netmask: '',
  prefix: 24,
  internal,
  scope: 0,
})
const all = [address('127.0.0.1', true), address('192.0.2.5'), address('2001:db8::5'), address('198.51.100.5')]
const brief = (publicAddress: string) =>
  listenInfos(all, 44400, publicAddress)
    .filter(info => info.protocol === 'udp')
    .map(({ ip, announcedAddress }) => [ip, announcedAddress ?? ''])

describe('where a worker listens', () => {
  it('on UDP and TCP of every address, with those of the LAN first', () => {
    const infos = listenInfos(all, 44400, '')
    assert.deepEqual(
      infos.map(info => `${info.protocol} ${info.ip}`),
      ['192.0.2.5', '2001:db8::5', '198.51.100.5', '127.0.0.1'].flatMap(ip => [`udp ${ip}`, `tcp ${ip}`]),
    )
    assert.ok(infos.every(info => info.port === 44400))
  })

  it('announces the public address once, beside the first address of its family', () => {
    assert.deepEqual(brief('203.0.113.9'), [
      ['192.0.2.5', '203.0.113.9'],
      ['2001:db8::5', ''],
      ['198.51.100.5', ''],
      ['127.0.0.1', ''],
    ])
    assert.deepEqual(brief('2001:db8:1::1')[1], ['2001:db8::5', '2001:db8:1::1'])
    assert.deepEqual(brief('home.example.org')[0], ['192.0.2.5', 'home.example.org'])
    assert.ok(listenInfos(all, 1, '203.0.113.9').every(info => !info.announcedAddress || info.exposeInternalIp))
  })
})

describe('port ranges', () => {
  it('are two ports', () => {
    assert.deepEqual(portRange('46000-46999', 'x'), { min: 46000, max: 46999 })
    for (const wrong of ['', '1', '5-4', '0-4', '1-65536', 'a-b', '1-2-3'])
      assert.throws(() => portRange(wrong, 'x'), /^Refusal: x must/)
  })

  it('are shared without overlap', () => {
    const shares = [0, 1, 2].map(i => shareOf('46000-46010', i, 3))
    assert.deepEqual(shares, [
      { min: 46000, max: 46002 },
      { min: 46003, max: 46005 },
      { min: 46006, max: 46008 },
    ])
    assert.throws(() => shareOf('46000-46001', 0, 3), /fewer ports than/)
  })
})
