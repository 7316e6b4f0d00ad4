import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createReception, parseRtcp, writeReport } from '../../../src/media/audio/rtcp.ts'
import { createRtpPacket, isRtcp, parseRtp, readLevel, writeHeader, writeLevel } from '../../../src/media/audio/rtp.ts'

test('a header that we write is read back, with and without the audio level', () => {
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.nat(127),
      fc.nat(0xffff),
      fc.nat(0xffffffff),
      fc.nat(0xffffffff),
      fc.integer({ min: 1, max: 14 }),
      fc.option(fc.nat(127)),
      (marker, payloadType, sequence, timestamp, ssrc, id, level) => {
        const bytes = Buffer.alloc(60)
        let start = writeHeader(bytes, marker, payloadType, sequence, timestamp, ssrc)
        if (level !== null) start = writeLevel(bytes, id, level)
        const packet = createRtpPacket()
        assert.ok(parseRtp(bytes, start + 20, packet))
        const { bytes: _, extension, extensionEnd, extensionProfile, ...rest } = packet
        assert.deepEqual(rest, { marker, payloadType, sequence, timestamp, ssrc, start, end: start + 20 })
        assert.equal(readLevel(packet, id), level ?? -1)
      },
    ),
    { numRuns: 100 },
  )
})

test('extensions with two-byte headers, CSRCs and padding are stepped over', () => {
  const bytes = Buffer.from(
    `b202000100000002000000031111111122222222${'10000002'}${'0501aa00'}${'07000000'}${'cafe'}${'000003'}`,
    'hex',
  )
  const packet = createRtpPacket()
  assert.ok(parseRtp(bytes, bytes.length, packet))
  assert.equal(readLevel(packet, 5), 0x2a)
  assert.equal(bytes.toString('hex', packet.start, packet.end), 'cafe')
})

test('strange bytes are refused or read, and never throw', () => {
  const packet = createRtpPacket()
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 90 }), fc.boolean(), (bytes, dressed) => {
      if (dressed && bytes.length > 1) bytes[0] = (bytes[0]! & 0x3f) | 0x80
      const buffer = Buffer.from(bytes)
      if (parseRtp(buffer, buffer.length, packet)) {
        assert.ok(packet.start <= packet.end && packet.end <= buffer.length)
        for (let id = 1; id < 16; id++) assert.ok(readLevel(packet, id) <= 127)
      }
      parseRtcp(buffer, buffer.length)
      isRtcp(buffer)
    }),
    { numRuns: 400 },
  )
})

test('a report of ours is read back', () => {
  const bytes = Buffer.alloc(200)
  const heard = { ssrc: 9, fraction: 12, lost: -3, highest: 70000, jitter: 33, lastReport: 77, delay: 88 }
  const sent = { timestamp: 160, packets: 5, octets: 800 }
  const length = writeReport(bytes, { ssrc: 4, cname: 'a', sent, heard, bye: true }, 1_700_000_000_500)
  assert.equal(length % 4, 0)
  const read = parseRtcp(bytes, length)
  // The middle 32 bits of the NTP time, which counts from 1900 (RFC 3550 section 4).
  const senderTime = ((1_700_000_000.5 + 2_208_988_800) * 65536) % 2 ** 32
  assert.deepEqual(read, { ssrc: 4, senderTime, blocks: [heard], bye: true })
  assert.equal(bytes[1], 200)
  assert.equal(writeReport(bytes, { ssrc: 4, cname: 'abc' }, 0) % 4, 0)
  assert.equal(bytes[1], 201)
})

test('loss and jitter of a source are counted as RFC 3550 says, over the wrap too', () => {
  const reception = createReception(1)
  for (let i = 0; i < 1000; i++) {
    if (i % 10 === 3) continue
    reception.heard((65000 + i) & 0xffff, i * 160, 8000, i * 20 + (i % 2) * 4)
  }
  assert.equal(reception.lost(), 100)
  assert.ok(Math.abs(reception.jitterMs() - 4) < 1)
  const block = reception.block(20_000)
  assert.equal(block.fraction, Math.floor(256 / 10))
  assert.equal(block.highest, 65999)
  assert.equal(reception.block(20_000).fraction, 0)
  reception.heard(30_000, 5, 8000, 30_000)
  assert.equal(reception.lost(), 0)
})
