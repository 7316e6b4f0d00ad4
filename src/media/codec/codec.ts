import type { AudioCodec } from '../audio/audio.ts'

/** Turns one stream's payloads into PCM (16 bit, one channel, at the rate that was asked for). */
export interface Decoder {
  /** Whatever length the payload has; undefined when it is no payload of this codec. Valid until the next call. */
  decode(payload: Uint8Array): Int16Array | undefined
  /** `samples` in place of a packet that was lost. */
  conceal(samples: number): Int16Array
  /** The lost packet before `payload`, as far as `payload` tells (Opus in-band FEC); undefined when it does not. */
  decodeFec?(payload: Uint8Array, samples: number): Int16Array | undefined
  free(): void
}

/** Turns PCM of one rate into payloads of one stream. */
export interface Encoder {
  /** One packet; `pcm` is 10 to 60 ms. Valid until the next call. */
  encode(pcm: Int16Array): Uint8Array
  /** Called before the frame with which a listener changes over from another encoder: that frame leans on nothing earlier. */
  restart(): void
  free(): void
}

/** Codecs of one thread, made by `loadCodecs`. */
export interface Codecs {
  decoder(codec: AudioCodec, rate: number): Decoder
  encoder(codec: AudioCodec, rate: number): Encoder
}
