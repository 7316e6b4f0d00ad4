import type { Codecs, Decoder } from '../codec/codec.ts'
import { sampleOf } from '../codec/g711.ts'
import type { AudioCodec } from './audio.ts'
import { silentLevel } from './rtp.ts'

// The audio level of phones, which send none (RFC 6464): mediasoup's observers and the mixer read nothing else.

/** Finds the level of one stream's packets, 0 (loudest) to 127 (silence, -dBov). */
export interface LevelMeter {
  measure(codec: AudioCodec, bytes: Uint8Array, start: number, end: number): number
  close(): void
}

// Squares of G.711's values at full scale 1, by code.
const squares = {
  PCMU: Float32Array.from({ length: 256 }, (_, code) => (sampleOf('PCMU', code) / 32768) ** 2),
  PCMA: Float32Array.from({ length: 256 }, (_, code) => (sampleOf('PCMA', code) / 32768) ** 2),
}
// What must be decoded for its level is decoded in so many packets only.
const every = 3
const decodeRate = 16000

/** `codecs` may be undefined while they are being loaded. */
export function createLevelMeter(codecs: () => Codecs | undefined): LevelMeter {
  let decoder: { codec: AudioCodec; decoder: Decoder } | undefined
  let [turn, level] = [0, silentLevel]
  const decode = (codec: AudioCodec, payload: Uint8Array): number => {
    if (decoder?.codec !== codec) {
      const loaded = codecs()
      if (!loaded) return level
      decoder?.decoder.free()
      decoder = { codec, decoder: loaded.decoder(codec, decodeRate) }
    }
    const pcm = decoder.decoder.decode(payload)
    if (!pcm || pcm.length === 0) return level
    let energy = 0
    for (let i = 0; i < pcm.length; i += 2) energy += pcm[i]! * pcm[i]!
    return toLevel(energy / (pcm.length / 2) / 32768 ** 2)
  }
  return {
    measure(codec, bytes, start, end) {
      if (end <= start) return silentLevel
      if (codec === 'PCMU' || codec === 'PCMA') {
        const table = squares[codec]
        let energy = 0
        for (let i = start; i < end; i += 2) energy += table[bytes[i]!]!
        return toLevel(energy / Math.ceil((end - start) / 2))
      }
      if (turn++ % every === 0) level = decode(codec, bytes.subarray(start, end))
      return level
    },
    close() {
      decoder?.decoder.free()
      decoder = undefined
    },
  }
}

function toLevel(power: number): number {
  if (power <= 0) return silentLevel
  return Math.max(0, Math.min(silentLevel, Math.round(-10 * Math.log10(power))))
}
