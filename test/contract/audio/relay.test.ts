import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { latchWindowMs } from '../../../src/media/audio/latch.ts'
import { startAudioHost } from '../../support/audio-host.ts'
import { createRtpPhone, isContinuous } from '../../support/rtp-phone.ts'

const key = (n: number) => Buffer.alloc(30, n).toString('base64')
const minutes = 60_000

async function pair(t: Parameters<typeof startAudioHost>[0], options?: Parameters<typeof startAudioHost>[1]) {
  const rig = startAudioHost(t, options)
  const [one, two] = [await rig.phone({ tone: 400 }), await rig.phone({ tone: 700 })]
  await rig.host.link(one.end, two.end)
  return { ...rig, one, two }
}

test('two phones hear each other, with the same bytes', async t => {
  const { one, two, events } = await pair(t)
  await Promise.all([one.phone.talk(25), two.phone.talk(25)])
  await Promise.all([one, two].map(({ phone }) => phone.until(() => phone.sounds().length === 25)))
  assert.ok(one.phone.share(700) > 0.9)
  assert.ok(two.phone.share(400) > 0.9)
  assert.ok(isContinuous(one.phone.heard) && isContinuous(two.phone.heard))
  assert.notEqual(two.phone.heard[0]!.ssrc, one.phone.ssrc)
  assert.equal(two.phone.heard[0]!.marker, true)
  assert.deepEqual(events.map(event => event.type).sort(), ['media', 'media'])
})

test('losses stay losses, and disorder stays disorder', async t => {
  const { one, two } = await pair(t)
  await one.phone.talk(20, { lose: i => i === 7, reorder: true })
  await two.phone.until(() => two.phone.sounds().length === 19)
  const numbers = two.phone.heard.map(packet => packet.sequence)
  const first = Math.min(...numbers)
  assert.ok(!numbers.includes(first + 7), 'the lost one is missing')
  assert.equal(new Set(numbers).size, numbers.length)
})

test('after a hold of twelve minutes the stream goes on where real time is', async t => {
  const { one, two, host, advance } = await pair(t)
  await one.phone.talk(5)
  await two.phone.until(() => two.phone.sounds().length === 5)
  await host.setPort(one.end, one.phone.remote({ direction: 'sendonly' }))
  advance(12 * minutes)
  await host.setPort(one.end, one.phone.remote())
  // Its own clock stood still meanwhile.
  await one.phone.talk(5)
  await two.phone.until(() => two.phone.sounds().length === 10)
  assert.ok(isContinuous(two.phone.heard))
  const [last, next] = [two.phone.heard[4]!, two.phone.heard[5]!]
  const passed = ((next.timestamp - last.timestamp) >>> 0) / 8
  assert.ok(Math.abs(passed - 12 * minutes) < 500, `${passed} ms`)
  assert.ok(next.marker)
})

test('a phone resumes from another port after each hold of twelve minutes, and its old port is nobody’s', async t => {
  const { one, two, host, advance, phone, counted } = await pair(t)
  const stranger = await phone()
  stranger.phone.aim(one.phone.target)
  for (let round = 1; round <= 3; round++) {
    await one.phone.talk(2)
    await two.phone.until(() => two.phone.sounds().length === 4 * round - 2)
    await host.setPort(one.end, one.phone.remote({ direction: 'sendonly' }))
    advance(12 * minutes)
    await one.phone.move()
    await host.setPort(one.end, one.phone.remote())
    await one.phone.talk(2)
    await two.phone.until(() => two.phone.sounds().length === 4 * round)
    await two.phone.talk(2)
    await one.phone.until(() => one.phone.sounds().length === 2 * round)
    advance(latchWindowMs)
    await stranger.phone.talk(2)
    await counted('dropped', 2 * round)
  }
  assert.ok(isContinuous(two.phone.heard))
  assert.equal((await host.stats()).packets.dropped, 6)
})

test('a phone that closes its port for a moment hears again when it is back', async t => {
  const { one, two, host, counted } = await pair(t)
  await Promise.all([one.phone.talk(2), two.phone.talk(2)])
  await one.phone.until(() => one.phone.sounds().length === 2)
  await one.phone.away(async () => {
    const taken = (await host.stats()).packets.in
    await two.phone.talk(5)
    await counted('in', taken + 5)
  })
  await two.phone.talk(3)
  await one.phone.until(() => one.phone.sounds().length === 5)
  await one.phone.talk(2)
  await two.phone.until(() => two.phone.sounds().length === 4)
})

