import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createDtmf } from '../../../src/media/audio/dtmf.ts'
import { createLatch, latchWindowMs } from '../../../src/media/audio/latch.ts'
import { createOutgoing } from '../../../src/media/audio/outgoing.ts'
import { createPorts, parseRange } from '../../../src/media/audio/sockets.ts'

test('the place that signalling names is always believed, another one once and for a while only', () => {
  const latch = createLatch()
  latch.expect('10.0.0.1', 4000, 0)
  assert.equal(latch.judge('192.0.2.7', 5000, 100, false), 'moved')
  assert.equal(latch.judge('192.0.2.8', 5000, 200, false), 'foreign')
  assert.equal(latch.judge('192.0.2.7', 5000, 9000, false), 'same')
  assert.equal(latch.judge('10.0.0.1', 4000, 9001, false), 'moved')
  assert.deepEqual([latch.address, latch.port], ['10.0.0.1', 4000])
  assert.equal(latch.judge('192.0.2.7', 5000, 9002, false), 'foreign')
  assert.equal(latch.judge('192.0.2.9', 1, 9003, true), 'moved')
})

test('who was heard at the expected place is not robbed of it inside of the window', () => {
  const latch = createLatch()
  latch.expect('10.0.0.1', 4000, 0)
  assert.equal(latch.judge('10.0.0.1', 4000, 10, false), 'same')
  assert.equal(latch.judge('192.0.2.8', 5000, 20, false), 'foreign')
})

test('a phone behind a NAT that is first heard late is believed when its address is the expected one', () => {
  const latch = createLatch()
  latch.expect('10.0.0.1', 4000, 0)
  assert.equal(latch.judge('192.0.2.8', 4000, latchWindowMs + 1, false), 'foreign')
  assert.equal(latch.judge('10.0.0.1', 9999, latchWindowMs + 2, false), 'moved')
  assert.equal(latch.judge('10.0.0.1', 9998, latchWindowMs + 3, false), 'foreign')
})

test('a phone behind a NAT is believed at the address of its signalling, whoever was quicker', () => {
  const latch = createLatch()
  latch.expect('10.0.0.1', 4000, 0, '198.51.100.4')
  assert.equal(latch.judge('192.0.2.8', 4000, 1, false), 'moved')
  assert.equal(latch.judge('198.51.100.4', 31_000, latchWindowMs * 4, false), 'moved')
  assert.equal(latch.judge('192.0.2.8', 4000, latchWindowMs * 4, false), 'foreign')
})

test('the last packets of a place that signalling has left do not bring it back', () => {
  const latch = createLatch()
  latch.expect('10.0.0.1', 4000, 0)
  latch.judge('10.0.0.1', 4000, 10, false)
  latch.expect('10.0.0.2', 4000, 5000)
  assert.equal(latch.judge('10.0.0.1', 4000, 5010, false), 'foreign')
  assert.deepEqual([latch.address, latch.port], ['10.0.0.2', 4000])
  // The same words again open the window and keep what is known.
  latch.judge('192.0.2.8', 7, 5020, false)
  latch.expect('10.0.0.2', 4000, 20_000)
  assert.deepEqual([latch.address, latch.port], ['192.0.2.8', 7])
})

