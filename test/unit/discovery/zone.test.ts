import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dnsmasqFile, type ZoneNode, zoneFile, zoneRecords } from '../../../src/discovery/zone.ts'

const ports = { udp: 5060, tcp: 5060, tls: 5061 }
const b: ZoneNode = { name: 'b', addresses: ['192.0.2.2'], priority: 20, ...ports }
const a: ZoneNode = { name: 'a', addresses: ['192.0.2.1', '2001:db8::1'], priority: 10, ...ports }
const options = { domain: 'example.org', nodes: [b, a], ttl: 10, trusted: false }
const short = (records: ReturnType<typeof zoneRecords>) => records.map(r => `${r.name} ${r.ttl} ${r.type} ${r.data}`)

test('the node of the lowest priority stands first, and TLS last while its certificate is our own', () => {
  assert.deepEqual(short(zoneRecords(options)), [
    'example.org 100 NAPTR 10 50 "s" "SIP+D2U" "" _sip._udp.example.org.',
    'example.org 100 NAPTR 20 50 "s" "SIP+D2T" "" _sip._tcp.example.org.',
    'example.org 100 NAPTR 30 50 "s" "SIPS+D2T" "" _sips._tcp.example.org.',
    '_sip._udp.example.org 100 SRV 10 1 5060 a.example.org.',
    '_sip._udp.example.org 100 SRV 20 1 5060 b.example.org.',
    '_sip._tcp.example.org 100 SRV 10 1 5060 a.example.org.',
    '_sip._tcp.example.org 100 SRV 20 1 5060 b.example.org.',
    '_sips._tcp.example.org 100 SRV 10 1 5061 a.example.org.',
    '_sips._tcp.example.org 100 SRV 20 1 5061 b.example.org.',
    'a.example.org 10 A 192.0.2.1',
    'a.example.org 10 AAAA 2001:db8::1',
    'b.example.org 10 A 192.0.2.2',
    'example.org 10 A 192.0.2.1',
    'example.org 10 AAAA 2001:db8::1',
    'example.org 10 A 192.0.2.2',
  ])
})

test('a certificate that phones trust puts TLS first, and a transport that is off is not named', () => {
  const records = short(zoneRecords({ ...options, trusted: true, nodes: [{ ...a, tcp: 0 }] }))
  assert.match(records[0]!, /NAPTR 10 50 "s" "SIPS\+D2T"/)
  assert.equal(records.filter(line => line.includes('_sip._tcp')).length, 0)
})

test('the files name every record once', () => {
  const records = zoneRecords(options)
  const zone = zoneFile(records, 'example.org', [b, a], 7)
  assert.match(zone, /^@ 3600 IN SOA a\.example\.org\. hostmaster\.example\.org\. 7 /m)
  assert.equal(zone.split('\n').filter(line => /\t(A|AAAA|SRV|NAPTR)\t/.test(line)).length, records.length)
  const lines = dnsmasqFile(records, 'example.org').split('\n')
  assert.ok(lines.includes('naptr-record=example.org,10,50,s,SIP+D2U,,_sip._udp.example.org'))
  assert.ok(lines.includes('srv-host=_sips._tcp.example.org,b.example.org,5061,20,1'))
  assert.ok(lines.includes('host-record=a.example.org,2001:db8::1'))
})
