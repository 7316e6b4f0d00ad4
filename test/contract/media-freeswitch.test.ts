import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startEngineUnderTest } from '../support/engine.ts'
import { startFakeFreeSwitch } from '../support/freeswitch.ts'
import { createLegEars, createSdpPhone, startMedia } from '../support/media-room.ts'

// A meeting through the media room's seam while a (fake) FreeSWITCH mixes; the mixer's own contract is next door.

test('phones meet in a FreeSWITCH, hear prompts, are recorded, and go on here when it dies', {
  timeout: 30_000,
}, async t => {
  const sip = await startEngineUnderTest({ t1: 100 })
  t.after(() => sip.close())
  const fake = await startFakeFreeSwitch({ sip: sip.udp })
  const room = await startMedia({ freeswitch: fake.place, srf: sip.srf })
  t.after(() => room.close())
  const { media, events } = room
  const state = (on: boolean) =>
    new Promise<void>(resolve => {
      const off = events.on('mixerChanged', fact => fact.on === on && resolve())
      t.after(off)
    })
  const gone = state(false)
  await state(true)
  assert.equal(media.state().mixer?.on, true)
  const directory = mkdtempSync(join(tmpdir(), 'vaartha-recording-'))
  t.after(() => rmSync(directory, { recursive: true }))

  const meeting = await media.open({ kind: 'meeting', transient: true })
  const join3 = async (tone: number) => {
    const phone = await createSdpPhone({ tone })
    const ears = createLegEars()
    const wish = { profile: 'plain', towards: '127.0.0.1', offer: phone.sdp(), onEvent: ears.onEvent } as const
    const { leg, sdp } = await media.allocate(wish)
    phone.take(sdp)
    await media.join(leg, meeting, { name: `tone ${tone}` })
    const quiet = phone.talk()
    t.after(async () => {
      await quiet()
      phone.rtp.close()
    })
    return { ...phone, leg, ears }
  }
  const all = [await join3(440), await join3(700), await join3(1100)] as const
  const [one] = all
  const lately = (tone: number) => one.rtp.share(tone, one.rtp.sounds().slice(-15))
  const hearsBoth = () => one.rtp.until(() => lately(700) > 0.2 && lately(1100) > 0.2 && lately(440) < 0.05, 6000)
  await hearsBoth()
  assert.deepEqual([fake.channels(), fake.conferences()], [3, 1])
  assert.deepEqual(await one.ears.until(event => event.type === 'speaking'), { type: 'speaking', on: true })

  const stop = await media.record(meeting, { directory, name: 'meeting', perSpeaker: true })
  assert.equal(fake.channels(), 4)
  await (await media.play({ room: meeting }, { count: 1 })).done
  await hearsBoth()

  await fake.die()
  await gone
  await hearsBoth()
  assert.match(media.state().mixer!.why, /FreeSWITCH/)
  const files = await stop()
  assert.deepEqual(
    files.map(file => file.speaker),
    [''],
  )
  assert.ok(files[0]!.bytes / files[0]!.seconds > 1500)

  const another = await media.open({ kind: 'meeting', transient: true })
  await assert.rejects(media.join(one.leg, another), { code: 'media-unavailable' })
  for (const { leg } of all) await media.release(leg)
  assert.equal(media.load().rooms, 0)
})
