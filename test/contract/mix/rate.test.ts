import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { type Codecs, loadCodecs } from '../../../src/media/codec/codec.ts'
import { rateFor } from '../../../src/media/mix/desk.ts'
import { createMixer } from '../../../src/media/mix/mixer.ts'
import { join, type Party, payloadTypes, settle } from '../../support/mix-party.ts'
import { secondsOf } from '../../support/tone.ts'

let codecs: Codecs
before(async () => {
  codecs = await loadCodecs()
})
after(() => codecs.free())

it('mixes at the lowest rate at which nobody loses anything', () => {
  const member = (codec: keyof typeof payloadTypes) => ({ wish: { codec: payloadTypes[codec], send() {} } })
  assert.equal(rateFor([]), 8000)
  assert.equal(rateFor([member('PCMU'), member('PCMA')]), 8000)
  assert.equal(rateFor([member('PCMU'), member('G722')]), 16_000)
  assert.equal(rateFor([member('opus'), member('G722')]), 48_000)
})

it('changes the rate of a meeting without a break when members with more come and go', async () => {
  let now = 0
  const parties: Party[] = []
  const mixer = createMixer({ codecs, speakers: 3, now: () => now, onEvent() {} })
  const enter = async (id: string, codec: keyof typeof payloadTypes, tone: number) => {
    await settle()
    parties.push(join(mixer, codecs, id, { codec: payloadTypes[codec], tone }))
    return parties.at(-1)!
  }
  const listen = async (ms: number) => {
    for (const party of parties) party.forget()
    for (const until = now + ms; now < until; ) {
      now += 20
      for (const party of parties) party.say()
      mixer.tick()
      if (now % 100 === 0) await settle()
    }
  }
  /** The steepest step between two samples that somebody heard, beside the steepest of a sine of 400 Hz; a gap makes six of it. */
  const steepest = (party: Party) => {
    const { samples, rate } = party.heard()
    let most = 0
    for (let i = 1; i < samples.length; i++) most = Math.max(most, Math.abs(samples[i]! - samples[i - 1]!))
    return most / ((6000 / 32768) * 2 * Math.PI * (400 / rate))
  }

  const speaker = await enter('speaker', 'PCMU', 400)
  const phone = await enter('phone', 'PCMU', 0)
  const wide = await enter('wide', 'G722', 0)
  await listen(400)
  // To 48 kHz and, six seconds after Opus has gone, back to 16, then to 8.
  const one = await enter('one', 'opus', 0)
  await listen(400)
  for (const party of [phone, wide]) {
    assert.ok(secondsOf(party.heard(), 400, 0.9) >= 0.3, `${party.id} hears it throughout`)
    assert.ok(steepest(party) < 2.5, `${party.id}: a step of ${steepest(party)}`)
    assert.equal(party.packets.length, 20)
    assert.ok(party.packets.every(({ marker }) => !marker))
  }
  assert.ok(one.hears(400) > 0.5)

  const two = await enter('two', 'opus', 0)
  speaker.tone = 0
  one.tone = 6000
  await listen(800)
  await listen(400)
  assert.ok(two.hears(6000) > 0.9, 'what only a wide mix carries')

  one.tone = 0
  speaker.tone = 400
  for (const party of [one, two]) {
    parties.splice(parties.indexOf(party), 1)
    party.leave()
  }
  await listen(1000)
  await listen(6000)
  for (const party of [phone, wide]) {
    // The moment of each change shifts the sound by a millisecond or two.
    assert.ok(secondsOf(party.heard(), 400, 0.9) > 5.7, `${party.id} hears ${secondsOf(party.heard(), 400, 0.9)} s`)
    assert.ok(steepest(party) < 2.5, `${party.id}: a step of ${steepest(party)}`)
  }
  parties.splice(parties.indexOf(wide), 1)
  wide.leave()
  mixer.play('phone', { prompt: 'ringback', loop: true })
  await listen(900)
  assert.ok(phone.hears(425) > 0.05)
  await enter('late', 'opus', 0)
  await listen(100)
  assert.ok(phone.hears(425) > 0.05, 'a tone goes on at another rate')
  for (const party of parties) party.leave()
  await mixer.close()
})
