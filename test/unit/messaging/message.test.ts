import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Incoming } from '../../../src/calls/sip.ts'
import { Refusal } from '../../../src/errors.ts'
import { addressTo, headersFor, judge, readMessage } from '../../../src/messaging/message.ts'

const now = Date.UTC(2026, 0, 2)
const day = 86_400_000
const rules = { mostBytes: 20, keepDays: 7 }
const isOwn = (host: string) => host === 'home.test'
const mum = { user: 'mum', displayName: 'Mum' }

function request(headers: Record<string, string> = {}, body = 'hello', uri = 'sip:dad@home.test'): Incoming {
  const all: Record<string, string> = {
    From: '<sip:mum@home.test>;tag=1',
    'Call-ID': 'c1',
    CSeq: '7 MESSAGE',
    'Content-Type': 'text/plain',
    'Content-Length': String(Buffer.byteLength(body)),
    ...headers,
  }
  const message = { method: 'MESSAGE', uri, body, get: (name: string) => all[name], has: (name: string) => name in all }
  return message as unknown as Incoming
}
const read = (...args: Parameters<typeof request>) =>
  readMessage(request(...args), mum, 'sip:dad@home.test', rules, isOwn, now)

test('it ends after its own time, which begins at its Date, and after keepDays at the latest', () => {
  assert.equal(read().ends, now + 7 * day)
  assert.equal(read({ Expires: '60' }).ends, now + 60_000)
  assert.equal(read({ Expires: '9999999999' }).ends, now + 7 * day)
  assert.equal(read({ Expires: '60', Date: new Date(now - 20_000).toUTCString() }).ends, now + 40_000)
  assert.equal(read({ Expires: '60', Date: new Date(now + 20_000).toUTCString() }).ends, now + 60_000)
  assert.equal(read({ Expires: 'soon' }).ends, now + 7 * day)
})

test('what is worthless later is not for keeping', () => {
  assert.equal(read().fleeting, false)
  assert.equal(read({ Expires: '0' }).fleeting, true)
  assert.equal(read({ Expires: '60', Date: new Date(now - 60_000).toUTCString() }).fleeting, true)
  assert.equal(read({ 'Content-Type': 'application/im-iscomposing+xml; charset=utf-8' }).fleeting, true)
})

test('it refuses what is too long, no text, or of somebody else', () => {
  const status = (...args: Parameters<typeof request>) => {
    try {
      read(...args)
      return 0
    } catch (error) {
      assert.ok(error instanceof Refusal)
      return error.sipStatus
    }
  }
  assert.equal(status({}, 'ü'.repeat(10)), 0)
  assert.equal(status({}, 'ü'.repeat(11)), 413)
  assert.equal(status({ 'Content-Length': '4' }, '�'), 415)
  assert.equal(status({ From: '<sip:kid@home.test>;tag=1' }), 403)
  assert.equal(status({ From: '<sip:mum@elsewhere.test>;tag=1' }), 403)
  assert.equal(status({ Require: 'recipient-list-message' }), 420)
  assert.equal(status({ 'Max-Forwards': '0' }), 483)
})

test('a repetition has the same key, and with the same CSeq a device knows it also from another node', () => {
  const first = addressTo(read(), 'dad')
  const again = addressTo({ ...read(), at: now + 5000 }, 'dad')
  const afterChallenge = addressTo(read({ CSeq: '9 MESSAGE' }), 'dad')
  for (const { key } of [again, afterChallenge]) assert.equal(key, first.key)
  const idOf = (message: typeof first, device = 'urn:uuid:1') => headersFor(message, device, 'home.test')['Call-ID']
  assert.equal(idOf(again), idOf(first))
  assert.notEqual(idOf(first, 'urn:uuid:2'), idOf(first))
  assert.ok(again.id > first.id)
  for (const [headers, body, user] of [
    [{ 'Call-ID': 'c2' }, 'hello', 'dad'],
    [{}, 'hallo', 'dad'],
    [{}, 'hello', 'kid'],
  ] as const)
    assert.notEqual(addressTo(read(headers, body), user).key, first.key)
})

test('a device hears who wrote, to whom, when and for how long, and nothing of a hidden name', () => {
  const headers = headersFor(addressTo(read({ Expires: '60', 'Call-Info': '<http://x>' }), 'dad'), 'd', 'home.test')
  assert.match(headers['From']!, /^"Mum" <sip:mum@home\.test>;tag=\w{12}$/)
  assert.equal(headers['P-Asserted-Identity'], '"Mum" <sip:mum@home.test>')
  assert.equal(headers['To'], '<sip:dad@home.test>')
  assert.equal(headers['CSeq'], '1 MESSAGE')
  assert.equal(headers['Date'], 'Fri, 02 Jan 2026 00:00:00 GMT')
  assert.equal(headers['Expires'], '60')
  assert.equal(headers['Max-Forwards'], '69')
  assert.equal('Call-Info' in headers, false)
  const hidden = headersFor(addressTo(read({ Privacy: 'id' }), 'dad'), 'd', 'home.test')
  assert.equal(JSON.stringify(hidden).includes('mum'), false)
})

test('one device that has it is enough, and only what all refuse is refused', () => {
  assert.equal(judge([]), 'unreachable')
  assert.equal(judge([415, 202]), 'taken')
  assert.equal(judge([482]), 'taken')
  assert.equal(judge([415, 408]), 'unreachable')
  for (const status of [302, 405, 407, 408, 430, 480, 486, 503, 600]) assert.equal(judge([status]), 'unreachable')
  assert.deepEqual(judge([415, 493]), { refused: 415 })
  assert.deepEqual(judge([415, 603]), { refused: 603 })
})
