import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import type { LegEvent } from '../../src/media/media.ts'
import { openBrowser, type TestBrowser } from '../support/browser.ts'
import { createLegEars, createSdpPhone, type SdpPhone, startMedia, type TestMedia } from '../support/media-room.ts'
import { openPeerSite, type PeerPage, type PeerWish } from '../support/peer-page.ts'

// The media room with real Chromium pages and the real worker.

describe('browsers', () => {
  // The audio thread shows nowhere but here.
  const threads: Worker[] = []
  const onWorker = (worker: Worker) => threads.push(worker)
  process.on('worker', onWorker)
  after(() => process.off('worker', onWorker))
  let room: TestMedia
  let browser: TestBrowser
  let site: Awaited<ReturnType<typeof openPeerSite>>
  before(async () => {
    ;[room, browser] = await Promise.all([startMedia({ workers: 2 }), openBrowser()])
    site = await openPeerSite(browser)
  })
  after(async () => {
    await site.close()
    await browser.close()
    await room.close()
  })

  /** What a test has opened, whether it came to its end or not. */
  const opened: (() => unknown)[] = []
  afterEach(async () => {
    for (const close of opened.splice(0).toReversed()) await close()
    assert.equal(room.media.load().rooms, 0)
  })

  interface Party {
    page: PeerPage
    leg: string
    ears: ReturnType<typeof createLegEars>
    /** How many offers of ours it has answered. */
    offers: number
    /** Sends it our offer and takes its answer. */
    reoffer(change?: Parameters<TestMedia['media']['offer']>[1]): Promise<void>
  }

  /** Answers each `rebuilt` and `more` by a re-INVITE, as an owner does. */
  function party(page: PeerPage, ears: ReturnType<typeof createLegEars>, legOf: () => string, near?: PeerWish): Party {
    let gone = false
    const one: Party = {
      page,
      ears,
      offers: 0,
      get leg() {
        return legOf()
      },
      async reoffer(change) {
        if (gone) return
        const offer = await room.media.offer(one.leg, change)
        one.offers += 1
        await room.media.answer(one.leg, await page.answer(offer, near))
      },
    }
    opened.push(async () => {
      gone = true
      await room.media.release(one.leg)
      await page.close()
    })
    return one
  }

  async function caller(
    tone: number,
    wish: PeerWish = {},
    options: { munge?: 'mediasoup' | 'numbers'; near?: string } = {},
  ) {
    const page = await site.open(tone)
    const ears = createLegEars()
    let leg = ''
    const one = party(page, ears, () => leg)
    let turn = Promise.resolve()
    const onEvent = (event: LegEvent) => {
      ears.onEvent(event)
      if (event.type === 'rebuilt' || event.type === 'more') turn = turn.then(() => one.reoffer())
    }
    const offer = await page.offer(wish, options.munge ? { munge: options.munge } : {})
    const made = await room.media.allocate({
      profile: 'webrtc',
      towards: '127.0.0.1',
      offer,
      onEvent,
      near: options.near,
    })
    leg = made.leg
    await page.take(made.sdp)
    await page.until(state => state.connection === 'connected', 'is not connected')
    return one
  }

  async function phone(
    tone: number,
  ): Promise<{ phone: SdpPhone; leg: string; ears: ReturnType<typeof createLegEars> }> {
    const one = await createSdpPhone({ tone })
    const ears = createLegEars()
    const offer = one.sdp()
    const { leg, sdp } = await room.media.allocate({
      profile: 'plain',
      towards: '127.0.0.1',
      offer,
      onEvent: ears.onEvent,
    })
    one.take(sdp)
    opened.push(async () => {
      await room.media.release(leg)
      one.rtp.close()
    })
    return { phone: one, leg, ears }
  }

  test('a browser that calls hears itself in an echo', async () => {
    const { media } = room
    const one = await caller(500)
    const echo = await media.open({ kind: 'echo', transient: true })
    await media.join(one.leg, echo)
    await one.page.hears([500])
    await one.page.press('5')
    assert.deepEqual(await one.ears.until(event => event.type === 'dtmf'), { type: 'dtmf', digit: '5', ms: 100 })
  })

  test('a browser that is called and a phone hear each other in PCMU, and tell of keys', async () => {
    const { media } = room
    const page = await site.open(500)
    const ears = createLegEars()
    const streams = [{ kind: 'audio', direction: 'sendrecv', codecs: ['PCMU'] }] as const
    const { leg, sdp } = await media.allocate({
      profile: 'webrtc',
      towards: '127.0.0.1',
      streams,
      onEvent: ears.onEvent,
    })
    opened.push(async () => {
      await media.release(leg)
      await page.close()
    })
    await media.answer(leg, await page.answer(sdp))
    const other = await phone(900)
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(leg, bridge)
    await media.join(other.leg, bridge)
    assert.deepEqual(media.streams(leg), [{ kind: 'audio', direction: 'sendrecv', codecs: ['PCMU'] }])
    opened.push(other.phone.talk())
    await page.hears([900], { not: [500] })
    await other.phone.rtp.until(() => other.phone.rtp.share(500, other.phone.rtp.sounds().slice(-20)) > 0.9, 5000)
    await page.press('3')
    await ears.until(event => event.type === 'dtmf' && event.digit === '3')
    assert.ok(other.phone.rtp.sounds(101).length > 0, 'the key did not reach the phone')
  })

  test('two pages and two phones in a meeting hear the others and not themselves', async () => {
    const { media } = room
    const pages = [await caller(500), await caller(900)]
    const phones = [await phone(1500), await phone(2200)]
    const speakers: (string | undefined)[] = []
    const meeting = await media.open({ kind: 'meeting', transient: true, onSpeaker: leg => speakers.push(leg) })
    for (const { leg } of [...pages, ...phones]) await media.join(leg, meeting)
    // Three are heard at once: one phone keeps silent.
    opened.push(phones[0]!.phone.talk())
    const silent = phones[1]!.phone.rtp
    const all = () => [500, 900, 1500].every(hz => silent.share(hz, silent.sounds().slice(-25)) > 0.1)
    await Promise.all([
      pages[0]!.page.hears([900, 1500], { not: [500] }),
      pages[1]!.page.hears([500, 1500], { not: [900] }),
      silent.until(all, 6000),
    ])
    assert.ok(speakers.length > 0)
  })

  test('a browser with lines for others hears each of them on a line of its own', async () => {
    const { media } = room
    const wide = await caller(500, { slots: 4 })
    const other = await caller(900)
    const third = await phone(1500)
    const meeting = await media.open({ kind: 'meeting', transient: true })
    for (const { leg } of [wide, other, third]) await media.join(leg, meeting)
    opened.push(third.phone.talk())
    await Promise.all([wide.page.hears([900, 1500], { not: [500] }), other.page.hears([500, 1500], { not: [900] })])
    await wide.ears.until(event => event.type === 'slot' && event.leg === other.leg)
    await wide.ears.until(event => event.type === 'slot' && event.leg === third.leg)
  })

  test('cameras are seen by browsers with one line for a picture, and by those with several', async () => {
    const { media } = room
    const one = await caller(500, { camera: true })
    const other = await caller(900, { camera: true })
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(one.leg, bridge)
    await media.join(other.leg, bridge)
    for (const { page } of [one, other]) {
      await page.until(({ frames }) => Object.values(frames).some(count => count > 5), 'sees nothing')
    }
    await one.page.hears([900], { not: [500] })
  })

  test('in a meeting everybody sees the others on lines that are added for them', async () => {
    const { media } = room
    const wish = { camera: true, tiles: 2, simulcast: true, slots: 3 }
    const all = [await caller(500, wish), await caller(900, wish), await caller(1500, { camera: true })]
    const meeting = await media.open({ kind: 'meeting', transient: true })
    for (const { leg } of all) await media.join(leg, meeting)
    for (const { page } of all.slice(0, 2)) {
      await page.until(({ frames }) => Object.values(frames).filter(count => count > 5).length === 2, 'sees too little')
    }
    await all[2]!.page.until(({ frames }) => Object.values(frames).some(count => count > 5), 'sees nothing')
    for (const { ears } of all) await ears.until(event => event.type === 'tile' && event.leg !== undefined)
    await all[0]!.page.hears([900, 1500], { not: [500] })
  })

  test('a page that takes the numbers of mediasoup is shown others without being asked', async () => {
    const { media } = room
    const one = await caller(500, { camera: true, tiles: 1 }, { munge: 'mediasoup' })
    const others = [await caller(900, { camera: true }), await caller(1500, { camera: true })]
    const meeting = await media.open({ kind: 'meeting', transient: true })
    for (const { leg } of [one, ...others]) await media.join(leg, meeting, { tiles: 1 })
    const first = await one.page.until(({ frames }) => Object.values(frames).some(count => count > 5), 'sees nothing')
    // Who is shown leaves, and the other one comes to its line.
    const shown = one.ears.events.findLast(event => event.type === 'tile')
    const leaving = others.find(({ leg }) => shown?.type === 'tile' && leg === shown.leg)
    const [mid] = Object.keys(first.frames)
    await media.leave(leaving!.leg)
    await one.ears.until(event => event.type === 'tile' && event.leg !== undefined && event.leg !== leaving!.leg)
    const { frames } = await one.page.look()
    await one.page.until(now => (now.frames[mid!] ?? 0) > (frames[mid!] ?? 0) + 5, 'does not see the other')
    await one.page.hears([others.find(other => other !== leaving)!.page.tone], { not: [500] })
    assert.equal(one.offers, 0)
  })

  test('a browser with numbers of its own, as Firefox has, hears and sees', async () => {
    const { media } = room
    const one = await caller(500, { camera: true }, { munge: 'numbers' })
    const other = await caller(900, { camera: true })
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(one.leg, bridge)
    await media.join(other.leg, bridge)
    for (const { page } of [one, other]) {
      await page.until(({ frames }) => Object.values(frames).some(count => count > 5), 'sees nothing')
    }
    await Promise.all([one.page.hears([900], { not: [500] }), other.page.hears([500], { not: [900] })])
    await one.page.press('5')
    await one.ears.until(event => event.type === 'dtmf' && event.digit === '5')
  })

  test('a call and a meeting go on when their worker is killed', async () => {
    const { media } = room
    const [one, other, third] = [await caller(500), await phone(900), await caller(1500)]
    const bridge = await media.open({ kind: 'bridge', transient: true })
    await media.join(one.leg, bridge)
    await media.join(other.leg, bridge)
    opened.push(other.phone.talk())
    await one.page.hears([900])
    const meeting = await media.open({ kind: 'meeting', transient: true })
    await media.join(third.leg, meeting)
    const died = new Set<number>()
    room.events.on('workerDied', ({ pid }) => died.add(pid))
    const pids = media.load().workers.map(worker => worker.pid)
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    await one.ears.until(event => event.type === 'rebuilt')
    await one.page.hears([900])
    await media.join(one.leg, meeting)
    await third.ears.until(event => event.type === 'rebuilt')
    await third.page.hears([500], { not: [1500] })
    assert.deepEqual([...died].sort(), pids.sort())
  })

  test('ICE is restarted by the browser, and by us', async () => {
    const { media } = room
    const one = await caller(500)
    const echo = await media.open({ kind: 'echo', transient: true })
    await media.join(one.leg, echo)
    const offer = await one.page.offer({}, { iceRestart: true })
    const answer = await media.accept(one.leg, offer)
    await one.page.take(answer)
    await one.page.hears([500])
    const before = /a=ice-ufrag:(.*)/.exec(answer)?.[1]
    const ours = await media.offer(one.leg, { restartIce: true })
    assert.notEqual(/a=ice-ufrag:(.*)/.exec(ours)?.[1], before)
    await media.answer(one.leg, await one.page.answer(ours))
    await one.page.hears([500])
    await one.page.until(state => state.connection === 'connected', 'is not connected')
  })

  test('a leg moves to another worker', async () => {
    const { media } = room
    const one = await caller(500)
    const echo = await media.open({ kind: 'echo', transient: true })
    await media.join(one.leg, echo)
    await one.page.hears([500])
    // Legs enough that another worker is begun, which carries less.
    const offer = await one.page.offer()
    for (let count = 0; count < 8; count += 1) {
      const { leg } = await media.allocate({ profile: 'webrtc', towards: '127.0.0.1', offer })
      opened.push(() => media.release(leg))
    }
    await media.migrate(one.leg)
    await one.ears.until(event => event.type === 'rebuilt')
    await one.page.hears([500])
  })

  test('a meeting spans workers', async () => {
    const { media } = room
    const wish = { camera: true, tiles: 1 }
    const [one, other] = [await caller(500, wish), await caller(900, wish)]
    const meeting = await media.open({ kind: 'meeting', transient: true })
    await media.join(one.leg, meeting)
    await media.join(other.leg, meeting)
    // Of a page of its own: the others may just be answering one of ours.
    const filler = await site.open(1500)
    opened.push(() => filler.close())
    const offer = await filler.offer()
    for (let count = 0; count < 10; count += 1) {
      const { leg } = await media.allocate({ profile: 'webrtc', towards: '127.0.0.1', offer })
      opened.push(() => media.release(leg))
    }
    await media.migrate(other.leg)
    await other.ears.until(event => event.type === 'rebuilt' && media.load().workers.every(({ legs }) => legs > 0))
    for (const { page } of [one, other]) {
      const { frames } = await page.look()
      const seen = Math.max(0, ...Object.values(frames))
      await page.until(now => Object.values(now.frames).some(count => count > seen + 5), 'sees nothing')
    }
    await one.page.hears([900], { not: [500] })
    await other.page.hears([500], { not: [900] })
  })

  test('a browser notices nothing of the death of the audio thread but a gap', async () => {
    const { media } = room
    const one = await caller(500)
    const other = await phone(900)
    const meeting = await media.open({ kind: 'meeting', transient: true })
    await media.join(one.leg, meeting)
    await media.join(other.leg, meeting)
    opened.push(other.phone.talk())
    await one.page.hears([900])
    await threads.at(-1)!.terminate()
    await other.ears.until(event => event.type === 'rebuilt')
    other.phone.take(await media.offer(other.leg))
    await media.answer(other.leg, other.phone.sdp())
    await one.page.hears([900], { not: [500] })
    assert.equal(one.offers, 0)
  })

  test('who ends its connection is missed at once', async () => {
    const one = await caller(500)
    await one.page.page.evaluate('peer.close()')
    await one.ears.until(event => event.type === 'silent')
  })

  test('no description kills a worker', async () => {
    const { media } = room
    const page = await site.open(0)
    opened.push(() => page.close())
    const offer = await page.offer({ camera: true, simulcast: true, slots: 2, tiles: 2 })
    const pids = media.load().workers.map(({ pid }) => pid)
    const lines = offer.split('\r\n')
    let [refused, taken] = [0, 0]
    for (let at = 0; at < lines.length; at += 5) {
      const line = lines[at]!
      for (const spoilt of [
        [],
        [line, line],
        [line.replace(/\d+/g, '0')],
        [line.replace(/\d+/g, '99999')],
        [line.slice(0, 8)],
      ]) {
        const sdp = lines.toSpliced(at, 1, ...spoilt).join('\r\n')
        try {
          const { leg } = await media.allocate({ profile: 'webrtc', towards: '127.0.0.1', offer: sdp })
          await media.release(leg)
          taken += 1
        } catch (error) {
          assert.equal((error as Error).name, 'Refusal', `${line} as ${spoilt}: ${(error as Error).stack}`)
          refused += 1
        }
      }
    }
    assert.ok(refused > 5 && taken > 5, `${refused} refused, ${taken} taken`)
    assert.deepEqual(
      media.load().workers.map(({ pid }) => pid),
      pids,
    )
  })

  test('two hundred legs leave nothing', async () => {
    const { media } = room
    const page = await site.open(0)
    opened.push(() => page.close())
    const offer = await page.offer({ camera: true, slots: 3 })
    const meeting = await media.open({ kind: 'meeting' })
    for (let round = 0; round < 4; round += 1) {
      const legs = await Promise.all(
        Array.from({ length: 50 }, () => media.allocate({ profile: 'webrtc', towards: '127.0.0.1', offer })),
      )
      await Promise.all(legs.slice(0, 5).map(({ leg }) => media.join(leg, meeting)))
      await Promise.all(legs.map(({ leg }) => media.release(leg)))
    }
    await media.shut(meeting)
    assert.deepEqual(
      media.load().workers.map(({ legs }) => legs),
      media.load().workers.map(() => 0),
    )
  })
})
