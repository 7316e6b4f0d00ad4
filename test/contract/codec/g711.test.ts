import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { compress, expand, type Law, quietCode, sampleOf } from '../../../src/media/codec/g711.ts'

const laws: Law[] = ['PCMU', 'PCMA']
const codes = Uint8Array.from({ length: 256 }, (_, code) => code)

describe('G.711', () => {
  // Values of the recommendation's tables 1 and 2, scaled to 16 bits.
  it('expands the corners of both laws', () => {
    assert.deepEqual(
      [0x00, 0x80, 0x7f, 0xff, 0x0f, 0xf0].map(code => sampleOf('PCMU', code)),
      [-32124, 32124, 0, 0, -16764, 120],
    )
    assert.deepEqual(
      [0x55, 0xd5, 0x2a, 0xaa, 0x00, 0x80].map(code => sampleOf('PCMA', code)),
      [-8, 8, -32256, 32256, -5504, 5504],
    )
  })

  for (const law of laws) {
    it(`${law}: every code comes back as what it stands for`, () => {
      const pcm = new Int16Array(256)
      const back = new Uint8Array(256)
      expand(law, codes, pcm)
      compress(law, pcm, back)
      for (const code of codes) assert.equal(sampleOf(law, back[code]!), pcm[code], `code ${code}`)
    })

    it(`${law}: no sample has a nearer code than its own`, () => {
      const every = Int16Array.from({ length: 65536 }, (_, i) => i - 32768)
      const out = new Uint8Array(65536)
      compress(law, every, out)
      const values = Array.from(codes, code => sampleOf(law, code)).sort((a, b) => a - b)
      let at = 0
      for (let i = 0; i < every.length; i++) {
        const sample = every[i]!
        while (at < 255 && Math.abs(values[at + 1]! - sample) <= Math.abs(values[at]! - sample)) at++
        assert.equal(Math.abs(sampleOf(law, out[i]!) - sample), Math.abs(values[at]! - sample), `sample ${sample}`)
      }
    })

    it(`${law}: silence is the idle code`, () => {
      const out = new Uint8Array(1)
      compress(law, Int16Array.of(0), out)
      assert.ok(Math.abs(sampleOf(law, out[0]!)) <= 8)
      assert.ok(Math.abs(sampleOf(law, quietCode[law])) <= 8)
    })
  }
})
