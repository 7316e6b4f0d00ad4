import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { conflicts, tieBreak } from '../../../src/discovery/conflict.ts'
import { answer, hostRecords, inPackets } from '../../../src/discovery/records.ts'
import { serviceRecords } from '../../../src/discovery/services.ts'
import { onLink, placesOf } from '../../../src/discovery/subnet.ts'

const host = 'vaartha.local'
const own = hostRecords(host, [{ address: '10.0.0.1', family: 4 }])
const sip = { type: 'sip', protocol: 'udp', port: 5060, txt: { node: 'a' }, subtypes: ['home'] } as const
const records = [...own, ...serviceRecords(sip, 'vaartha-abc', host)]
const ask = (name: string, type: string) => [{ name, type, unicast: false }]
const brief = (list: readonly { name: string; type: string }[]) => list.map(r => `${r.type} ${r.name}`)
const a = (data: string, ttl = 120) => ({ name: host, type: 'A', ttl, data })

describe('answers', () => {
  it('gives the address, and denies the family that is missing', () => {
    const set = answer(ask('VAARTHA.local', 'A'), records)
    assert.deepEqual(brief(set.answers), ['A vaartha.local'])
    assert.deepEqual(brief(set.additionals), ['NSEC vaartha.local'])
    assert.deepEqual(brief(answer(ask(host, 'AAAA'), records).answers), ['NSEC vaartha.local'])
  })
  it('sends with a service all that leads to it', () => {
    const set = answer(ask('_sip._udp.local', 'PTR'), records)
    assert.deepEqual(brief(set.answers), ['PTR _sip._udp.local'])
    const types = set.additionals.map(r => r.type).sort()
    assert.deepEqual(types, ['A', 'NSEC', 'SRV', 'TXT'])
    assert.equal(answer(ask('_home._sub._sip._udp.local', 'PTR'), records).answers.length, 1)
    assert.equal(answer(ask('_services._dns-sd._udp.local', 'PTR'), records).answers.length, 1)
  })
  it('keeps silent about strangers', () => {
    assert.deepEqual(answer(ask('other.local', 'ANY'), records), { answers: [], additionals: [] })
  })
  it('leaves out what the asker knows for half its life yet', () => {
    assert.equal(answer(ask(host, 'A'), records, [a('10.0.0.1', 60)]).answers.length, 0)
    assert.equal(answer(ask(host, 'A'), records, [a('10.0.0.1', 59)]).answers.length, 1)
    assert.equal(answer(ask(host, 'A'), records, [a('10.0.0.9', 120)]).answers.length, 1)
  })
  it('lists no address of the machine with a service', () => {
    assert.ok(serviceRecords(sip, 'x', host).every(r => r.type !== 'A' && r.type !== 'AAAA'))
  })
  it('splits what is too long for one packet', () => {
    const packets = inPackets(records, 150)
    assert.ok(packets.length > 1)
    assert.deepEqual(packets.flat(), records)
  })
})

describe('conflicts', () => {
  it('sees another address as one, and the same or a goodbye as none', () => {
    assert.ok(conflicts(own, a('10.0.0.9'), false))
    assert.ok(!conflicts(own, a('10.0.0.1'), false))
    assert.ok(!conflicts(own, a('10.0.0.9', 0), false))
  })
  it('takes any type of the name for one while probing only', () => {
    const other = { name: host, type: 'AAAA', ttl: 120, data: 'fd00::9' }
    assert.ok(conflicts(own, other, true))
    assert.ok(!conflicts(own, other, false))
  })
  it('breaks a tie by the later data, and by the longer list', () => {
    assert.ok(tieBreak([a('10.0.0.1')], [a('10.0.0.2')]) < 0)
    assert.ok(tieBreak([a('10.0.0.200')], [a('10.0.0.99')]) > 0)
    assert.equal(tieBreak([a('10.0.0.1')], [a('10.0.0.1')]), 0)
    const aaaa = { name: host, type: 'AAAA', ttl: 120, data: 'fd00::1' }
    assert.ok(tieBreak([aaaa, a('10.0.0.1')], [a('10.0.0.1')]) > 0)
  })
})

describe('links', () => {
  const local = (name: string, address: string, internal = false) => ({
    ...{ interface: name, address, internal, prefix: 24, netmask: '255.255.255.0', scope: 0 },
    family: 4 as const,
  })
  const all = [local('lo', '127.0.0.1', true), local('eth0', '10.1.0.1'), local('eth0', '10.1.9.1')]
  it('opens one socket for each family of a real interface', () => {
    assert.deepEqual(placesOf(all), [{ interface: 'eth0', family: 4, address: '10.1.0.1' }])
  })
  it('hears only those whose subnet is on the interface', () => {
    const place = placesOf(all)[0]!
    assert.ok(onLink('10.1.0.200', place, all))
    assert.ok(onLink('10.1.9.2', place, all))
    assert.ok(!onLink('10.2.0.1', place, all))
  })
})
