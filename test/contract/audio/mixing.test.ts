import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startAudioHost } from '../../support/audio-host.ts'
import { isContinuous } from '../../support/rtp-phone.ts'

const opus = { payloadType: 111, codec: 'opus', clockRate: 48000, channels: 2 } as const
const g722 = { payloadType: 9, codec: 'G722', clockRate: 8000, channels: 1 } as const

test('phones that share no codec hear each other through a mixer of their own, and digits still pass', async t => {
  const { phone, host } = startAudioHost(t)
  const [one, two] = [await phone({ tone: 500 }), await phone({ tone: 700 })]
  await host.setPort(two.end, two.phone.remote({ send: g722, receive: [g722] }))
  await host.link(one.end, two.end)
  // The codecs are loaded when the first packet needs them, and what comes before that is not heard.
  while (two.phone.sounds(9).length <= 10) await one.phone.talk(5, { everyMs: 10 })
  await one.phone.press('7', 100)
  await two.phone.until(() => two.phone.sounds(101).length === 5)
  assert.ok(isContinuous(two.phone.heard))
  assert.ok(two.phone.sounds(9).every(packet => packet.payload.length === 160))
  // Agreed again: nothing is decoded any more.
  await host.setPort(two.end, two.phone.remote())
  const before = two.phone.sounds(0).length
  await one.phone.talk(10)
  await two.phone.until(() => two.phone.sounds(0).length === before + 10)
  assert.ok(isContinuous(two.phone.heard))
})

test('a tone is heard by who waits and by who is linked, and the stream goes on without a jump', async t => {
  const { phone, host, events } = startAudioHost(t)
  const [one, two] = [await phone({ tone: 500 }), await phone({ tone: 700 })]
  const playing = await host.play({ end: one.end }, { prompt: 'ringback', loop: true })
  await one.phone.until(() => one.phone.sounds().length > 5)
  await host.link(one.end, two.end)
  assert.deepEqual(
    events.filter(event => event.type === 'played'),
    [{ type: 'played', playing }],
  )
  await two.phone.talk(5)
  const beep = await host.play({ end: one.end }, { prompt: 'muted', loop: false })
  // It ends by itself, and its mixer with it.
  while (!events.some(event => event.type === 'played' && event.playing === beep)) await new Promise(setImmediate)
  const heard = one.phone.sounds().length
  await two.phone.talk(5)
  await one.phone.until(() => one.phone.sounds().length >= heard + 5)
  assert.ok(isContinuous(one.phone.heard))
  assert.equal(events.filter(event => event.type === 'played').length, 2)
})

test('three in a mix hear the others and not themselves; a muted one is heard by nobody', async t => {
  const { phone, host, events } = startAudioHost(t)
  const all = [await phone({ tone: 400 }), await phone({ tone: 800 }), await phone({ tone: 1300 })]
  const mix = await host.openMix({ speakers: 3 })
  for (const { end } of all) await host.join(end, mix, {})
  await host.mute(all[2]!.end, true)
  await Promise.all(all.map(each => each.phone.talk(30, { everyMs: 20 })))
  const [one, two, three] = all.map(each => each.phone)
  const { perEnd } = await host.stats()
  assert.ok(Math.abs(perEnd[all[0]!.end]!.level - 13.5) < 3, `level ${perEnd[all[0]!.end]!.level}`)
  assert.ok(one!.clearest(800) > 0.7 && two!.clearest(400) > 0.7)
  assert.ok(one!.share(400) < 0.05 && one!.share(1300) < 0.05)
  assert.ok(three!.clearest(400) > 0.2 && three!.clearest(800) > 0.2)
  assert.ok(all.every(each => isContinuous(each.phone.heard)))
  assert.ok(events.some(event => event.type === 'speaking' && event.end === all[0]!.end && event.on))
  assert.ok(events.some(event => event.type === 'speaker' && event.mix === mix))
  await host.closeMix(mix)
  const heard = one!.heard.length
  await two!.talk(2)
  assert.equal(one!.heard.length, heard)
})

test('a mix is recorded under the names that its members were given', async t => {
  const { phone, host } = startAudioHost(t)
  const directory = mkdtempSync(join(tmpdir(), 'vaartha-record-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const [one, two] = [await phone({ tone: 400 }), await phone({ tone: 800 })]
  const mix = await host.openMix({ speakers: 2 })
  for (const { end } of [one, two]) await host.join(end, mix, {})
  await host.name(one.end, 'ann')
  const recording = await host.record(mix, { directory, name: 'talk', perSpeaker: true })
  await one.phone.talk(20, { everyMs: 20 })
  // A mix that is closed first keeps them for who asks.
  await host.closeMix(mix)
  const files = await host.stopRecord(recording)
  assert.ok(files.some(file => file.speaker === '' && file.bytes > 0))
  assert.ok(files.some(file => file.speaker === 'ann'))
})

test('Opus passes through a link untouched', async t => {
  const { phone, host } = startAudioHost(t)
  const [one, two] = [await phone(), await phone()]
  const dtmf = { send: 101, receive: 101, clockRate: 48000 }
  for (const { phone: each, end } of [one, two]) {
    await host.setPort(end, each.remote({ send: opus, receive: [opus], dtmf }))
  }
  await host.link(one.end, two.end)
  const payload = Buffer.from([0xfc, 1, 2, 3])
  for (let i = 0; i < 5; i++) await one.phone.say(111, payload, 960)
  await two.phone.until(() => two.phone.sounds(111).length === 5)
  assert.ok(two.phone.heard.every(packet => packet.payload.equals(payload)))
  assert.equal((two.phone.heard[4]!.timestamp - two.phone.heard[0]!.timestamp) >>> 0, 4 * 960)
})
