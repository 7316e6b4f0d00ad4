import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Codecs, loadCodecs } from '../../../src/media/codec/codec.ts'
import { opusSamples, opusVoice } from '../../../src/media/codec/opus-packet.ts'

const packet = (config: number, code: number, ...rest: number[]) => Uint8Array.of((config << 3) | code, ...rest)

/** What SILK takes for a voice: gliding harmonics. */
function voiced(samples: number, from: number): Int16Array {
  return Int16Array.from({ length: samples }, (_, i) => {
    const t = (from + i) / 16_000
    let sound = 0
    for (let h = 1; h <= 10; h++) sound += Math.sin(h * 2 * Math.PI * (130 * t + 3 * Math.sin(2 * Math.PI * 3 * t))) / h
    return 5000 * sound * Math.abs(Math.sin(2 * Math.PI * 4 * t))
  })
}

describe('Opus packets', () => {
  let codecs: Codecs
  before(async () => {
    codecs = await loadCodecs()
  })
  after(() => codecs.free())

  // The table of RFC 6716 section 3.1.
  it('tells their length by configuration and number of frames', () => {
    for (const [config, ms] of [
      [0, 10],
      [3, 60],
      [7, 60],
      [9, 20],
      [12, 10],
      [15, 20],
      [16, 2.5],
      [19, 20],
      [31, 20],
    ] as const) {
      assert.equal(opusSamples(packet(config, 0, 1, 2)), ms * 48, `configuration ${config}`)
    }
    assert.equal(opusSamples(packet(31, 1, 1, 2)), 1920)
    assert.equal(opusSamples(packet(31, 2, 1, 2)), 1920)
    assert.equal(opusSamples(packet(31, 3, 6, 2)), 5760)
  })

  it('takes what cannot be for none', () => {
    for (const bytes of [new Uint8Array(), packet(31, 3), packet(31, 3, 0), packet(3, 3, 3), packet(31, 3, 63)]) {
      assert.equal(opusSamples(bytes), 0)
    }
  })

  it('agrees with what the encoder makes', async () => {
    for (const ms of [10, 20, 40, 60]) {
      await new Promise(resolve => setImmediate(resolve))
      const encoder = codecs.encoder('opus', 16_000)
      assert.equal(opusSamples(encoder.encode(new Int16Array(16 * ms))!), ms * 48)
      encoder.free()
    }
  })

  it('tells voice from silence without decoding', async () => {
    await new Promise(resolve => setImmediate(resolve))
    const encoder = codecs.encoder('opus', 16_000)
    const flags: string[] = []
    for (let i = 0; i < 150; i++)
      flags.push(opusVoice(encoder.encode(i < 75 ? voiced(320, i * 320) : new Int16Array(320))!))
    const count = (from: number, to: number, flag: string) => flags.slice(from, to).filter(one => one === flag).length
    assert.ok(count(10, 75, 'voice') > 50, flags.join(' '))
    assert.ok(count(110, 150, 'none') >= 38, flags.join(' '))
    assert.equal(opusVoice(Uint8Array.of(0x48)), 'none')
    assert.equal(opusVoice(Uint8Array.of(0xf8, 1, 2, 3)), 'unknown')
    encoder.free()
  })
})
