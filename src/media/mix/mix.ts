import type { PayloadType, ToneWish } from '../audio/audio.ts'
import type { Codecs, MixRate } from '../codec/codec.ts'

// The mixer of one meeting. It knows codecs and frames, not packets: whoever owns the sockets takes the RTP headers off
// what comes (`receive`), drives `tick` every 20 ms, and writes RTP headers around what the mixer sends.

export interface MixerOptions {
  /** From `loadCodecs()`, once per thread. */
  codecs: Codecs
  /** K: most members that are decoded and mixed at once. */
  speakers: number
  /** Milliseconds of a clock that never goes back. */
  now: () => number
  onEvent: (event: MixerEvent) => void
  /** Of the mix, in Hz. Without it, it is the lowest at which nobody loses anything, and changes as members come and go. */
  rate?: MixRate
}

export type MixerEvent =
  | { type: 'speaking'; id: string; on: boolean }
  /** Loudest of those who speak; in a pause still the last one. */
  | { type: 'speaker'; id: string | undefined }
  /** Whose speech a slot carries from now on. */
  | { type: 'slot'; slot: number; id: string | undefined }
  | { type: 'played'; playing: string }
  /** A recording has ended by itself, for example because the disk is full; `stopRecord` still tells what was written. */
  | { type: 'record-failed'; recording: string; why: string }

export interface MixMember {
  /** What it is sent; its `ptime` is kept to. */
  codec: PayloadType
  /**
   * One encoded packet: `samples` is its length in units of the codec's RTP clock, `marker` says that a talk spurt begins
   * (RFC 3551 section 4.1): the timestamp then advances by the time that has really passed. The bytes may be shared with other members and are valid until
   * `send` returns. Called from `tick` only.
   */
  send: (payload: Uint8Array, samples: number, marker: boolean) => void
  muted?: boolean
  /** It hears speaker slots and no mix: `send` is called only while something is played to it. */
  slots?: boolean
  /** How it is shown in a recording's file names. */
  name?: string
}

export interface MixPacket {
  /** Of RTP, 16 bits. */
  sequence: number
  /** Of RTP, 32 bits. */
  timestamp: number
  /** Copied where it is kept: the bytes may be used again when `receive` returns. */
  payload: Uint8Array
  marker: boolean
  /** What the payload type stands for on this member's side; `CN` is comfort noise (RFC 3389). */
  codec: PayloadType | 'CN'
  /** RFC 6464: 0 (loudest) to 127 (silence), in -dBov, when the packet brought it. */
  level?: number | undefined
  /** Changes when the stream begins anew: its sequence and timestamps then mean nothing to what came before. */
  ssrc?: number
}

/**
 * One packet of a speaker slot. `missing` packets before it were lost on their way to us: the sequence number must leave
 * that gap, and the timestamp `missing * samples`. With `marker` another spurt or speaker begins. `level` as in RFC 6464.
 * Opus comes as the speaker sent it, straight from `receive`; G.711 and G.722 speakers are encoded once in `tick`.
 */
export type SlotSend = (payload: Uint8Array, samples: number, marker: boolean, missing: number, level: number) => void

export interface RecordedFile {
  file: string
  /** Empty for the mix. */
  speaker: string
  seconds: number
  bytes: number
}

export interface Mixer {
  /** Adds a member, or changes one that is there (another codec after a re-INVITE). */
  add(id: string, member: MixMember): void
  /** Idempotent. */
  remove(id: string): void
  mute(id: string, muted: boolean): void
  name(id: string, name: string): void
  /** Takes one packet of a member; nothing a stranger sends makes it throw. */
  receive(id: string, packet: MixPacket): void
  /** Opens slot number `slot` (0, 1 …), or gives it another sender. `codec` is Opus as the receiver has numbered it. */
  slot(slot: number, codec: PayloadType, send: SlotSend): void
  closeSlot(slot: number): void
  /** Plays a tone to one member or, without `id`, to all; gives the id of the playing. */
  play(id: string | undefined, tone: ToneWish): string
  /** Idempotent; `played` follows unless it had ended already. */
  stop(playing: string): void
  /** Begins a recording into a directory that exists; gives its id. */
  record(files: { directory: string; name: string; perSpeaker: boolean }): string
  stopRecord(recording: string): Promise<RecordedFile[]>
  /** Mixes and sends the next 20 ms. */
  tick(): void
  /** What each member's jitter buffer has seen. */
  stats(id: string): { lost: number; jitterMs: number; delayMs: number; level: number } | undefined
  /** Ends recordings and frees the codecs; idempotent. */
  close(): Promise<void>
}
