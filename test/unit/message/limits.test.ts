import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Limits } from '../../../src/config/schema.ts'
import { createFramer } from '../../../src/sip/engine/message/framer.ts'
import { ParseFailure } from '../../../src/sip/engine/message/message.ts'
import { checkMessage, parseMessage } from '../../../src/sip/engine/message/parser.ts'
import { limits } from '../../support/limits.ts'

// Each limit by itself: what reaches it passes, what is one above it does not.

const sound = [
  'Via: SIP/2.0/UDP a.example;branch=z9hG4bK1',
  'From: <sip:a@b.example>;tag=1',
  'To: <sip:c@d.example>',
  'Call-ID: one',
  'CSeq: 1 OPTIONS',
  'Max-Forwards: 70',
]
const options = (more: string[] = [], uri = 'sip:d.example') =>
  Buffer.from([`OPTIONS ${uri} SIP/2.0`, ...sound, ...more, '', ''].join('\r\n'))
const many = (count: number, piece: (n: number) => string, glue: string) =>
  Array.from({ length: count }, (_, n) => piece(n)).join(glue)

function verdict(bytes: Buffer, own: Partial<Limits>): string {
  try {
    return checkMessage(parseMessage(bytes, { ...limits, ...own }))?.reason ?? 'sound'
  } catch (error) {
    assert.ok(error instanceof ParseFailure, String(error))
    return error.message
  }
}

const size = options().length
const uri = 'sip:someone@d.example'
const cases: { limit: keyof Limits; most: number; fits: Buffer; breaks: Buffer; says: RegExp }[] = [
  { limit: 'messageBytes', most: size, fits: options(), breaks: options(['A: b']), says: /^message too long$/ },
  { limit: 'headers', most: 7, fits: options(['A: b']), breaks: options(['A: b', 'A: b']), says: /^too many headers$/ },
  {
    limit: 'headerBytes',
    most: 50,
    fits: options([`A: ${'b'.repeat(47)}`]),
    breaks: options([`A: ${'b'.repeat(48)}`]),
    says: /^header too long$/,
  },
  {
    limit: 'headerBytes',
    most: 50,
    fits: options([`A: ${'b'.repeat(20)}\r\n ${'b'.repeat(20)}`]),
    breaks: options([`A: ${'b'.repeat(20)}\r\n ${'b'.repeat(20)}\r\n ${'b'.repeat(20)}`]),
    says: /^header too long$/,
  },
  {
    limit: 'uriBytes',
    most: uri.length,
    fits: options([], uri),
    breaks: options([], `${uri}s`),
    says: /^Request-URI too long$/,
  },
  {
    limit: 'uriBytes',
    most: uri.length,
    fits: options([`Route: <${uri}>`]),
    breaks: options([`Route: <${uri}s>`]),
    says: /malformed Route/,
  },
  {
    limit: 'parameters',
    most: 3,
    fits: options([], 'sip:d.example;a;b;c'),
    breaks: options([], 'sip:d.example;a;b;c;d'),
    says: /malformed Request-URI/,
  },
  {
    limit: 'parameters',
    most: 3,
    fits: options(['Contact: <sip:a@b>;a;b;c']),
    breaks: options(['Contact: <sip:a@b>;a;b;c;d']),
    says: /malformed contact/,
  },
  {
    limit: 'values',
    most: 5,
    fits: options([`Route: ${many(5, n => `<sip:r${n}>`, ', ')}`]),
    breaks: options([`Route: ${many(6, n => `<sip:r${n}>`, ', ')}`]),
    says: /too many route values/,
  },
  {
    limit: 'values',
    most: 5,
    fits: options(Array.from({ length: 5 }, (_, n) => `Record-Route: <sip:r${n}>`)),
    breaks: options(Array.from({ length: 6 }, (_, n) => `Record-Route: <sip:r${n}>`)),
    says: /too many record-route values/,
  },
  {
    limit: 'values',
    most: 5,
    fits: options([`Supported: ${many(5, n => `tag${n}`, ',')}`]),
    breaks: options([`Supported: ${many(6, n => `tag${n}`, ',')}`]),
    says: /too many supported values/,
  },
]

for (const { limit, most, fits, breaks, says } of cases) {
  test(`${limit}: ${says.source}`, () => {
    assert.equal(verdict(fits, { [limit]: most }), 'sound')
    assert.match(verdict(breaks, { [limit]: most }), says)
  })
}

test('messageBytes on a stream counts headers without an end, and the body before it comes', () => {
  const open = (own: Partial<Limits>) =>
    createFramer({ ...limits, ...own }, { onMessage: bytes => void got.push(bytes), onPing: () => {} })
  const got: Buffer[] = []
  const whole = options(['Content-Length: 10'])
  open({ messageBytes: whole.length + 10 }).push(Buffer.concat([whole, Buffer.alloc(10)]))
  assert.equal(got.length, 1)
  assert.throws(() => open({ messageBytes: whole.length + 9 }).push(whole), /too long/)
  assert.throws(() => open({ messageBytes: 100 }).push(Buffer.alloc(101, 'x')), /too long/)
})
