import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createLegEars, createSdpPhone, type SdpPhone, startMedia, type TestMedia } from '../support/media-room.ts'

// The media room through its seam alone, with the real audio thread, and where browsers are, the real worker.

describe('phones', () => {
  let room: TestMedia
  before(async () => {
    room = await startMedia()
  })
  after(() => room.close())

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
    return { phone, leg, ears }
  }

  const heardOf = (phone: SdpPhone) => phone.rtp.sounds().slice(-25)

  test('two in a bridge hear each other, and tell of keys', async () => {
    const { media } = room
    const [one, other] = [await caller(400), await callee(900)]
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(one.leg, bridge)
    await media.join(other.leg, bridge)
    const stops = [one.phone.talk(), other.phone.talk()]
    await one.phone.rtp.until(() => one.phone.rtp.sounds().length > 40, 4000)
    await other.phone.rtp.until(() => other.phone.rtp.sounds().length > 40, 4000)
    await Promise.all(stops.map(stop => stop()))
    assert.ok(one.phone.rtp.share(900, heardOf(one.phone)) > 0.9)
    assert.ok(other.phone.rtp.share(400, heardOf(other.phone)) > 0.9)
    await one.phone.rtp.press('7', 120)
    const key = await one.ears.until(event => event.type === 'dtmf')
    assert.deepEqual(key, { type: 'dtmf', digit: '7', ms: 120 })
    assert.deepEqual(media.streams(one.leg), [{ kind: 'audio', direction: 'sendrecv', codecs: ['PCMU'] }])
    await media.release(one.leg)
    await media.release(other.leg)
    await assert.rejects(media.join(other.leg, bridge), { code: 'no-such-call' })
    for (const { phone } of [one, other]) phone.rtp.close()
  })

  test('a held phone keeps its port, hears nothing, and hears again when it is resumed', async () => {
    const { media } = room
    const [one, other] = [await caller(400), await callee(900)]
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(one.leg, bridge)
    await media.join(other.leg, bridge)
    const stop = other.phone.talk()
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
    await stop()
    for (const { phone, leg } of [one, other]) {
      await media.release(leg)
      phone.rtp.close()
    }
  })

  test('a bad description leaves the leg as it was', async () => {
    const { media } = room
    const one = await caller(400)
    await assert.rejects(media.accept(one.leg, 'nonsense'), { name: 'Refusal' })
    await assert.rejects(media.accept(one.leg, one.phone.sdp().replace('RTP/AVP 0 101', 'RTP/AVP 77')), {
      code: 'not-acceptable-here',
    })
    assert.deepEqual(media.streams(one.leg), [{ kind: 'audio', direction: 'sendrecv', codecs: ['PCMU'] }])
    await media.release(one.leg)
    one.phone.rtp.close()
  })

  test('each hears itself in an echo', async () => {
    const { media } = room
    const one = await caller(700)
    const echo = await media.open({ kind: 'echo', transient: true })
    await media.join(one.leg, echo)
    await one.phone.rtp.talk(40, { everyMs: 20 })
    assert.ok(one.phone.rtp.share(700, heardOf(one.phone)) > 0.9)
    await media.release(one.leg)
    one.phone.rtp.close()
  })

  test('in a meeting of three each hears the others and not itself', async () => {
    const { media } = room
    const tones = [400, 900, 1500]
    const all = await Promise.all(tones.map(tone => caller(tone)))
    const meeting = await media.open({ kind: 'meeting', transient: true })
    for (const { leg } of all) await media.join(leg, meeting)
    const stops = all.map(({ phone }) => phone.talk())
    await Promise.all(all.map(({ phone }) => phone.rtp.until(() => phone.rtp.sounds().length > 100, 6000)))
    await Promise.all(stops.map(stop => stop()))
    for (const [index, { phone, leg }] of all.entries()) {
      for (const [other, tone] of tones.entries()) {
        const share = phone.rtp.share(tone, heardOf(phone))
        if (other === index) assert.ok(share < 0.05, `${tones[index]} Hz hears itself: ${share}`)
        else assert.ok(share > 0.2, `${tones[index]} Hz does not hear ${tone} Hz: ${share}`)
      }
      await media.release(leg)
      phone.rtp.close()
    }
    assert.equal(media.load().rooms, 0)
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
    assert.equal(media.load().rooms, 0)
  })
})
