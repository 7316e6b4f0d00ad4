/** Turns one stream's payloads into PCM (16 bit, one channel, at the rate that was asked for). */
export interface Decoder {
  /** Whatever length the payload has; undefined when it is no payload of this codec. Valid until the next call. */
  decode(payload: Uint8Array): Int16Array | undefined
  /** `samples` or a few more in place of a packet that was lost; empty while the codec is being made. Valid until the next call. */
  conceal(samples: number): Int16Array
  /** The lost packet before `payload`, as far as `payload` tells (Opus in-band FEC). */
  decodeFec?(payload: Uint8Array, samples: number): Int16Array | undefined
  /** Gives PCM of another rate from now on. Absent: another decoder must be made for that. */
  retune?(rate: MixRate): void
  free(): void
}

/** Turns PCM of one rate into payloads of one stream. */
export interface Encoder {
  /** One packet for 10 to 60 ms of PCM; undefined in the moment in which the codec is still being made. Valid until the next call. */
  encode(pcm: Int16Array): Uint8Array | undefined
  /** The next frame leans on nothing earlier, for a listener changes over to this encoder. */
  restart(): void
  /**
   * Called on a new encoder before its first frame, for a listener who comes from `from`, an encoder of the same kind
   * that made its last frame of `previous`; undefined when that one has gone.
   */
  takeOver(from: Encoder | undefined, previous: Int16Array): void
  /** Takes PCM of another rate from now on; `previous` is its last frame at that rate. Absent: another must be made. */
  retune?(rate: MixRate, previous: Int16Array): void
  free(): void
}

/** Rates of PCM, in Hz, that coders can be made for. */
export type MixRate = 8000 | 16000 | 48000
