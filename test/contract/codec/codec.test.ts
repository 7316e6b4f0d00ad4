import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { AudioCodec } from '../../../src/media/audio/audio.ts'
import { type Codecs, loadCodecs, type MixRate } from '../../../src/media/codec/codec.ts'
import { levelOf, type Sound, shareOf, soundOf, tonePcm } from '../../support/tone.ts'

const kinds: AudioCodec[] = ['PCMU', 'PCMA', 'G722', 'opus']
const rates: MixRate[] = [16_000, 48_000]

/** Sends a tone through a codec; `lose` says which frames are lost and how that is met. */
function carry(
  codecs: Codecs,
  codec: AudioCodec,
  rate: MixRate,
  options: { frequency?: number; frames?: number; lose?: (frame: number) => 'no' | 'conceal' | 'fec' } = {},
): Sound {
  const { frequency = 440, frames = 50, lose = () => 'no' } = options
  const encoder = codecs.encoder(codec, rate)
  const decoder = codecs.decoder(codec, rate)
  const samples = rate / 50
  const payloads = Array.from({ length: frames + 1 }, (_, i) =>
    Uint8Array.from(encoder.encode(tonePcm(rate, frequency, samples, i * samples))!),
  )
  const out: number[] = []
  for (let i = 0; i < frames; i++) {
    const how = lose(i)
    if (how === 'no') out.push(...decoder.decode(payloads[i]!)!)
    else if (how === 'conceal') out.push(...decoder.conceal(samples))
    else out.push(...(decoder.decodeFec?.(payloads[i + 1]!, samples) ?? decoder.conceal(samples)))
  }
  encoder.free()
  decoder.free()
  return soundOf(rate, out)
}

describe('codecs', () => {
  let codecs: Codecs
  before(async () => {
    codecs = await loadCodecs()
  })
  after(() => codecs.free())
  const spares = () => new Promise(resolve => setImmediate(resolve))

  for (const codec of kinds) {
    for (const rate of rates) {
      it(`${codec} carries a tone at ${rate} Hz`, async () => {
        await spares()
        const out = carry(codecs, codec, rate)
        assert.equal(out.samples.length, rate)
        assert.ok(shareOf(out, 440, rate / 5) > 0.97)
        assert.ok(Math.abs(levelOf(out, rate / 5) - levelOf(soundOf(rate, tonePcm(rate, 440, rate)))) < 1.5)
      })
    }

    it(`${codec} bridges a lost frame`, async () => {
      await spares()
      const rate = 16_000
      const lost = (frame: number) => (frame % 10 === 5 ? 'conceal' : 'no')
      const out = carry(codecs, codec, rate, { lose: lost, frames: 100 })
      // The pitch goes on through every gap, and nothing is louder than the tone.
      for (const frame of [15, 45, 85]) {
        const at = frame * 320
        assert.ok(levelOf(out, at, at + 320) > -25, `frame ${frame} has ${levelOf(out, at, at + 320)} dB`)
        assert.ok(shareOf(out, 440, at - 640, at + 960) > (codec === 'opus' ? 0.6 : 0.85), `frame ${frame} fits in`)
      }
      assert.ok(Math.max(...out.samples) < 0.4)
    })

    it(`${codec} falls silent in a long gap`, async () => {
      await spares()
      const out = carry(codecs, codec, 16_000, { lose: frame => (frame >= 25 ? 'conceal' : 'no') })
      assert.ok(levelOf(out, 45 * 320) < -45)
    })

    it(`${codec} survives whatever a stranger sends`, async () => {
      await spares()
      const decoder = codecs.decoder(codec, 48_000)
      const meter = codecs.meter(codec)
      let seed = 7
      for (let length = 0; length < 300; length++) {
        const bytes = Uint8Array.from(
          { length: length % 61 },
          () => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) >> 9,
        )
        const pcm = decoder.decode(bytes)
        assert.ok(pcm === undefined || pcm.length <= 5760)
        const level = meter.level(bytes)
        assert.ok(level >= 0 && level <= 127)
        await spares()
      }
      decoder.free()
      meter.free()
    })
  }

  it('repairs a lost Opus frame from the one behind it better than by guessing', async () => {
    // A sweep cannot be guessed: what was lost must come from the next packet.
    const rate = 16_000
    const sweep = Int16Array.from(
      { length: rate },
      (_, i) => 8000 * Math.sin(2 * Math.PI * (300 + (900 * i) / rate) * (i / rate)),
    )
    const errors: number[] = []
    for (const how of ['no', 'fec', 'conceal'] as const) {
      await spares()
      const [encoder, decoder] = [codecs.encoder('opus', rate), codecs.decoder('opus', rate)]
      const payloads = Array.from({ length: 50 }, (_, i) =>
        Uint8Array.from(encoder.encode(sweep.slice(i * 320, i * 320 + 320))!),
      )
      const out: number[] = []
      payloads.forEach((payload, i) => {
        if (i % 5 !== 3 || how === 'no') out.push(...decoder.decode(payload)!)
        else if (how === 'conceal') out.push(...decoder.conceal(320))
        else out.push(...decoder.decodeFec!(payloads[i + 1]!, 320)!)
      })
      errors.push(
        levelOf(
          soundOf(
            rate,
            out.map((sample, i) => sample - (sweep[i - 104] ?? 0)),
          ),
          rate / 5,
        ),
      )
      encoder.free()
      decoder.free()
    }
    assert.ok(errors[1]! < errors[2]! - 3, errors.join(' '))
  })

  it('gives a codec that was asked for before one was ready, a moment later', async () => {
    const many = Array.from({ length: 12 }, () => codecs.encoder('opus', 16_000))
    const frame = new Int16Array(320)
    assert.ok(many.some(encoder => encoder.encode(frame) === undefined))
    await spares()
    await spares()
    for (const encoder of many) {
      encoder.encode(frame)
      await spares()
    }
    assert.ok(many.every(encoder => encoder.encode(frame) !== undefined))
    for (const encoder of many) encoder.free()
  })

  it('measures how loud a stream is, without decoding it where it can', async () => {
    for (const codec of kinds) {
      for (const [amplitude, expected] of [
        [16_000, 9],
        [1600, 29],
        [0, 75],
      ] as const) {
        await spares()
        const [encoder, meter] = [codecs.encoder(codec, 16_000), codecs.meter(codec)]
        let level = 0
        for (let i = 0; i < 30; i++) level = meter.level(encoder.encode(tonePcm(16_000, 500, 320, i * 320, amplitude))!)
        const near = codec === 'G722' ? 12 : 3
        if (amplitude > 0) assert.ok(Math.abs(level - expected) < near, `${codec}: ${level}, expected ${expected}`)
        else assert.ok(level > 58, `${codec}: silence is ${level}`)
        encoder.free()
        meter.free()
      }
    }
  })
})
