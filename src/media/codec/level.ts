import type { AudioCodec } from '../audio/audio.ts'
import type { Decoder } from './coder.ts'
import { type Law, sampleOf } from './g711.ts'
import { G722Follower } from './g722.ts'
import { opusVoice } from './opus-packet.ts'

// Phones send no level (RFC 6464), and decoding everybody only to learn who is loud would cost as much as what the
// mixer saves. So each codec is asked in the cheapest way that it has.

/** Follows how loud one stream is. */
export interface LevelMeter {
  /** The level of the packet as RFC 6464 says it: 0 is full scale, 127 silence, in -dBov. */
  level(payload: Uint8Array): number
  free(): void
}

const SILENCE = 127
const FULL_SQUARE = 32768 ** 2

/** -dBov of a mean square of 16-bit samples. */
export function levelOfPower(meanSquare: number): number {
  if (meanSquare < 1) return SILENCE
  const level = Math.round(-10 * Math.log10(meanSquare / FULL_SQUARE))
  return level < 0 ? 0 : Math.min(level, SILENCE)
}

/** -dBov of a frame of PCM, from every fourth sample. */
export function levelOfPcm(pcm: Int16Array): number {
  let [sum, count] = [0, 0]
  for (let i = 0; i < pcm.length; i += 4) {
    sum += pcm[i]! * pcm[i]!
    count++
  }
  return count === 0 ? SILENCE : levelOfPower(sum / count)
}

const squares = (law: Law) => Float64Array.from({ length: 256 }, (_, code) => sampleOf(law, code) ** 2)
const square: Record<Law, Float64Array> = { PCMU: squares('PCMU'), PCMA: squares('PCMA') }

/** G.711: every code's square is in a table. */
function g711Meter(law: Law): LevelMeter {
  const table = square[law]
  return {
    level(payload) {
      let sum = 0
      for (let i = 0; i < payload.length; i++) sum += table[payload[i]!]!
      return payload.length === 0 ? SILENCE : levelOfPower(sum / payload.length)
    },
    free() {},
  }
}

/** What the mean scale factor of G.722 comes to in silence. */
const G722_IDLE = 43

/** G.722: the lower band's scale factor, which is about a third of the signal's amplitude in speech. */
function g722Meter(): LevelMeter {
  const follower = new G722Follower()
  return {
    level(payload) {
      return levelOfPower((Math.max(0, follower.follow(payload) - G722_IDLE) * 3) ** 2)
    },
    free() {},
  }
}

/** Of how many packets one is decoded: SILK says where it hears a voice, but music and tones are none to it. */
const OPUS_EVERY = { voice: 2, none: 5, unknown: 3 } as const

/** Opus: a packet now and then is decoded, more often where there may be a voice; those between are taken to be as loud. */
function opusMeter(decoder: Decoder): LevelMeter {
  let last = SILENCE
  let until = 0
  return {
    level(payload) {
      // Discontinuous transmission sends no more than this for silence.
      if (payload.length <= 2) {
        until = 0
        return (last = SILENCE)
      }
      until = Math.min(until, OPUS_EVERY[opusVoice(payload)]) - 1
      if (until > 0) return last
      const pcm = decoder.decode(payload)
      until = OPUS_EVERY[opusVoice(payload)]
      return (last = pcm ? levelOfPcm(pcm) : SILENCE)
    },
    free() {
      decoder.free()
    },
  }
}

/** A meter for one stream; `decoder` makes one for Opus, at the lowest rate there is. */
export function createLevelMeter(codec: AudioCodec, decoder: () => Decoder): LevelMeter {
  if (codec === 'opus') return opusMeter(decoder())
  return codec === 'G722' ? g722Meter() : g711Meter(codec)
}
