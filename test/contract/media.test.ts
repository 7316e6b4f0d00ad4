import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { startMediaOverNats } from '../support/media-nats.ts'
import {
  createLegEars,
  createSdpPhone,
  type SdpPhone,
  startMedia,
  startMediaOverBus,
  type TestMedia,
} from '../support/media-room.ts'

// The media room through its seam alone, asked directly and from another node, with the real audio thread, and where
// browsers are, the real worker.

const ways: [string, () => Promise<TestMedia>][] = [
  ['here', startMedia],
  ['at another node, over a bus', startMediaOverBus],
  ['at another node, over NATS', startMediaOverNats],
]
for (const [where, start] of ways) describe(`phones, ${where}`, () => phones(start))

function phones(start: () => Promise<TestMedia>): void {
  let room: TestMedia
  // The audio thread shows nowhere but here.
  const threads: Worker[] = []
  const onWorker = (worker: Worker) => threads.push(worker)
  process.on('worker', onWorker)
  after(() => process.off('worker', onWorker))
  before(async () => {
    room = await start()
  })
  after(() => room.close())

  /** What a test has opened, whether it came to its end or not. */
  const opened: (() => unknown)[] = []
  afterEach(async () => {
    for (const close of opened.splice(0).toReversed()) await close()
    assert.equal(room.carries().rooms, 0)
  })
  const keep = (phone: SdpPhone, leg: string) =>
    opened.push(async () => {
      await room.media.release(leg)
      phone.rtp.close()
    })
  const talk = (phone: SdpPhone) => opened.push(phone.talk())

  /** A phone that has offered, and its leg. */
  async function caller(
    tone: number,
  ): Promise<{ phone: SdpPhone; leg: string; ears: ReturnType<typeof createLegEars> }> {
    const phone = await createSdpPhone({ tone })
    const ears = createLegEars()
    const { leg, sdp } = await room.media.allocate({
      profile: 'plain',
      towards: '127.0.0.1',
      offer: phone.sdp(),
      onEvent: ears.onEvent,
    })
    phone.take(sdp)
    keep(phone, leg)
    return { phone, leg, ears }
  }

  /** A phone that was offered something, and has answered. */
  async function callee(tone: number) {
    const phone = await createSdpPhone({ tone })
    const ears = createLegEars()
    const streams = [{ kind: 'audio', direction: 'sendrecv', codecs: ['PCMU'] }] as const
    const { leg, sdp } = await room.media.allocate({
      profile: 'plain',
      towards: '127.0.0.1',
      streams,
      onEvent: ears.onEvent,
    })
    phone.take(sdp)
    await room.media.answer(leg, phone.sdp())
    keep(phone, leg)
    return { phone, leg, ears }
  }

  const heardOf = (phone: SdpPhone) => phone.rtp.sounds().slice(-25)

  test('two in a bridge hear each other, and tell of keys', async () => {
    const { media } = room
    const [one, other] = [await caller(400), await callee(900)]
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(one.leg, bridge)
    await media.join(other.leg, bridge)
    talk(one.phone)
    talk(other.phone)
    await one.phone.rtp.until(() => one.phone.rtp.sounds().length > 40, 4000)
    await other.phone.rtp.until(() => other.phone.rtp.sounds().length > 40, 4000)
    assert.ok(one.phone.rtp.share(900, heardOf(one.phone)) > 0.9)
    assert.ok(other.phone.rtp.share(400, heardOf(other.phone)) > 0.9)
    await one.phone.rtp.press('7', 120)
    const key = await one.ears.until(event => event.type === 'dtmf')
    assert.deepEqual(key, { type: 'dtmf', digit: '7', ms: 120 })
    assert.deepEqual(media.streams(one.leg), [{ kind: 'audio', direction: 'sendrecv', codecs: ['PCMU'] }])
    await media.release(one.leg)
    await media.release(other.leg)
    await assert.rejects(media.join(other.leg, bridge), { code: 'no-such-call' })
  })

  test('a held phone keeps its port, hears nothing, and hears again when it is resumed', async () => {
    const { media } = room
    const [one, other] = [await caller(400), await callee(900)]
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(one.leg, bridge)
    await media.join(other.leg, bridge)
    talk(other.phone)
    await one.phone.rtp.until(() => one.phone.rtp.sounds().length > 10, 4000)
    const { rtpPort } = one.phone.rtp.target
    const held = await media.accept(one.leg, one.phone.sdp('sendonly'))
    assert.match(held, /^a=recvonly/m)
    one.phone.take(held)
    assert.equal(one.phone.rtp.target.rtpPort, rtpPort)
    const silentSince = one.phone.rtp.sounds().length
    await other.phone.rtp.talk(10, { everyMs: 20 })
    assert.ok(one.phone.rtp.sounds().length - silentSince <= 2, 'packets to a held phone')
    one.phone.take(await media.accept(one.leg, one.phone.sdp('sendrecv')))
    await one.phone.rtp.until(() => one.phone.rtp.sounds().length > silentSince + 20, 4000)
  })

  test('a bad description leaves the leg as it was', async () => {
    const { media } = room
    const one = await caller(400)
    await assert.rejects(media.accept(one.leg, 'nonsense'), { name: 'Refusal' })
    await assert.rejects(media.accept(one.leg, one.phone.sdp().replace('RTP/AVP 0 101', 'RTP/AVP 77')), {
      code: 'not-acceptable-here',
    })
    assert.deepEqual(media.streams(one.leg), [{ kind: 'audio', direction: 'sendrecv', codecs: ['PCMU'] }])
  })

  test('each hears itself in an echo', async () => {
    const { media } = room
    const one = await caller(700)
    const echo = await media.open({ kind: 'echo', transient: true })
    await media.join(one.leg, echo)
    await one.phone.rtp.talk(40, { everyMs: 20 })
    assert.ok(one.phone.rtp.share(700, heardOf(one.phone)) > 0.9)
  })

  test('in a meeting of three each hears the others and not itself', async () => {
    const { media } = room
    const tones = [400, 900, 1500]
    const all = await Promise.all(tones.map(tone => caller(tone)))
    const meeting = await media.open({ kind: 'meeting', transient: true })
    for (const { leg } of all) await media.join(leg, meeting)
    for (const { phone } of all) talk(phone)
    await Promise.all(all.map(({ phone }) => phone.rtp.until(() => phone.rtp.sounds().length > 100, 6000)))
    for (const [index, { phone }] of all.entries()) {
      for (const [other, tone] of tones.entries()) {
        const share = phone.rtp.share(tone, heardOf(phone))
        if (other === index) assert.ok(share < 0.05, `${tones[index]} Hz hears itself: ${share}`)
        else assert.ok(share > 0.2, `${tones[index]} Hz does not hear ${tone} Hz: ${share}`)
      }
    }
  })

  test('two without a common codec hear each other all the same', async () => {
    const { media } = room
    const one = await caller(400)
    const other = await createSdpPhone({ tone: 900, payloadType: 8 })
    const alaw = (sdp: string) =>
      sdp.replace('RTP/AVP 0 101', 'RTP/AVP 8 101').replace('a=rtpmap:0 PCMU', 'a=rtpmap:8 PCMA')
    const { leg, sdp } = await media.allocate({ profile: 'plain', towards: '127.0.0.1', offer: alaw(other.sdp()) })
    other.take(sdp)
    keep(other, leg)
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(one.leg, bridge)
    await media.join(leg, bridge)
    talk(one.phone)
    await other.rtp.until(() => other.rtp.sounds(8).length > 25, 4000)
  })

  test('a phone with keys and one without hear each other, each in its own way', async () => {
    const { media } = room
    const { leg, sdp } = await media.allocate({ profile: 'plain', towards: '127.0.0.1', secure: true })
    const [, suite = '', key = ''] = /^a=crypto:\d+ (\S+) inline:([A-Za-z0-9+/=]+)/m.exec(sdp) ?? []
    assert.equal(suite, 'AES_CM_128_HMAC_SHA1_80')
    const own = randomBytes(30).toString('base64')
    const phone = await createSdpPhone({
      tone: 900,
      srtp: { suite: 'AES_CM_128_HMAC_SHA1_80', send: own, receive: key },
    })
    keep(phone, leg)
    phone.take(sdp)
    const crypto = `RTP/SAVP 0 101\r\na=crypto:1 ${suite} inline:${own}`
    await media.answer(leg, phone.sdp().replace('RTP/AVP 0 101', crypto))
    const other = await caller(400)
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(leg, bridge)
    await media.join(other.leg, bridge)
    talk(phone)
    talk(other.phone)
    for (const [one, hz] of [
      [phone, 400],
      [other.phone, 900],
    ] as const) {
      await one.rtp.until(() => one.rtp.sounds().length > 30, 4000)
      assert.ok(one.rtp.share(hz, heardOf(one)) > 0.9)
    }
    assert.equal(phone.rtp.refused, 0)
    // It keeps its keys in a later offer of ours.
    assert.ok((await media.offer(leg)).includes(key))
  })

  test('prompts are played to a leg and to a room, and end with them', async () => {
    const { media } = room
    const one = await caller(400)
    const played = await media.play({ leg: one.leg }, 'joined')
    await played.done
    assert.ok(one.phone.rtp.sounds().length > 5)
    const meeting = await media.open({ kind: 'meeting', transient: true })
    await media.join(one.leg, meeting)
    const before = one.phone.rtp.sounds().length
    const counted = await media.play({ room: meeting }, { count: 2 })
    await counted.done
    assert.ok(one.phone.rtp.sounds().length > before)
    const music = await media.play({ leg: one.leg }, 'hold', { loop: true })
    await media.release(one.leg)
    await music.done
  })

  test('a call is recorded, mixed and per speaker, and goes on afterwards', async () => {
    const { media } = room
    const directory = mkdtempSync(join(tmpdir(), 'vaartha-recording-'))
    opened.push(() => rmSync(directory, { recursive: true }))
    const [one, other] = [await caller(400), await callee(900)]
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(one.leg, bridge, { name: 'one' })
    await media.join(other.leg, bridge, { name: 'other' })
    talk(one.phone)
    talk(other.phone)
    const stopRecording = await media.record(bridge, { directory, name: 'call', perSpeaker: true })
    const { length } = one.phone.rtp.sounds()
    await one.phone.rtp.until(() => one.phone.rtp.sounds().length > length + 60, 5000)
    const files = await stopRecording()
    assert.deepEqual(files.map(file => file.speaker).sort(), ['', 'one', 'other'])
    for (const { file, seconds } of files) assert.ok(seconds > 0.5 && existsSync(join(directory, basename(file))), file)
    assert.deepEqual(await stopRecording(), files)
    const after = one.phone.rtp.sounds().length
    await one.phone.rtp.until(() => one.phone.rtp.sounds().length > after + 20, 5000)
  })

  test('a call goes on with new ports when the audio thread dies', async () => {
    const { media } = room
    const [one, other] = [await caller(400), await caller(900)]
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(one.leg, bridge)
    await media.join(other.leg, bridge)
    await threads.at(-1)!.terminate()
    for (const { phone, leg, ears } of [one, other]) {
      await ears.until(event => event.type === 'rebuilt')
      phone.take(await media.offer(leg))
      await media.answer(leg, phone.sdp())
    }
    talk(one.phone)
    await other.phone.rtp.until(() => other.phone.rtp.share(400, heardOf(other.phone)) > 0.9, 4000)
  })

  test('a hundred legs leave nothing', async () => {
    const { media } = room
    const phone = await createSdpPhone()
    const echo = await media.open({ kind: 'echo' })
    for (let round = 0; round < 2; round += 1) {
      const legs = await Promise.all(
        Array.from({ length: 50 }, () =>
          media.allocate({ profile: 'plain', towards: '127.0.0.1', offer: phone.sdp() }),
        ),
      )
      for (const { leg } of legs) await media.join(leg, echo)
      await Promise.all(legs.map(({ leg }) => media.release(leg)))
    }
    await media.shut(echo)
    phone.rtp.close()
    assert.equal(room.carries().ports, 0)
  })
}
