import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  contactFor,
  copyHeaders,
  hostPort,
  newCallId,
  newSequence,
  newTag,
  partChallenges,
  replaceLocalhost,
  setBody,
  spell,
  tagOf,
} from '../../../src/sip/engine/dialog/fill.ts'
import { createRequest } from '../../../src/sip/engine/message/message.ts'
import { createFakeFlow } from '../../support/fake-flow.ts'

const udp = createFakeFlow()
const tcp = createFakeFlow({ protocol: 'tcp', advertised: { host: 'pbx.example.org', port: 5080 } })
const six = createFakeFlow({ advertised: { host: '2001:db8::1', port: 5060 } })

test('localhost becomes the address that peers see; other hosts and names stay', () => {
  assert.equal(replaceLocalhost('from', '<sip:a@localhost>;tag=1', udp), '<sip:a@192.0.2.1:5060>;tag=1')
  assert.equal(replaceLocalhost('to', 'sip:localhost', udp), 'sip:192.0.2.1:5060')
  assert.equal(replaceLocalhost('from', '<sip:a@localhost:5070>', udp), '<sip:a@192.0.2.1:5070>')
  assert.equal(replaceLocalhost('from', '<sip:a@localhost>', six), '<sip:a@[2001:db8::1]:5060>')
  assert.equal(replaceLocalhost('from', '<sip:a@localhost:9>', six), '<sip:a@[2001:db8::1]:9>')
  for (const value of ['<sip:a@localhost.example.org>', '"localhost" <sip:a@b>', '<sip:localhost@b>', 'tel:+1'])
    assert.equal(replaceLocalhost('from', value, udp), value)
})

test('a Contact at localhost names the transport, unless it does already', () => {
  assert.equal(
    replaceLocalhost('contact', '<sip:a@localhost>;q=1', tcp),
    '<sip:a@pbx.example.org:5080;transport=tcp>;q=1',
  )
  assert.equal(replaceLocalhost('contact', '<sip:a@localhost:9;ob>', tcp), '<sip:a@pbx.example.org:9;transport=tcp;ob>')
  assert.equal(
    replaceLocalhost('contact', '<sip:a@localhost;transport=ws>', tcp),
    '<sip:a@pbx.example.org:5080;transport=ws>',
  )
  assert.equal(replaceLocalhost('contact', '<sip:a@localhost>', udp), '<sip:a@192.0.2.1:5060>')
})

test('our own Contact: the advertised address and, but for UDP, the transport', () => {
  assert.equal(contactFor(udp), '<sip:192.0.2.1:5060>')
  assert.equal(contactFor(tcp), '<sip:pbx.example.org:5080;transport=tcp>')
  assert.equal(contactFor(six), '<sip:[2001:db8::1]:5060>')
  assert.equal(hostPort({ host: '[::1]', port: 1 }), '[::1]:1')
})

test('the tag is a parameter of the header, not of a name or a URI', () => {
  assert.equal(tagOf('<sip:a@b>;tag=x;y'), 'x')
  assert.equal(tagOf('<sip:a@b> ; TAG=x'), 'x')
  assert.equal(tagOf('sip:a@b;tag=x'), 'x')
  assert.equal(tagOf('"a;tag=no" <sip:a@b;tag=no>'), undefined)
  assert.equal(tagOf('"a;tag=no" <sip:a@b>;tag=yes'), 'yes')
  assert.equal(tagOf(undefined), undefined)
})

test('tags, Call-IDs and first sequence numbers are random, also across pools', () => {
  const many = Array.from({ length: 2000 }, () => [newTag(), newCallId()]).flat()
  assert.equal(new Set(many).size, 4000)
  assert.match(many[0]!, /^[0-9a-f]{16}$/)
  assert.match(many[1]!, /^[0-9a-f]{24}$/)
  const sequences = Array.from({ length: 2000 }, newSequence)
  assert.ok(sequences.every(number => number > 0 && number <= 2 ** 24))
  assert.ok(new Set(sequences).size > 1900)
})

test('headers of the application are copied, but for those that are the engine’s', () => {
  const message = createRequest('INFO', 'sip:a@b')
  copyHeaders(
    message,
    [
      ['x-Mine', 'Kept'],
      ['cseq', '9 INFO'],
      ['VIA', 'SIP/2.0/UDP evil'],
      ['Route', '<sip:evil>'],
      ['Content-Length', '999'],
      ['Bad Name', 'x'],
      ['p-asserted-identity', '<sip:a@localhost>'],
      ['subject', 'a@localhost'],
    ],
    udp,
    new Set(['cseq']),
  )
  const lines = message.toBuffer().toString().split('\r\n').slice(1)
  assert.deepEqual(
    lines.filter(line => line !== '' && !line.startsWith('Content-Length')),
    ['x-Mine: Kept', 'P-Asserted-Identity: <sip:a@192.0.2.1:5060>', 'Subject: a@localhost'],
  )
})

test('header names are spelled as RFC 3261 does', () => {
  const names = ['call-id', 'CSEQ', 'www-authenticate', 'rack', 'min-se', 'session-expires', 'X-own-NAME']
  assert.deepEqual(names.map(spell), [
    'Call-ID',
    'CSeq',
    'WWW-Authenticate',
    'RAck',
    'Min-SE',
    'Session-Expires',
    'X-own-NAME',
  ])
})

test('joined challenges are parted at schemes, never within quotes or parameters', () => {
  const one = 'Digest realm="a, Digest b=\\"c", nonce="n", algorithm=SHA-256'
  const two = 'Digest realm="a", nonce="n", algorithm=MD5'
  assert.deepEqual(partChallenges(`${one},${two}`), [one, two])
  assert.deepEqual(partChallenges(one), [one])
  const message = createRequest('INFO', 'sip:a@b')
  copyHeaders(message, [['WWW-Authenticate', `${one},${two}`]], udp, new Set())
  assert.deepEqual(message.getAll('WWW-Authenticate'), [one, two])
})

test('Content-Type is guessed for SDP, kept when given, and else missed', () => {
  const sdp = createRequest('INVITE', 'sip:a@b')
  assert.equal(setBody(sdp, Buffer.from('v=0\r\n')), true)
  assert.equal(sdp.get('Content-Type'), 'application/sdp')
  const given = createRequest('INVITE', 'sip:a@b')
  given.append('Content-Type', 'text/plain')
  assert.equal(setBody(given, Buffer.from('v=0\r\n')), true)
  assert.deepEqual(given.getAll('Content-Type'), ['text/plain'])
  const empty = createRequest('BYE', 'sip:a@b')
  assert.equal(setBody(empty, Buffer.alloc(0)), true)
  assert.equal(empty.has('Content-Type'), false)
  assert.equal(setBody(createRequest('MESSAGE', 'sip:a@b'), Buffer.from('hello')), false)
})
