import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createFramer } from '../../../src/sip/engine/message/framer.ts'
import { ParseFailure, parseNameAddr, type SipMessage } from '../../../src/sip/engine/message/message.ts'
import { checkMessage, parseMessage } from '../../../src/sip/engine/message/parser.ts'
import { formatUri, parseUri } from '../../../src/sip/engine/message/uri.ts'
import { torture } from '../../data/torture/torture.ts'
import { limits } from '../../support/limits.ts'

/** Everything that reads a stranger's bytes; a failure other than ParseFailure fails the test. */
function readAll(bytes: Buffer): SipMessage | undefined {
  try {
    const message = parseMessage(bytes, limits)
    if (checkMessage(message) === undefined) {
      // After a clean check none of these may throw.
      void [message.via, message.from, message.to, message.cseq, message.callId, message.contacts, message.routes]
    }
    for (const [name] of message.headers()) message.getAll(name)
    return message
  } catch (error) {
    assert.ok(error instanceof ParseFailure, String(error))
    return undefined
  }
}

const valid = torture.filter(({ expect }) => expect === 'accept').map(({ bytes }) => bytes)

test('what is written and read again is the same message', () => {
  for (const bytes of valid) {
    const once = parseMessage(bytes, limits)
    const again = parseMessage(once.toBuffer(), limits)
    assert.deepEqual([...again.headers()].slice(0, [...once.headers()].length), [...once.headers()])
    assert.deepEqual(
      [again.method, again.uri, again.status, again.reason],
      [once.method, once.uri, once.status, once.reason],
    )
    assert.deepEqual(again.body, once.body)
    assert.deepEqual(again.toBuffer(), once.toBuffer())
  }
})

test('random bytes and damaged messages throw nothing but ParseFailure', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), bytes => void readAll(Buffer.from(bytes))),
    { numRuns: 300 },
  )
  const edit = fc.record({
    at: fc.nat(2000),
    cut: fc.nat(8),
    put: fc.constantFrom('"', '<', '>', ',', ';', '\\', '\r\n ', '%', '\n', '\0', '[', ':'),
  })
  const damaged = fc.tuple(fc.constantFrom(...valid), fc.array(edit, { minLength: 1, maxLength: 4 }))
  fc.assert(
    fc.property(damaged, ([bytes, edits]) => {
      let text = bytes.toString('latin1')
      for (const { at, cut, put } of edits)
        text = text.slice(0, at % text.length) + put + text.slice((at % text.length) + cut)
      const message = readAll(Buffer.from(text, 'latin1'))
      if (message !== undefined) assert.deepEqual(readAll(message.toBuffer())?.toBuffer(), message.toBuffer())
    }),
    { numRuns: 2000 },
  )
})

test('a stream gives the same messages however it is cut', () => {
  const sent = valid.map(bytes => parseMessage(bytes, limits).toBuffer())
  const stream = Buffer.concat(sent.flatMap(bytes => [bytes, Buffer.from('\r\n\r\n')]))
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 20 }), sizes => {
      const got: Buffer[] = []
      let pings = 0
      const framer = createFramer(limits, { onMessage: bytes => got.push(bytes), onPing: () => pings++ })
      for (let at = 0, i = 0; at < stream.length; at += sizes[i++ % sizes.length]!) {
        framer.push(Buffer.from(stream.subarray(at, at + sizes[i % sizes.length]!)))
      }
      assert.deepEqual(got, sent)
      assert.equal(pings, sent.length)
    }),
    { numRuns: 40, examples: [[[1]]] },
  )
})

test('a stream that can not be cut is refused, with what could be read', () => {
  const head = 'OPTIONS sip:a@b.example SIP/2.0\r\n'
  for (const rest of [
    'Content-Length: -1\r\n\r\n',
    'Content-Type: a/b\r\n\r\n',
    'l: 1\r\nl: 2\r\n\r\n',
    'l: 70000\r\n\r\n',
  ]) {
    const framer = createFramer(limits, { onMessage: () => assert.fail(), onPing: () => assert.fail() })
    const refused = (error: unknown) => error instanceof ParseFailure && error.partial?.method === 'OPTIONS'
    assert.throws(() => framer.push(Buffer.from(head + rest)), refused)
    assert.throws(() => framer.push(Buffer.from(head)), ParseFailure)
  }
  const endless = createFramer(limits, { onMessage: () => assert.fail(), onPing: () => assert.fail() })
  assert.throws(() => endless.push(Buffer.alloc(70000, 'x')), ParseFailure)
})

test('URIs and addresses survive being written', () => {
  for (const text of [
    'sip:a:b@[::1]:5060;lr;transport=tcp?x=y',
    'tel:+1-201;phone-context=x',
    'http://a/b',
    'sips:h.example',
  ]) {
    assert.equal(formatUri(parseUri(text)!), text)
  }
  assert.equal(parseNameAddr('sip:a@b;+sip.instance="<urn:x>"').params.get('+sip.instance'), '"<urn:x>"')
})

test('the time stays linear for nasty input', () => {
  const wide = { ...limits, messageBytes: 1 << 22, headerBytes: 1 << 22, uriBytes: 1 << 22 }
  const nasty = (piece: string, times: number) =>
    Buffer.from(
      `OPTIONS sip:a SIP/2.0\r\nVia: ${piece.repeat(times)}\r\nContact: ${piece.repeat(times)}\r\n\r\n`,
      'latin1',
    )
  const cpu = (bytes: Buffer, times: number) => {
    const begin = process.cpuUsage()
    for (let i = 0; i < times; i++) {
      try {
        const message = parseMessage(bytes, wide)
        checkMessage(message)
        message.getAll('contact')
        void message.contacts
      } catch (error) {
        assert.ok(error instanceof ParseFailure)
      }
    }
    return process.cpuUsage(begin).user
  }
  for (const piece of [',', '"', '<', ';', '\\"', ' ', '\r\n ', ' : ', ';a', '%', '<>,']) {
    const [long, short] = [nasty(piece, 32000), nasty(piece, 1000)]
    // The same bytes in one piece and in 32: a square would take 32 times as long. Taken side by side, so that whatever
    // else loads the machine slows both, and the middle of seven, so that one interruption decides nothing.
    const ratios = Array.from({ length: 7 }, () => cpu(long, 1) / Math.max(500, cpu(short, 32)))
    const middle = ratios.sort((a, b) => a - b)[3]!
    assert.ok(middle < 12, `${JSON.stringify(piece)} ${ratios}`)
  }
})
