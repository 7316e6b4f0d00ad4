import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'
import type { AudioEngine, AudioEvent } from '../../src/media/audio/audio.ts'
import type { Mixer } from '../../src/media/mixer.ts'
import { createRtpPhone, type RtpPhone } from '../support/rtp-phone.ts'

export interface MixerUnderTest {
  audio: AudioEngine
  mixer: Mixer
  /** Who speaks, told by either. */
  events: AudioEvent[]
  /** What is left outside the audio engine; empty when all has ended. */
  left(): unknown[]
}

export interface Party {
  phone: RtpPhone
  end: string
  leave(): Promise<void>
}

/** A phone that says its tone all the time, at the latest until the end of the test. */
export async function party(t: TestContext, audio: AudioEngine, tone: number): Promise<Party> {
  const phone = await createRtpPhone({ tone })
  const { end, ...ports } = await audio.openPort('127.0.0.1')
  phone.aim(ports)
  await audio.setPort(end, phone.remote())
  const quiet = phone.chatter()
  let left: Promise<void> | undefined
  const leave = () => {
    left ??= quiet().then(async () => {
      await audio.closeEnd(end)
      phone.close()
    })
    return left
  }
  t.after(leave)
  return { phone, end, leave }
}

// Of the last 300 ms. In a mix of two a tone has half of the energy.
const lately = ({ phone }: Party, tone: number) => phone.share(tone, phone.sounds().slice(-15))

/** Waits until it hears these tones and no other of `all`. */
export async function hears(who: Party, tones: readonly number[], all: readonly number[]): Promise<void> {
  const right = () =>
    all.every(tone => (tones.includes(tone) ? lately(who, tone) > 0.2 : lately(who, tone) < 0.05)) &&
    who.phone.sounds().length > 15
  const heard = () => all.map(tone => `${tone} Hz ${lately(who, tone).toFixed(2)}`).join(', ')
  await who.phone.until(right, 5000).catch(() => assert.fail(`${who.phone.tone} hears ${heard()}, not ${tones}`))
}

/** What every mixer does. `under` gives one that runs, on an audio engine of its own. */
export function mixerContract(under: () => MixerUnderTest): void {
  const tones = [440, 700, 1100]
  const voice = { muted: false, slots: false, codec: 'PCMU' } as const

  it('lets everybody hear the others, and nobody itself', { timeout: 20_000 }, async t => {
    const { audio, mixer, events, left } = under()
    const mix = await mixer.open({ speakers: 3 })
    const all = await Promise.all(tones.map(tone => party(t, audio, tone)))
    const [one, two, three] = all as [Party, Party, Party]
    for (const { end } of all) await mix.add(end, voice)
    await Promise.all(
      all.map(who =>
        hears(
          who,
          tones.filter(tone => tone !== who.phone.tone),
          tones,
        ),
      ),
    )
    const spoke = new Set(events.flatMap(event => (event.type === 'speaking' && event.on ? [event.end] : [])))
    assert.deepEqual([...spoke].sort(), all.map(({ end }) => end).sort())
    assert.ok(events.some(event => event.type === 'speaker' && event.mix === mix.id))

    await mix.mute(one.end, true)
    await Promise.all([hears(two, [1100], tones), hears(three, [700], tones), hears(one, [700, 1100], tones)])
    await mix.mute(one.end, false)
    await hears(two, [440, 1100], tones)
    await mix.add(two.end, { ...voice, muted: true })
    await hears(one, [1100], tones)

    await mix.remove(one.end)
    await mix.remove(one.end)
    await hears(two, [1100], tones)
    const before = one.phone.heard.length
    await three.phone.until(() => three.phone.sounds().length > 40)
    const until = two.phone.sounds().length + 20
    await two.phone.until(() => two.phone.sounds().length > until)
    assert.ok(one.phone.heard.length - before < 5, 'who was removed hears on')

    assert.equal(mix.local, mixer.local)
    await mix.close()
    await mix.close()
    await Promise.all(all.map(who => who.leave()))
    const { ports, mixes, ends } = await audio.stats()
    assert.deepEqual({ ports, mixes, ends, left: left() }, { ports: 0, mixes: 0, ends: 0, left: [] })
  })

  it('keeps two mixes apart, and who enters muted silent', { timeout: 20_000 }, async t => {
    const { audio, mixer, left } = under()
    const mixes = [await mixer.open({ speakers: 3 }), await mixer.open({ speakers: 3 })] as const
    const all = await Promise.all([...tones, 1700].map(tone => party(t, audio, tone)))
    const [one, two, three, four] = all as [Party, Party, Party, Party]
    await mixes[0].add(one.end, voice)
    await mixes[0].add(two.end, { ...voice, muted: true })
    await mixes[1].add(three.end, voice)
    await mixes[1].add(four.end, voice)
    await Promise.all([hears(two, [440], tones), hears(three, [1700], [...tones, 1700]), hears(four, [1100], tones)])
    assert.ok(one.phone.share(700) < 0.05)
    await four.leave()
    await mixes[1].remove(four.end)
    assert.deepEqual(
      mixes.map(mix => mix.local),
      [mixer.local, mixer.local],
    )
    for (const mix of mixes) await mix.close()
    await Promise.all(all.map(who => who.leave()))
    const { ports, mixes: open } = await audio.stats()
    assert.deepEqual({ ports, open, left: left() }, { ports: 0, open: 0, left: [] })
  })

  it('lets all be recorded', { timeout: 20_000 }, async t => {
    const { audio, mixer, left } = under()
    const directory = mkdtempSync(join(tmpdir(), 'vaartha-mix-'))
    t.after(() => rmSync(directory, { recursive: true }))
    const mix = await mixer.open({ speakers: 3 })
    const all = await Promise.all([440, 700].map(tone => party(t, audio, tone)))
    for (const { end } of all) await mix.add(end, voice)
    const recording = await audio.record(await mix.tap(), { directory, name: 'all', perSpeaker: false })
    const [one] = all as [Party]
    await hears(one, [700], tones)
    const until = one.phone.sounds().length + 60
    await one.phone.until(() => one.phone.sounds().length > until)
    const files = await audio.stopRecord(recording)
    await mix.untap()
    assert.equal(mix.local, mixer.local)
    // Silence in Opus takes some bytes a second.
    assert.ok(files[0]!.seconds > 0.2 && files[0]!.bytes / files[0]!.seconds > 1500, JSON.stringify(files))
    await mix.close()
    await Promise.all(all.map(who => who.leave()))
    const { ports, mixes } = await audio.stats()
    assert.deepEqual({ ports, mixes, left: left() }, { ports: 0, mixes: 0, left: [] })
  })
}
