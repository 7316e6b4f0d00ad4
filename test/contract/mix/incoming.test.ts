import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Codecs, loadCodecs } from '../../../src/media/codec/codec.ts'
import { createIncoming } from '../../../src/media/mix/incoming.ts'
import { payloadTypes } from '../../support/mix-party.ts'
import { levelOf, type Sound, shareOf, soundOf, tonePcm } from '../../support/tone.ts'

const RATE = 16_000

/** A repeatable random number from 0 to 1. */
const chance = (n: number) => (Math.imul(n + 1, 2_654_435_761) >>> 8) / 2 ** 24

describe('incoming stream', () => {
  let codecs: Codecs
  before(async () => {
    codecs = await loadCodecs()
  })
  after(() => codecs.free())

  /** A tone as PCMU through a network; `heard` says in which ticks somebody listens. */
  function stream(options: {
    seconds: number
    network?: (n: number) => number
    drift?: number
    heard?: (tick: number) => boolean
    loudness?: (n: number) => number
  }): { sound: Sound; delayMs: number } {
    const { network = () => 0, drift = 0, heard = () => true, loudness = () => 6000 } = options
    let now = 0
    const incoming = createIncoming(codecs, RATE, () => now)
    const encoder = codecs.encoder('PCMU', RATE)
    const sent: { at: number; n: number; payload: Uint8Array }[] = []
    for (let n = 0; n < options.seconds * 50; n++) {
      const payload = encoder.encode(tonePcm(RATE, 440, 320, n * 320, loudness(n)))!
      sent.push({ at: (n * 20) / (1 + drift / 1e6) + network(n), n, payload: new Uint8Array(payload) })
    }
    sent.sort((a, b) => a.at - b.at)
    const out = new Int16Array(options.seconds * RATE)
    let next = 0
    for (let tick = 0; tick < options.seconds * 50; tick++) {
      for (const until = tick * 20 + 11; next < sent.length && sent[next]!.at <= until; next++) {
        const { at, n, payload } = sent[next]!
        now = at
        incoming.put(
          { sequence: n & 0xffff, timestamp: n * 160, payload, marker: false, codec: payloadTypes.PCMU },
          true,
        )
      }
      now = tick * 20 + 11
      const pcm = heard(tick) ? incoming.hear() : void incoming.pass()
      if (pcm) out.set(pcm, tick * 320)
    }
    const { delayMs } = incoming.stats()
    incoming.free()
    return { sound: soundOf(RATE, out), delayMs }
  }

  /** The greatest step from one sample to the next, in parts of the tone's own greatest step. */
  function worstStep(sound: Sound, from: number): number {
    let worst = 0
    for (let i = from + 1; i < sound.samples.length; i++)
      worst = Math.max(worst, Math.abs(sound.samples[i]! - sound.samples[i - 1]!))
    return worst / ((6000 / 32768) * 2 * Math.sin((Math.PI * 440) / RATE))
  }

  it('gives up the delay of a storm again, even when nobody ever pauses, and without a click', () => {
    const { sound, delayMs } = stream({ seconds: 60, network: n => (n < 500 ? chance(n) * 120 : 0) })
    assert.ok(delayMs < 60, `${delayMs} ms`)
    assert.ok(shareOf(sound, 440, 50 * RATE) > 0.99)
    assert.ok(worstStep(sound, 2 * RATE) < 1.5, `${worstStep(sound, 2 * RATE)}`)
  })

  it('gives it up wholly where the voice pauses above a noise', () => {
    const { delayMs } = stream({
      ...{ seconds: 40, network: n => (n < 500 ? chance(n) * 120 : 0) },
      loudness: n => (n % 100 < 60 ? 6000 : 400),
    })
    assert.ok(delayMs < 30, `${delayMs} ms`)
  })

  it('does not click when clocks drift apart', () => {
    const { sound } = stream({ seconds: 60, drift: 500 })
    assert.ok(worstStep(sound, RATE) < 1.5, `${worstStep(sound, RATE)}`)
    assert.ok(levelOf(sound, RATE) > -19)
  })

  it('begins softly and at the right place when it is heard after a while', () => {
    const { sound } = stream({ seconds: 4, heard: tick => tick > 100 })
    const begins = sound.samples.findIndex(sample => sample !== 0)
    assert.ok(begins >= 101 * 320 && begins < 102 * 320)
    assert.ok(worstStep(sound, 0) < 1.2, `${worstStep(sound, 0)}`)
    assert.ok(shareOf(sound, 440, 102 * 320) > 0.999)
  })

  it('can be heard at any moment of what goes by unheard', () => {
    const encoder = codecs.encoder('opus', 48_000)
    const payload = new Uint8Array(encoder.encode(tonePcm(48_000, 440, 960))!)
    for (let unheard = 120; unheard < 140; unheard++) {
      let now = 0
      let sent = 0
      const incoming = createIncoming(codecs, RATE, () => now)
      // Pauses of 10 ms that are, at a third of the rate, no whole number of samples.
      for (let tick = 0; tick < unheard + 20; tick++) {
        now = tick * 20
        for (; sent * 30 <= now; sent++) {
          const packet = { sequence: sent, timestamp: sent * 1438, payload, marker: false, codec: payloadTypes.opus }
          incoming.put(packet, true)
        }
        if (tick < unheard) incoming.pass()
        else incoming.hear()
      }
      incoming.free()
    }
    encoder.free()
  })
})
