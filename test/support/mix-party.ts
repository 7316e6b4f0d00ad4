import type { AudioCodec, PayloadType } from '../../src/media/audio/audio.ts'
import type { Codecs, Decoder, Encoder } from '../../src/media/codec/codec.ts'
import type { Mixer, MixMember, MixPacket } from '../../src/media/mix/mixer.ts'
import { type Sound, shareOf, soundOf, tonePcm } from './tone.ts'

// One who takes part in a mix without a network: it has a tone of its own and keeps what it hears.

export const RATE = 16_000

export const payloadTypes: Record<AudioCodec, PayloadType> = {
  PCMU: { payloadType: 0, codec: 'PCMU', clockRate: 8000, channels: 1 },
  PCMA: { payloadType: 8, codec: 'PCMA', clockRate: 8000, channels: 1 },
  G722: { payloadType: 9, codec: 'G722', clockRate: 8000, channels: 1 },
  opus: { payloadType: 96, codec: 'opus', clockRate: 48_000, channels: 2 },
}

export interface Party {
  readonly id: string
  /** Hz of its tone; 0 is silence. May be changed at any time. */
  tone: number
  /** Of its tone, 16 bit. */
  amplitude: number
  /** Sends nothing while true. */
  mute: boolean
  /** Sends one packet of `ptime`. */
  say(change?: Partial<MixPacket>): void
  /** Packets that it was sent. */
  readonly packets: { samples: number; marker: boolean; bytes: number }[]
  /** What it heard since the last `forget`. */
  heard(): Sound
  forget(): void
  /** Share of this tone in what it heard. */
  hears(frequency: number): number
  leave(): void
}

export interface PartyOptions extends Partial<MixMember> {
  codec?: PayloadType
  tone?: number
  level?: number
}

/** Puts a party into a mix; `codecs` must have spare coders, see `settle`. */
export function join(mixer: Mixer, codecs: Codecs, id: string, options: PartyOptions = {}): Party {
  const { codec = payloadTypes.PCMU, level, tone = 0, ...member } = options
  const encoder: Encoder = codecs.encoder(codec.codec, RATE)
  const decoder: Decoder = codecs.decoder(codec.codec, RATE)
  const ptime = codec.ptime ?? 20
  const packets: Party['packets'] = []
  let pcm: number[] = []
  let [sequence, timestamp, phase] = [0, 0, 0]
  const party: Party = {
    ...{ id, tone, packets, amplitude: 6000, mute: false },
    say(change) {
      const samples = (RATE * ptime) / 1000
      const sound = party.tone ? tonePcm(RATE, party.tone, samples, phase, party.amplitude) : new Int16Array(samples)
      phase += samples
      const payload = encoder.encode(sound)
      const packet = { sequence, timestamp, marker: false, codec, level }
      sequence = (sequence + 1) & 0xffff
      timestamp = (timestamp + (codec.clockRate * ptime) / 1000) >>> 0
      if (payload && !party.mute) mixer.receive(id, { ...packet, payload, ...change })
    },
    heard: () => soundOf(RATE, pcm),
    forget() {
      pcm = []
      packets.length = 0
    },
    hears: frequency => (pcm.length === 0 ? 0 : shareOf(soundOf(RATE, pcm), frequency)),
    leave() {
      mixer.remove(id)
      encoder.free()
      decoder.free()
    },
  }
  mixer.add(id, {
    ...member,
    codec,
    send(payload, samples, marker) {
      packets.push({ samples, marker, bytes: payload.length })
      pcm.push(...(decoder.decode(payload) ?? []))
    },
  })
  return party
}

/** Lets coders that were taken be replaced by new ones. */
export const settle = () => new Promise(resolve => setImmediate(resolve))