test('another SSRC, a restart of the numbers and another linked phone are no jump for the listener', async t => {
  const { one, two, host, phone, advance } = await pair(t)
  await one.phone.talk(5)
  advance(100)
  one.phone.ssrc = 77
  one.phone.sequence = 40_000
  one.phone.timestamp = 3_000_000_000
  await one.phone.talk(5)
  advance(100)
  one.phone.sequence = 9
  one.phone.timestamp = 0
  await one.phone.talk(5)
  await two.phone.until(() => two.phone.sounds().length === 15)
  const third = await phone({ tone: 900, sequence: 60_000 })
  await host.link(third.end, two.end)
  advance(100)
  await third.phone.talk(5)
  await two.phone.until(() => two.phone.sounds().length === 20)
  assert.ok(isContinuous(two.phone.heard))
  const steps = two.phone.heard.slice(1).map((packet, i) => packet.timestamp - two.phone.heard[i]!.timestamp)
  assert.ok(
    steps.every(step => step >= 160 && step < 2000),
    `${steps}`,
  )
})

test('stragglers of an SSRC that has ended are not heard', async t => {
  const { one, two } = await pair(t)
  await one.phone.talk(3)
  const old = { ssrc: one.phone.ssrc, sequence: one.phone.sequence }
  one.phone.ssrc = 78
  await one.phone.talk(3)
  Object.assign(one.phone, old)
  await one.phone.talk(2)
  Object.assign(one.phone, { ssrc: 78, sequence: old.sequence + 3 })
  await one.phone.talk(1)
  await two.phone.until(() => two.phone.sounds().length === 7)
  assert.ok(isContinuous(two.phone.heard))
})

test('a phone whose packets come from elsewhere is answered there, inside of the window only', async t => {
  const { one, two, host, advance, counted } = await pair(t)
  await one.phone.move()
  await host.setPort(one.end, one.phone.remote({ port: 9 }))
  await one.phone.talk(3)
  await two.phone.until(() => two.phone.sounds().length === 3)
  await two.phone.talk(3)
  await one.phone.until(() => one.phone.sounds().length === 3)
  // Another move, past the window, is not believed until signalling comes.
  advance(latchWindowMs + 1)
  await one.phone.move()
  await one.phone.talk(3)
  await counted('dropped', 3)
  await host.setPort(one.end, one.phone.remote())
  await one.phone.talk(3)
  await two.phone.until(() => two.phone.sounds().length === 6)
  assert.equal((await host.stats()).packets.dropped, 3)
})

test('what a stranger sends to a phone’s port is dropped and counted', async t => {
  const { one, two, host, phone } = await pair(t)
  await one.phone.talk(2)
  await two.phone.until(() => two.phone.sounds().length === 2)
  const stranger = await phone({ tone: 1000 })
  stranger.phone.aim(one.phone.target)
  await stranger.phone.talk(5)
  await one.phone.talk(2)
  await two.phone.until(() => two.phone.sounds().length === 4)
  await two.phone.talk(2)
  await one.phone.until(() => one.phone.sounds().length === 2)
  assert.equal(stranger.phone.heard.length, 0)
  assert.equal((await host.stats()).packets.dropped, 5)
  assert.ok(two.phone.share(400) > 0.9)
})

test('a digit is reported once and passed on, also when its end packets are lost', async t => {
  const { one, two, host, events } = await pair(t)
  await host.setPort(two.end, two.phone.remote({ dtmf: { send: 96, receive: 96, clockRate: 16000 } }))
  await one.phone.talk(2)
  await one.phone.press('5', 200)
  await one.phone.talk(2)
  await one.phone.press('#', 100, 101, i => i === 3 || i === 4)
  await one.phone.press('A', 100, 101, i => i > 1)
  await one.phone.press('1', 100)
  await two.phone.until(() => two.phone.sounds(96).length === 7 + 3 + 2 + 5)
  const digits = events.flatMap(event => (event.type === 'dtmf' ? [[event.end, event.digit, event.ms]] : []))
  const expected = [['5', 200], ['#', 100], ['A', 100], ['1', 100]] // biome-ignore format: one table
  assert.deepEqual(
    digits,
    expected.map(([digit, ms]) => [one.end, digit, ms]),
  )
  const five = two.phone.sounds(96).slice(0, 7)
  assert.equal(new Set(five.map(packet => packet.timestamp)).size, 1)
  assert.equal(five[6]!.payload.readUInt16BE(2), 3200)
  assert.equal(five[6]!.payload[0], 5)
})

