import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createFrameReader, encodeFrame, FramingError } from '../../../src/sip/engine/wire/framing.ts'

function readAll(chunks: Buffer[], most = 1_000_000): string[] {
  const frames: string[] = []
  const reader = createFrameReader(payload => frames.push(payload.toString()), most)
  for (const chunk of chunks) reader.push(chunk)
  return frames
}

test('a frame counts bytes, not characters', () => {
  assert.equal(encodeFrame('a|ping').toString(), '6#a|ping')
  assert.equal(encodeFrame('é|x', Buffer.from('☎')).toString(), '9#é|x\r\n☎')
})

test('frames come out the same however the stream is cut', () => {
  const payloads = fc.array(fc.string({ minLength: 1, unit: 'grapheme' }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(payloads, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (texts, cuts) => {
      const stream = Buffer.concat(texts.map(text => encodeFrame(text)))
      const chunks: Buffer[] = []
      for (let at = 0, turn = 0; at < stream.length; turn++) {
        const size = cuts[turn % cuts.length]!
        chunks.push(stream.subarray(at, at + size))
        at += size
      }
      assert.deepEqual(readAll(chunks), texts)
    }),
    { numRuns: 200 },
  )
})

test('a frame of more than five digits of length is read', () => {
  const body = Buffer.alloc(150_000, 'x')
  assert.equal(readAll([encodeFrame('a', body)])[0]?.length, 150_003)
})

test('what is no frame is refused', () => {
  for (const bytes of ['#', '0#', 'x#', '-1#a', ' 5#hello', '9999999999999']) {
    assert.throws(() => readAll([Buffer.from(bytes)]), FramingError, bytes)
  }
})

test('a frame above the limit is refused before it is stored', () => {
  assert.throws(() => readAll([Buffer.from('1001#')], 1000), FramingError)
  assert.deepEqual(readAll([Buffer.from('3#abc')], 3), ['abc'])
})
