import type { AudioCodec, PayloadType } from './audio.ts'
import type { Outgoing } from './outgoing.ts'
import type { Reception } from './rtcp.ts'

// What a phone's port and a stream of a trunk have in common for whoever joins them.

/** What a payload type of an end stands for. */
export type Meaning = { kind: 'audio'; codec: PayloadType } | { kind: 'dtmf'; clockRate: number } | { kind: 'noise' }

/** One packet on its way; the object is used again for the next one. Its payload is bytes[start..end). */
export interface MediaPacket {
  /** Who it is from: another object for each SSRC. */
  source: Reception
  sequence: number
  timestamp: number
  marker: boolean
  bytes: Buffer
  start: number
  end: number
  /** RFC 6464, when the packet brought one; else -1. */
  level: number
  codec: PayloadType | 'CN'
}

/** A telephone event on its way; `begins` at the first packet of it. */
export interface EventPacket {
  source: Reception
  sequence: number
  timestamp: number
  begins: boolean
  bytes: Buffer
  start: number
  end: number
  clockRate: number
}

/** What an end is put into: a link, an echo, a mix. */
export interface Route {
  receive(from: End, packet: MediaPacket): void
  event(from: End, packet: EventPacket): void
  /** The end's codecs or direction are others now. */
  changed(end: End): void
  /** The end's `muted` is another now. */
  muted(end: End): void
  /** Takes the end out; the others go on without it. */
  leave(end: End): void
}

export interface End {
  readonly id: string
  route: Route | undefined
  /** How it is shown in recordings. */
  name: string
  muted: boolean
  /** What it is sent, and whether anything may be sent to it now. */
  readonly sends: PayloadType | undefined
  readonly sendsDtmf: { payloadType: number; clockRate: number } | undefined
  readonly sendsNoise: number | undefined
  /** Whether packets need a level. */
  readonly wantsLevel: boolean
  readonly out: Outgoing
  /** Sends one packet with the header fields that `out` was set to just now. */
  transmit(payloadType: number, payload: Uint8Array, start: number, end: number, level: number): void
  /** Level of a packet that came from here and brought none. */
  measure(codec: AudioCodec, bytes: Uint8Array, start: number, end: number): number
  close(): Promise<void>
}