test('what a listener does not know leaves no hole in what it hears', async t => {
  const { one, two, host } = await pair(t)
  await host.setPort(one.end, one.phone.remote({ comfortNoise: 13 }))
  await host.setPort(two.end, two.phone.remote({ dtmf: undefined }))
  await one.phone.talk(2)
  await one.phone.press('5', 200)
  await one.phone.say(13, Buffer.from([60]))
  await one.phone.talk(2)
  await two.phone.until(() => two.phone.sounds().length === 4)
  assert.equal(two.phone.heard.length, 4)
  assert.ok(isContinuous(two.phone.heard))
  await host.setPort(two.end, two.phone.remote({ comfortNoise: 19 }))
  await one.phone.say(13, Buffer.from([61]))
  await two.phone.until(() => two.phone.sounds(19).length === 1)
})

test('PCMA is heard as PCMU by who wants that, without a mixer', async t => {
  const { one, two, host } = await pair(t)
  const pcma = { payloadType: 8, codec: 'PCMA', clockRate: 8000, channels: 1 } as const
  await host.setPort(one.end, one.phone.remote({ send: pcma, receive: [pcma] }))
  await one.phone.say(8, Buffer.alloc(160, 0xd5))
  await two.phone.until(() => two.phone.sounds().length === 1)
  assert.ok(two.phone.heard[0]!.payload.every(code => (code & 0x7f) > 0x7d))
  await two.phone.talk(1)
  await one.phone.until(() => one.phone.sounds(8).length === 1)
})

test('directions are kept to', async t => {
  const { one, two, host, counted } = await pair(t)
  await host.setPort(one.end, one.phone.remote({ direction: 'recvonly' }))
  await two.phone.talk(3)
  await one.phone.talk(3)
  await two.phone.until(() => two.phone.sounds().length === 3)
  assert.equal(one.phone.heard.length, 0)
  await host.setPort(one.end, one.phone.remote({ direction: 'inactive' }))
  await one.phone.talk(3)
  await counted('in', 9)
  await host.setPort(one.end, one.phone.remote())
  await two.phone.talk(3)
  await one.phone.until(() => one.phone.sounds().length === 3)
  assert.equal(two.phone.heard.length, 3)
})

for (const suite of ['AES_CM_128_HMAC_SHA1_80', 'AES_CM_128_HMAC_SHA1_32'] as const) {
  test(`${suite}: a phone with keys talks with one without, over the wrap of the sequence numbers`, async t => {
    const { phone, host } = startAudioHost(t)
    const srtp = { suite, send: key(1), receive: key(2) }
    const secure = await phone({ tone: 500, sequence: 65_530, srtp })
    const plain = await phone({ tone: 800 })
    await host.link(secure.end, plain.end)
    await secure.phone.talk(20)
    await plain.phone.until(() => plain.phone.sounds().length === 20)
    // The same keys again: the rollover counter is kept.
    await host.setPort(secure.end, secure.phone.remote())
    await Promise.all([secure.phone.talk(10), plain.phone.talk(10)])
    await plain.phone.until(() => plain.phone.sounds().length === 30)
    await secure.phone.until(() => secure.phone.sounds().length === 10)
    assert.equal(secure.phone.refused, 0)
    assert.ok(plain.phone.share(500) > 0.9 && secure.phone.share(800) > 0.9)
    const forged = Buffer.alloc(182, 0x80)
    await secure.phone.raw(forged)
    await secure.phone.talk(1)
    await plain.phone.until(() => plain.phone.sounds().length === 31)
    assert.equal((await host.stats()).packets.dropped, 1)
  })
}

for (const muxed of [false, true]) {
  test(`reports come ${muxed ? 'on the RTP port' : 'on a port of their own'} and tell what was lost`, async t => {
    const { phone, host, advance } = startAudioHost(t)
    const [one, two] = [await phone({}, { muxed }), await phone({}, { muxed })]
    await host.link(one.end, two.end)
    await one.phone.talk(20, { lose: i => i === 10 })
    await two.phone.until(() => two.phone.sounds().length === 19)
    advance(60_000)
    await Promise.all([one, two].map(end => end.phone.until(() => end.phone.reports.length > 0)))
    assert.equal(one.phone.reports[0]!.blocks[0]!.ssrc, one.phone.ssrc)
    assert.equal(one.phone.reports[0]!.blocks[0]!.lost, 1)
    assert.equal(two.phone.reports[0]!.ssrc, two.phone.heard[0]!.ssrc)
    assert.notEqual(two.phone.reports[0]!.senderTime, 0)
    await host.closeEnd(two.end)
    await two.phone.until(() => two.phone.reports.at(-1)!.bye)
  })
}

