import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  bytes,
  createRequest,
  createResponse,
  formatNameAddr,
  type SipMessage,
  utf8,
} from '../../../src/sip/engine/message/message.ts'
import { parseMessage } from '../../../src/sip/engine/message/parser.ts'
import { limits } from '../../support/limits.ts'

function received(...lines: string[]): SipMessage {
  return parseMessage(Buffer.from(['OPTIONS sip:home.example SIP/2.0', ...lines, '', ''].join('\r\n')), limits)
}
const text = (message: SipMessage) => message.toBuffer().toString('latin1')
const again = (message: SipMessage) => parseMessage(message.toBuffer(), limits)

test('set takes the place of all lines of a name, in any spelling', () => {
  const message = received('v: SIP/2.0/UDP a.example', 'Route: <sip:r>', 'Via: SIP/2.0/UDP b.example', 'Subject: x')
  message.set('VIA', ['SIP/2.0/TCP c.example', 'SIP/2.0/TCP d.example'])
  assert.deepEqual(
    [...message.headers()],
    [
      ['VIA', 'SIP/2.0/TCP c.example'],
      ['VIA', 'SIP/2.0/TCP d.example'],
      ['Route', '<sip:r>'],
      ['Subject', 'x'],
    ],
  )
  assert.equal(message.via.host, 'c.example')
  message.set('Expires', '60')
  assert.equal([...message.headers()].at(-1)?.[0], 'Expires')
})

test('append goes behind the last of its name, prepend before the first', () => {
  const message = received('Route: <sip:b>', 'Subject: x')
  message.append('Route', '<sip:c>')
  message.prepend('Route', '<sip:a>')
  assert.deepEqual(
    message.routes.map(route => route.uriText),
    ['sip:a', 'sip:b', 'sip:c'],
  )
  message.prepend('Via', 'SIP/2.0/UDP a.example')
  message.prepend('Accept', 'a/b')
  assert.deepEqual(
    [...message.headers()].map(([name]) => name),
    ['Via', 'Route', 'Route', 'Route', 'Subject', 'Accept'],
  )
})

test('removeFirst takes one value, not a line, and the line with its last value', () => {
  const message = received('Route: <sip:a,b>;x=",", <sip:c>', 'Route: <sip:d>', 'Subject: one, two')
  for (const rest of [['<sip:c>', '<sip:d>'], ['<sip:d>'], [], []]) {
    message.removeFirst('Route')
    assert.deepEqual(message.getAll('route'), rest)
  }
  message.removeFirst('Subject')
  assert.equal(message.has('Subject'), false)
})

test('replaceFirst replaces one value, not a line, and adds where there is none', () => {
  const message = received('Via: SIP/2.0/UDP a.example , SIP/2.0/UDP b.example')
  message.replaceFirst('Via', 'SIP/2.0/UDP a.example;received=192.0.2.1')
  assert.equal(message.get('via'), 'SIP/2.0/UDP a.example;received=192.0.2.1, SIP/2.0/UDP b.example')
  assert.equal(message.vias().length, 2)
  message.replaceFirst('Subject', 'x')
  assert.equal(message.get('s'), 'x')
})

test('a changed header is read anew, and a copy changes alone', () => {
  const message = received('Via: SIP/2.0/UDP a.example', 'From: <sip:a@b>;tag=1', 'To: <sip:c@d>', 'CSeq: 1 OPTIONS')
  assert.deepEqual([message.fromTag, message.toTag, message.cseq.number], ['1', undefined, 1])
  const copy = message.clone()
  copy.set('To', '<sip:c@d>;tag=2')
  copy.set('CSeq', '7 OPTIONS')
  copy.prepend('Via', 'SIP/2.0/TCP new.example')
  assert.deepEqual([copy.toTag, copy.cseq.number, copy.via.transport], ['2', 7, 'TCP'])
  assert.deepEqual([message.toTag, message.cseq.number, message.via.transport], [undefined, 1, 'UDP'])
})

test('no text from above breaks out of its line', () => {
  const message = createRequest('OPTIONS\r\nX: 1', 'sip:a@b\r\nEvil: 1\0')
  message.uri = 'sip:\u010aEvil: 1 @b\u0100\r'
  const evil = 'a\r\nEvil: 1\r\n\r\nb\0c\u010d\u010aEvil: 2'
  message.set('Subject', evil)
  message.append('Subject', evil)
  message.prepend('Subject', evil)
  message.append('Accept', 'a/b, c/d')
  message.replaceFirst('Accept', evil)
  message.append('Evil\r\nEvil: 3', 'x')
  message.append('Ev\u010ail', 'x')
  const read = again(message)
  assert.equal(read.has('Evil'), false)
  assert.deepEqual(
    [...read.headers()].map(([name]) => name),
    ['Subject', 'Subject', 'Subject', 'Accept', 'Evil--Evil--3', 'Ev-il', 'Content-Length'],
  )
  assert.doesNotMatch(text(message), /[\0\u0100-\uffff]|[^\r]\n|\r[^\n]/)
  const response = createResponse(message, 486, 'Busy\r\nEvil: 1\u010a')
  assert.equal(again(response).has('Evil'), false)
  assert.equal(again(response).status, 486)
})

test('what a person writes is written as UTF-8, byte text as it is', () => {
  const message = createRequest('MESSAGE', 'sip:आशा@home.example')
  message.set('Subject', 'नमस्ते')
  message.set('Organization', bytes('Zoë'))
  message.set('From', formatNameAddr({ display: bytes('Zoë "Z"'), uriText: 'sip:z@home.example' }))
  const read = again(message)
  assert.equal(utf8(read.uri), 'sip:आशा@home.example')
  assert.equal(utf8(read.get('Subject')!), 'नमस्ते')
  assert.equal(utf8(read.get('Organization')!), 'Zoë')
  assert.equal(utf8(read.from.display!), 'Zoë "Z"')
})

test('a space in a Request-URI is escaped, because it would end it', () => {
  const message = createRequest('OPTIONS', 'sip:a b@home.example')
  assert.equal(message.uri, 'sip:a%20b@home.example')
})

test('a response repeats what ties it to its request', () => {
  const request = received(
    'Via: SIP/2.0/UDP a.example;branch=z9hG4bK1, SIP/2.0/UDP b.example',
    'v: SIP/2.0/TCP c.example',
    'From: "A" <sip:a@b>;tag=1',
    'To: <sip:c@d>',
    'Call-ID: one',
    'CSeq: 9 OPTIONS',
    'Timestamp: 5',
    'Subject: x',
    'Content-Length: 0',
  )
  const ok = again(createResponse(request, 200))
  assert.deepEqual([ok.status, ok.reason, ok.method, ok.uri], [200, 'OK', 'OPTIONS', ''])
  assert.deepEqual(ok.getAll('Via'), request.getAll('Via'))
  assert.deepEqual([ok.fromTag, ok.toTag, ok.callId, ok.cseq], ['1', undefined, 'one', request.cseq])
  assert.deepEqual([ok.has('Subject'), ok.has('Timestamp')], [false, false])
  assert.equal(createResponse(request, 100).get('Timestamp'), '5')
  assert.equal(createResponse(request, 499).reason, 'Request Failure')
  assert.equal(createResponse(request, 486, 'In Bed').reason, 'In Bed')
})