test('whatever is heard through a stream, its numbers step by one and its clock never goes back', () => {
  const step = fc.record({
    source: fc.nat(3),
    sequence: fc.nat(0xffff),
    timestamp: fc.nat(0xffffffff),
    pause: fc.nat(100_000),
    packets: fc.integer({ min: 1, max: 4 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), steps => {
      const out = createOutgoing(1, 8000)
      const sources = [{}, {}, {}, undefined]
      let now = 0
      let before: { sequence: number; timestamp: number } | undefined
      let last: object | undefined
      for (const { source, sequence, timestamp, pause, packets } of steps) {
        now += pause
        // Numbers of one source that go back are late packets: that is another test.
        if (sources[source] && sources[source] === last) continue
        last = sources[source]
        for (let i = 0; i < packets; i++, now += 20) {
          const from = sources[source]
          if (!from) out.emit(160, false, now)
          else assert.ok(out.forward(from, (sequence + i) & 0xffff, (timestamp + 160 * i) >>> 0, false, now))
          if (before) {
            assert.equal(out.sequence, (before.sequence + 1) & 0xffff)
            const ticks = (out.timestamp - before.timestamp) >>> 0
            assert.ok(ticks >= 160 && ticks <= 8 * (100_000 * 12 + 1000), `${ticks}`)
          }
          before = { sequence: out.sequence, timestamp: out.timestamp }
        }
      }
    }),
    { numRuns: 200 },
  )
})

test('stalls of the network that end in a burst do not put a stream ahead of real time for good', () => {
  const out = createOutgoing(1, 8000)
  let first: number | undefined
  let now = 0
  const say = () => {
    out.emit(160, false, now)
    first ??= out.timestamp
  }
  for (let round = 0; round < 20; round++) {
    say()
    now += 3000
    for (let i = 0; i < 149; i++) say()
  }
  // What was said after the last stall lies ahead of it by its own length only.
  const ahead = ((out.timestamp - first!) >>> 0) / 8 - now
  assert.ok(ahead >= 0 && ahead <= 3000, `${ahead} ms`)
})

test('pauses of a source that keeps its clock, as in DTX, are passed on as they are', () => {
  const out = createOutgoing(1, 48000)
  const source = {}
  out.forward(source, 1, 1000, true, 0)
  const first = out.timestamp
  out.forward(source, 2, 1000 + 48 * 30_000, false, 30_004)
  assert.equal((out.timestamp - first) >>> 0, 48 * 30_000)
  assert.equal(out.marker, false)
})

test('a digit amid sound of our own never lies after the sound that follows it', () => {
  const out = createOutgoing(1, 8000)
  for (const late of [0, 0.8, 12, 190, 5000]) {
    let now = 10_000 * (late + 1)
    out.emit(160, false, now)
    now += 20 + late
    out.emitEvent(true, now)
    const digit = out.timestamp
    out.emitEvent(false, now + 100)
    assert.equal(out.timestamp, digit)
    out.emit(160, false, now)
    assert.ok((out.timestamp - digit) >>> 0 < 8 * 200, `${(out.timestamp - digit) | 0} after a delay of ${late} ms`)
  }
})

test('a long event in two segments is one, and its length is that of both', () => {
  const digits: [string, number][] = []
  const dtmf = createDtmf(8000, (digit, ms) => digits.push([digit, ms]))
  const payload = (duration: number, end = false) => Buffer.from([9, end ? 0x80 : 0, duration >> 8, duration & 0xff])
  assert.equal(dtmf.receive(1, 500, payload(160), 0, 4, 0), true)
  assert.equal(dtmf.receive(2, 500, payload(0xffff), 0, 4, 8000), false)
  assert.equal(dtmf.receive(3, 500 + 0xffff, payload(160), 0, 4, 8020), false)
  assert.equal(dtmf.receive(4, 500 + 0xffff, payload(800, true), 0, 4, 8100), false)
  assert.equal(dtmf.receive(5, 500 + 0xffff, payload(800, true), 0, 4, 8100), false)
  assert.deepEqual(digits, [['9', Math.round((0xffff + 800) / 8)]])
  assert.equal(dtmf.receive(6, 99, Buffer.from([1, 2]), 0, 2, 9000), undefined)
})

test('a range of ports is read strictly, and ports in use are stepped over', async t => {
  assert.deepEqual(parseRange(' 45000-45999 '), { first: 45000, last: 45999 })
  for (const wrong of ['', '5', '9-8', '0-9', '1-70000', 'a-b']) {
    assert.throws(() => parseRange(wrong), { code: 'bad-config' })
  }
  const range = { first: 40_001, last: 40_006 }
  const [ours, others] = [createPorts(range, { random: () => 0 }), createPorts(range, { random: () => 0 })]
  const one = await others.openPair('127.0.0.1', 65536)
  const two = await ours.openPair('127.0.0.1', 65536)
  t.after(() => Promise.all([others.close(one.rtp, one.rtcp), ours.close(two.rtp, two.rtcp)]))
  assert.deepEqual([one.rtp.port, two.rtp.port, two.rtcp.port], [40_002, 40_004, 40_005])
  await assert.rejects(ours.openPair('127.0.0.1', 65536), { code: 'media-unavailable' })
})