test('a phone that should send and does not is silent, and heard again', async t => {
  const { one, events, advance, counted } = await pair(t, { silentMs: 5000 })
  const types = () => events.flatMap(event => ('end' in event && event.end === one.end ? [event.type] : []))
  await one.phone.talk(1)
  await counted('in', 1)
  advance(6000)
  while (!types().includes('silent')) await new Promise(setImmediate)
  await one.phone.talk(1)
  while (types().length < 3) await new Promise(setImmediate)
  assert.deepEqual(types(), ['media', 'silent', 'media'])
})

test('an echo comes at once or later, in order', async t => {
  const { phone, host } = startAudioHost(t)
  const { phone: one, end } = await phone({ tone: 600 })
  await host.echo(end, 0)
  await one.talk(5)
  await one.until(() => one.sounds().length === 5)
  await host.echo(end, 150)
  const from = performance.now()
  await one.talk(5)
  await one.until(() => one.sounds().length === 10)
  assert.ok(one.heard[5]!.at - from >= 148)
  assert.ok(isContinuous(one.heard))
  assert.ok(one.share(600) > 0.9)
})

test('a description that no socket or cipher could follow is refused, and the port keeps what it had', async t => {
  const { one, two, host } = await pair(t)
  const srtp = { suite: 'AES_CM_128_HMAC_SHA1_80', send: key(1), receive: 'short' } as const
  const send = { ...one.phone.remote().send, payloadType: 200 }
  for (const wrong of [{ port: 70_000 }, { rtcpPort: -1 }, { address: 'phone.local' }, { srtp }, { send }]) {
    await assert.rejects(host.setPort(one.end, one.phone.remote(wrong)), { code: 'not-acceptable-here' })
  }
  await two.phone.talk(1)
  await one.phone.until(() => one.phone.sounds().length === 1)
})

test('phones on IPv6 are found however their address is written', async t => {
  const { host } = startAudioHost(t)
  const phones = [await createRtpPhone({ address: '::1' }), await createRtpPhone({ address: '::1' })]
  t.after(() => {
    for (const phone of phones) phone.close()
  })
  const ends: string[] = []
  for (const phone of phones) {
    const { end, ...ports } = await host.openPort('::1')
    phone.aim(ports)
    await host.setPort(end, phone.remote({ address: '0:0:0::0001' }))
    ends.push(end)
  }
  await host.link(ends[0]!, ends[1]!)
  await phones[0]!.talk(2)
  await phones[1]!.until(() => phones[1]!.sounds().length === 2)
})

test('strange packets neither pass nor do harm', async t => {
  const { one, two, host } = await pair(t)
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), fc.constantFrom(0x80, 0x90, 0xa0, 0xbf), async (bytes, head) => {
      const strange = Buffer.from([head, 0xff, ...bytes])
      await one.phone.raw(strange)
      one.phone.rawReport(Buffer.from([head, 200, ...bytes]))
    }),
    { numRuns: 100 },
  )
  await one.phone.talk(3)
  await two.phone.until(() => two.phone.sounds().length === 3)
  assert.equal(two.phone.heard.length, 3)
  assert.ok((await host.stats()).packets.dropped >= 100)
})

test('two hundred ports are opened and closed, and can all be used anew', async t => {
  // A few more than two hundred pairs, because other programs may have some: the second round needs those of the first.
  const { host } = startAudioHost(t, { rtpPorts: { first: 18_000, last: 18_459 } })
  for (let round = 0; round < 2; round++) {
    const opened = []
    for (let i = 0; i < 200; i++) opened.push(await host.openPort('127.0.0.1'))
    assert.ok(opened.every(({ rtpPort, rtcpPort }) => rtpPort % 2 === 0 && rtcpPort === rtpPort + 1))
    assert.equal(new Set(opened.map(({ rtpPort }) => rtpPort)).size, 200)
    await Promise.all(opened.map(({ end }) => host.closeEnd(end)))
    assert.equal((await host.stats()).ports, 0)
  }
})
