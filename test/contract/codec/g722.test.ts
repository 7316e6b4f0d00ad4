import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { G722Decoder, G722Encoder, G722Follower } from '../../../src/media/codec/g722.ts'
import { levelOf, shareOf, soundOf, tonePcm } from '../../support/tone.ts'

/** Four seconds that drive both bands into every corner: a sweep, then noise over it, then both clipped. */
function hardSignal(): Int16Array {
  let seed = 1
  return Int16Array.from({ length: 64_000 }, (_, i) => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff
    const t = i / 16_000
    const noise = t > 2 ? (seed / 0x40000000 - 1) * 20_000 : 0
    const loud = (20_000 * Math.sin(2 * Math.PI * (200 + 900 * t) * t) + noise) * (t < 3 ? 1 : 1.7)
    return Math.max(-32768, Math.min(32767, Math.round(loud)))
  })
}

function encode(pcm: Int16Array): Uint8Array {
  const out = new Uint8Array(pcm.length / 2)
  new G722Encoder().encode(pcm, out)
  return out
}

function decode(payload: Uint8Array): Int16Array {
  const out = new Int16Array(payload.length * 2)
  new G722Decoder().decode(payload, out)
  return out
}

const digest = (bytes: NodeJS.ArrayBufferView) => createHash('sha256').update(bytes).digest('hex').slice(0, 16)
const hasFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0
const without = hasFfmpeg ? false : 'ATTENTION: no ffmpeg here, so G.722 is NOT held against a foreign implementation'

function ffmpeg(input: Uint8Array, from: string[], to: string[]): Buffer {
  const args = ['-v', 'error', ...from, '-i', 'pipe:0', ...to, 'pipe:1']
  const run = spawnSync('ffmpeg', args, { input, maxBuffer: 1 << 24 })
  assert.equal(run.status, 0, run.stderr.toString())
  return run.stdout
}

describe('G.722', () => {
  // The digests are those of a foreign implementation's output for the same signal; the next test asks it anew.
  it('gives the bits that the recommendation gives', () => {
    const payload = encode(hardSignal())
    assert.equal(digest(payload), '56295a6d2d4b5d4c')
    assert.equal(digest(decode(payload)), '831d42103d4eb1b3')
  })

  it('agrees with ffmpeg bit by bit, both ways', { skip: without }, () => {
    const pcm = hardSignal()
    const raw = ['-f', 's16le', '-ar', '16000', '-ac', '1']
    const payload = ffmpeg(new Uint8Array(pcm.buffer), raw, ['-c:a', 'g722', '-f', 'g722'])
    assert.deepEqual(encode(pcm), Uint8Array.from(payload))
    const decoded = ffmpeg(payload, ['-f', 'g722'], ['-f', 's16le'])
    assert.deepEqual(decode(payload), new Int16Array(decoded.buffer, decoded.byteOffset, decoded.length / 2))
  })

  it('carries tones of both bands', () => {
    for (const frequency of [300, 1000, 3000, 5000, 6500]) {
      const out = soundOf(16_000, decode(encode(tonePcm(16_000, frequency, 16_000))))
      assert.ok(shareOf(out, frequency, 800) > 0.98, `${frequency} Hz`)
      assert.ok(Math.abs(levelOf(out, 800) - levelOf(soundOf(16_000, tonePcm(16_000, frequency, 16_000)))) < 1)
    }
  })

  it('takes frames as one stream', () => {
    const pcm = hardSignal()
    const encoder = new G722Encoder()
    const whole = encode(pcm)
    const part = new Uint8Array(160)
    for (let i = 0; i < 20; i++) {
      encoder.encode(pcm.subarray(i * 320, (i + 1) * 320), part)
      assert.deepEqual(part, whole.subarray(i * 160, (i + 1) * 160))
    }
  })

  it('is followed by its codes alone: louder is louder, silence is silence', () => {
    const loudness = [0, 200, 1000, 5000, 20_000].map(amplitude => {
      const payload = encode(tonePcm(16_000, 500, 16_000, 0, amplitude))
      return new G722Follower().follow(payload)
    })
    assert.ok(loudness[0]! < 43)
    for (let i = 1; i < loudness.length; i++) assert.ok(loudness[i]! > 1.4 * loudness[i - 1]!, loudness.join(' '))
  })
})
