import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import type { AudioCodec } from '../../../src/media/audio/audio.ts'
import { type Codecs, loadCodecs } from '../../../src/media/codec/codec.ts'
import { createMixer, type Mixer, type MixerEvent } from '../../../src/media/mix/mixer.ts'
import { join, type Party, type PartyOptions, payloadTypes, RATE, settle } from '../../support/mix-party.ts'
import { levelOf, shareOf, soundOf } from '../../support/tone.ts'

const tones = [400, 610, 950, 1330, 1750, 2210]

describe('mixer', () => {
  let codecs: Codecs
  let mixer: Mixer
  let now = 0
  let events: MixerEvent[] = []
  let parties: Party[] = []
  before(async () => {
    codecs = await loadCodecs()
  })
  after(() => codecs.free())
  beforeEach(async () => {
    await mixer?.close()
    await open(3)
  })

  async function open(speakers: number): Promise<void> {
    events = []
    parties = []
    mixer = createMixer({ codecs, speakers, now: () => now, onEvent: event => events.push(event), rate: RATE })
    await settle()
  }

  async function enter(id: string, options: PartyOptions = {}): Promise<Party> {
    await settle()
    const party = join(mixer, codecs, id, options)
    parties.push(party)
    await settle()
    return party
  }

  /** Time passes: everybody sends, the mixer ticks. */
  async function pass(ms: number): Promise<void> {
    for (const until = now + ms; now < until; ) {
      now += 20
      for (const party of parties) party.say()
      mixer.tick()
      if (now % 100 === 0) await settle()
    }
  }

  /** The same, after which only what was heard in it is known. */
  async function listen(ms: number): Promise<void> {
    for (const party of parties) party.forget()
    await pass(ms)
  }

  const clear = (party: Party, frequency: number) => party.hears(frequency) > 0.1
  const slotted = () => events.flatMap(event => (event.type === 'slot' ? [[event.slot, event.id]] : []))

  for (const codec of ['PCMU', 'G722', 'opus'] as AudioCodec[]) {
    it(`${codec}: everybody hears the others and nobody itself`, async () => {
      const all = []
      for (const [i, tone] of tones.slice(0, 3).entries()) {
        all.push(await enter(`p${i}`, { codec: payloadTypes[codec], tone }))
      }
      const silent = await enter('silent', { codec: payloadTypes[codec] })
      await pass(300)
      await listen(400)
      for (const [i, party] of all.entries()) {
        for (const [k, tone] of tones.slice(0, 3).entries()) {
          assert.equal(clear(party, tone), i !== k, `p${i} and ${tone} Hz: ${party.hears(tone).toFixed(3)}`)
        }
        assert.ok(party.hears(tones[i]!) < 0.001)
      }
      for (const tone of tones.slice(0, 3)) assert.ok(clear(silent, tone))
      // One packet of 20 ms each tick, without a gap.
      assert.equal(silent.packets.length, 20)
      assert.ok(silent.packets.every(packet => packet.samples === payloadTypes[codec].clockRate / 50 && !packet.marker))
    })
  }

  it('joins codecs of all kinds', async () => {
    const kinds: AudioCodec[] = ['PCMU', 'G722', 'opus']
    const all = []
    for (const [i, codec] of kinds.entries())
      all.push(await enter(codec, { codec: payloadTypes[codec], tone: tones[i]! }))
    await pass(300)
    await listen(500)
    for (const [i, party] of all.entries()) {
      for (const k of kinds.keys()) assert.equal(clear(party, tones[k]!), i !== k, `${party.id} and ${tones[k]} Hz`)
    }
  })

  it('lets K speak and no more, and lets in the next when one falls silent', async () => {
    for (const [i, tone] of tones.slice(0, 5).entries()) await enter(`p${i}`, { tone: i < 3 ? tone : 0 })
    const listener = await enter('listener')
    await pass(1500)
    parties[3]!.tone = tones[3]!
    parties[4]!.tone = tones[4]!
    await pass(200)
    await listen(1000)
    assert.deepEqual(
      tones.slice(0, 5).map(tone => clear(listener, tone)),
      [true, true, true, false, false],
    )
    parties[0]!.tone = 0
    await pass(600)
    await listen(1000)
    const [first, ...others] = tones.slice(0, 5).map(tone => clear(listener, tone))
    assert.equal(first, false)
    assert.equal(others.filter(Boolean).length, 3)
    assert.ok(others[0] && others[1])
  })

  it('lets a much louder one in after a moment', async () => {
    for (const [i, tone] of tones.slice(0, 3).entries()) await enter(`p${i}`, { tone })
    const loud = await enter('loud')
    const listener = await enter('listener')
    for (const party of parties) party.amplitude = 1500
    await pass(1500)
    loud.tone = tones[3]!
    loud.amplitude = 16_000
    await pass(600)
    await listen(500)
    assert.ok(clear(listener, tones[3]!))
  })

  it('mutes and unmutes', async () => {
    const speaker = await enter('speaker', { tone: 400 })
    const listener = await enter('listener')
    await pass(300)
    mixer.mute('speaker', true)
    await pass(100)
    await listen(400)
    assert.ok(listener.hears(400) < 0.01)
    assert.ok(levelOf(listener.heard()) < -55, 'a line that is up, and quiet')
    assert.ok(levelOf(listener.heard()) > -90)
    mixer.mute('speaker', false)
    await pass(200)
    await listen(400)
    assert.ok(listener.hears(400) > 0.9)
    assert.deepEqual(
      events.flatMap(event => (event.type === 'speaking' ? [event.on] : [])),
      [true, false, true],
    )
    assert.equal(speaker.packets.length, 20)
  })

  it('sends quiet and never nothing when nobody speaks, with few bytes in Opus', async () => {
    const narrow = await enter('narrow')
    const opus = await enter('opus', { codec: payloadTypes.opus })
    await pass(2000)
    await listen(1000)
    assert.equal(narrow.packets.length, 50)
    assert.equal(opus.packets.length, 50)
    assert.ok(opus.packets.reduce((sum, packet) => sum + packet.bytes, 0) < 3000)
  })

  for (const [codec, ptime] of [
    ['PCMU', 30],
    ['G722', 40],
    ['PCMA', 60],
    ['opus', 60],
    ['opus', 10],
  ] as const) {
    it(`keeps to a packet time of ${ptime} ms (${codec})`, async () => {
      const slow = await enter('slow', { codec: { ...payloadTypes[codec], ptime }, tone: 610 })
      parties.length = 0
      const other = await enter('other', { tone: 400 })
      const silent = await enter('silent', { codec: { ...payloadTypes[codec], ptime } })
      const step = async (ms: number) => {
        for (const until = now + ms; now < until; ) {
          now += 10
          if (now % ptime === 0) slow.say()
          if (now % ptime === 0) silent.say()
          if (now % 20 !== 0) continue
          other.say()
          mixer.tick()
          await settle()
        }
      }
      await step(420)
      slow.forget()
      silent.forget()
      other.forget()
      await step(600)
      for (const party of [slow, silent]) {
        assert.ok(Math.abs(party.packets.length - 600 / ptime) <= 1, `${party.packets.length} packets`)
        assert.ok(party.packets.every(packet => packet.samples === (payloadTypes[codec].clockRate * ptime) / 1000))
        assert.ok(clear(party, 400), `${party.id} hears the other: ${party.hears(400)}`)
      }
      assert.ok(slow.hears(610) < 0.002, `hears itself: ${slow.hears(610)}`)
      assert.ok(clear(silent, 610))
      assert.ok(other.hears(610) > 0.95, `${other.hears(610)}`)
    })
  }

  it('does not break the sound of who begins and ends to speak itself', async () => {
    await enter('music', { tone: 400 })
    await enter('x')
    await enter('y')
    for (const codec of ['PCMU', 'G722', 'opus'] as const) {
      const talker = await enter(codec, { codec: payloadTypes[codec] })
      await pass(400)
      talker.forget()
      for (let turn = 0; turn < 2; turn++) {
        talker.tone = 950
        await pass(300)
        talker.tone = 0
        await pass(1300)
      }
      const sound = talker.heard()
      let worst = 1
      for (let at = 0; at + 640 <= sound.samples.length; at += 320)
        worst = Math.min(worst, shareOf(sound, 400, at, at + 640))
      assert.ok(worst > 0.9, `${codec}: ${worst.toFixed(3)} at the worst`)
      talker.leave()
      parties.pop()
    }
  })

  it('adds loud voices without clipping', async () => {
    for (const [i, tone] of tones.slice(0, 3).entries()) {
      const party = await enter(`p${i}`, { tone })
      party.amplitude = 26_000
    }
    const listener = await enter('listener', { codec: payloadTypes.G722 })
    await pass(600)
    await listen(600)
    const sum = tones.slice(0, 3).reduce((all, tone) => all + listener.hears(tone), 0)
    assert.ok(sum > 0.99, `${sum}`)
  })

  it('conceals what the network loses', async () => {
    const speaker = await enter('speaker', { tone: 400 })
    const listener = await enter('listener')
    await pass(400)
    listener.forget()
    for (let i = 0; i < 50; i++) {
      speaker.mute = i % 10 === 4
      await pass(20)
    }
    const sound = listener.heard()
    for (let at = 0; at + 320 <= sound.samples.length; at += 320)
      assert.ok(levelOf(sound, at, at + 320) > -26, `frame ${at / 320}`)
    assert.equal(mixer.stats('speaker')?.lost, 5)
  })

  it('adds at most 40 ms', async () => {
    for (const codec of ['PCMU', 'G722', 'opus'] as const) {
      const speaker = await enter(codec, { codec: payloadTypes[codec] })
      const listener = await enter('listener', { codec: payloadTypes[codec] })
      // A perfect network settles what the buffer holds; packets come in the middle between two ticks.
      let arrived = 0
      let heard = -1
      for (let i = 0; i < 200 && heard < 0; i++) {
        if (i === 150) speaker.tone = 1000
        if (i === 150) arrived = now + 10
        now += 10
        speaker.say()
        listener.say()
        now += 10
        listener.forget()
        mixer.tick()
        const { samples } = listener.heard()
        const at = samples.findIndex(sample => Math.abs(sample) > 0.05)
        if (i >= 150 && at >= 0) heard = now + (at * 1000) / RATE
        if (i % 10 === 0) await settle()
      }
      assert.ok(heard - arrived <= 40, `${codec}: ${(heard - arrived).toFixed(1)} ms`)
      for (const party of parties.splice(0)) party.leave()
    }
  })

  it('takes up a stream after twelve minutes without a packet', async () => {
    const speaker = await enter('speaker', { tone: 400 })
    const listener = await enter('listener')
    await pass(300)
    speaker.mute = true
    await pass(200)
    now += 12 * 60_000
    speaker.mute = false
    await pass(200)
    await listen(500)
    assert.ok(listener.hears(400) > 0.95)
  })

  it('follows a change of codec and a stream that begins anew', async () => {
    await enter('speaker', { tone: 400 })
    const listener = await enter('listener')
    await pass(300)
    parties = [listener]
    const anew = await enter('speaker', { tone: 950, codec: payloadTypes.opus })
    await pass(300)
    await listen(400)
    assert.ok(listener.hears(950) > 0.9)
    assert.equal(anew.packets.length, 20)
    for (let i = 0; i < 30; i++) {
      now += 20
      anew.say({ ssrc: 77, sequence: (9000 + i) & 0xffff, timestamp: 5_000_000 + i * 960 })
      mixer.tick()
      if (i === 9) listener.forget()
    }
    assert.equal(listener.packets.length, 20)
    assert.ok(listener.hears(950) > 0.9)
  })

  it('plays tones to one and to all', async () => {
    const one = await enter('one', { tone: 400 })
    const other = await enter('other')
    await pass(300)
    const busy = mixer.play('other', { prompt: 'busy', loop: true })
    await listen(400)
    assert.ok(clear(other, 425) && one.hears(425) < 0.05)
    mixer.stop(busy)
    mixer.stop(busy)
    assert.deepEqual(
      events.filter(event => event.type === 'played'),
      [{ type: 'played', playing: busy }],
    )
    const all = mixer.play(undefined, { prompt: 'count', loop: false, count: 1 })
    await listen(100)
    assert.ok(clear(one, 880) && clear(other, 880))
    await pass(300)
    assert.deepEqual(events.at(-1), { type: 'played', playing: all })
    const hold = mixer.play('other', { prompt: 'hold', loop: true })
    await pass(100)
    await listen(600)
    assert.ok(other.hears(400) < 0.01, 'who is on hold hears music and nobody')
    assert.ok(levelOf(other.heard()) > -45)
    other.leave()
    assert.deepEqual(events.filter(event => event.type === 'played').at(-1), { type: 'played', playing: hold })
    assert.throws(() => mixer.play('one', { prompt: 'aria', loop: true }), { code: 'bad-request' })
  })

  it('sends to members with slots only what is played to them', async () => {
    await enter('speaker', { tone: 400 })
    const browser = await enter('browser', { codec: payloadTypes.opus, slots: true })
    await pass(300)
    assert.equal(browser.packets.length, 0)
    mixer.play(undefined, { prompt: 'busy', loop: false })
    await pass(300)
    assert.equal(browser.packets.length, 15)
    assert.equal(browser.packets[0]!.marker, true)
    assert.ok(clear(browser, 425) && browser.hears(400) < 0.05)
  })

  it('hands the speakers to slots: Opus as it came, others encoded once', async () => {
    const slots: { payload: Uint8Array; samples: number; marker: boolean; missing: number; level: number }[][] = [
      [],
      [],
    ]
    for (const slot of [0, 1]) {
      mixer.slot(slot, payloadTypes.opus, (payload, samples, marker, missing, level) => {
        slots[slot]!.push({ payload: Uint8Array.from(payload), samples, marker, missing, level })
      })
    }
    const browser = await enter('browser', { codec: payloadTypes.opus, slots: true, tone: 400, level: 20 })
    const phone = await enter('phone')
    await pass(200)
    phone.tone = 950
    await pass(1000)
    assert.deepEqual(slotted(), [
      [0, 'browser'],
      [1, 'phone'],
    ])
    assert.ok(slots[0]!.length >= 50)
    assert.equal(slots[0]!.filter(packet => packet.marker).length, 1)
    assert.ok(slots[0]!.every(packet => packet.samples === 960 && packet.missing === 0 && packet.level === 20))
    assert.equal(slots[1]!.filter(packet => packet.marker).length, 1)
    for (const [slot, tone] of [400, 950].entries()) {
      await settle()
      const decoder = codecs.decoder('opus', RATE)
      const pcm = slots[slot]!.flatMap(packet => [...decoder.decode(packet.payload)!])
      assert.ok(shareOf(soundOf(RATE, pcm), tone, 3200) > 0.9, `slot ${slot}`)
      decoder.free()
    }
    // A lost packet leaves its gap; what is muted frees its slot.
    browser.mute = true
    await pass(20)
    browser.mute = false
    await pass(20)
    assert.equal(slots[0]!.at(-1)!.missing, 1)
    mixer.mute('browser', true)
    await pass(20)
    assert.deepEqual(slotted().at(-1), [0, undefined])
  })

  it('keeps a speaker in its slot through pauses, and gives it to another when it must', async () => {
    mixer.slot(0, payloadTypes.opus, () => {})
    const one = await enter('one', { codec: payloadTypes.opus, slots: true, tone: 400 })
    const other = await enter('other', { codec: payloadTypes.opus, slots: true })
    await pass(500)
    one.tone = 0
    await pass(5000)
    assert.deepEqual(slotted(), [[0, 'one']])
    other.tone = 950
    await pass(500)
    assert.deepEqual(slotted(), [
      [0, 'one'],
      [0, 'other'],
    ])
    assert.deepEqual(
      events.flatMap(event => (event.type === 'speaker' ? [event.id] : [])),
      ['one', 'other'],
    )
  })

  it('takes whatever comes without falling over', async () => {
    const party = await enter('party', { codec: payloadTypes.opus })
    let seed = 3
    const random = () => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) >> 8
    for (let i = 0; i < 400; i++) {
      now += 20
      const codec = i % 50 === 49 ? 'CN' : Object.values(payloadTypes)[(i >> 6) & 3]!
      const payload = Uint8Array.from({ length: random() % 200 }, random)
      mixer.receive('party', { sequence: random() & 0xffff, timestamp: random(), payload, marker: false, codec })
      mixer.receive('nobody', { sequence: 0, timestamp: 0, payload, marker: false, codec })
      mixer.tick()
      if (i % 20 === 0) await settle()
    }
    assert.ok(party.packets.length >= 390)
  })

  it('bears timestamps that creep, leap and lose a beat', async () => {
    const listener = await enter('listener')
    let seed = 5
    const random = (below: number) => ((seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) >> 8) % below
    for (const codec of ['opus', 'PCMU'] as const) {
      const speaker = await enter(codec, { codec: payloadTypes[codec], tone: 400 })
      let [timestamp, sequence] = [0, 0]
      for (let i = 0; i < 300; i++) {
        now += 20
        timestamp =
          (timestamp + payloadTypes[codec].clockRate / 50 + random(40) - 15 + (i % 40 === 39 ? 5000 : 0)) >>> 0
        sequence = (sequence + (i % 7 === 6 ? 2 : 1)) & 0xffff
        speaker.say({ timestamp, sequence })
        mixer.tick()
        if (i % 20 === 0) await settle()
      }
      speaker.leave()
    }
    assert.ok(listener.packets.length >= 600)
  })

  it('closes twice and does nothing afterwards', async () => {
    const party = await enter('party', { tone: 400 })
    await pass(100)
    await mixer.close()
    await mixer.close()
    party.forget()
    mixer.tick()
    party.say()
    assert.equal(party.packets.length, 0)
    assert.equal(mixer.stats('party'), undefined)
  })
})
