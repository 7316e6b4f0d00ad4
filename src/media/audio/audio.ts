// The seam of the audio thread: it owns every socket that carries phones' RTP, passes packets between ends and mixes
// meetings, so that no packet ever waits for the main event loop. Plain data and ids only; all methods may be called
// from the main thread, answers come back as promises.

export type AudioCodec = 'opus' | 'G722' | 'PCMU' | 'PCMA'

/** A codec as one side has numbered it. `clockRate` is RTP's (G.722 says 8000, RFC 3551 section 4.5.2). */
export interface PayloadType {
  payloadType: number
  codec: AudioCodec
  clockRate: number
  channels: number
  /** Packet time that the far side wants, in ms; 20 unless it said otherwise. */
  ptime?: number
  fmtp?: string
}

/** SDES keys (RFC 4568), base64 of key and salt together. */
export interface SrtpKeys {
  suite: 'AES_CM_128_HMAC_SHA1_80' | 'AES_CM_128_HMAC_SHA1_32'
  /** What protects packets that we send, and those that come. */
  send: string
  receive: string
}

/** Where a phone is and what it speaks, from its SDP. */
export interface PortRemote {
  /** Of the c= line; packets go there until its own packets show another place (symmetric RTP). */
  address: string
  port: number
  /** Where its signalling comes from: a phone behind a NAT sends its packets from there too. */
  signalling?: string | undefined
  /** 0: RTCP on the RTP port (RFC 5761). */
  rtcpPort: number
  send: PayloadType
  receive: readonly PayloadType[]
  /** telephone-event (RFC 4733); undefined: the phone knows none. */
  dtmf?: { send: number; receive: number; clockRate: number } | undefined
  comfortNoise?: number | undefined
  srtp?: SrtpKeys | undefined
  /** Ours: whether we send to it and listen to it. */
  direction: 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive'
}

/**
 * One stream of a mediasoup PlainTransport, as seen from the thread. Payload types are the router's. mediasoup's consumers
 * drop `telephone-event`, so `dtmf` works only when the router, producer and consumer know that payload type under the
 * name of a codec that nobody speaks, such as `audio/SILK` (test/contract/trunk.test.ts).
 */
export interface TrunkEnd {
  /**
   * What mediasoup sends us (a consumer of the party's producer); undefined when the party only listens. Its SSRC is the
   * only one of its kind in the trunk.
   */
  receive?:
    | { ssrc: number; codec: PayloadType; dtmf?: number | undefined; levelExtension?: number | undefined }
    | undefined
  /** What we send to mediasoup (its producer); undefined when the party only speaks. */
  send?:
    | {
        ssrc: number
        codec: PayloadType
        dtmf?: number | undefined
        levelExtension?: number | undefined
        cname: string
      }
    | undefined
}

export type AudioEvent =
  | { type: 'dtmf'; end: string; digit: string; ms: number }
  | { type: 'media'; end: string }
  | { type: 'silent'; end: string; ms: number }
  | { type: 'speaking'; end: string; on: boolean }
  /** Loudest now in a mix. */
  | { type: 'speaker'; mix: string; end: string | undefined }
  /** Whose speech a slot carries from now on; nobody may be sent its own. */
  | { type: 'slot'; mix: string; slot: number; end: string | undefined }
  | { type: 'played'; playing: string }
  /** A recording has ended by itself, for example because the disk is full; `stopRecord` still tells what was written. */
  | { type: 'record-failed'; recording: string; why: string }
  /** The thread died; every end is gone. */
  | { type: 'died'; why: string }

export interface AudioEngine {
  /** Opens a UDP port pair (even, odd) on `address` for a phone; nothing flows before `setPort`. */
  openPort(address: string): Promise<{ end: string; rtpPort: number; rtcpPort: number }>
  /** Tells, or changes, where the phone is; opens the window of 3 s in which another source address may be latched. */
  setPort(end: string, remote: PortRemote): Promise<void>
  /** Opens the one loopback socket to a mediasoup PlainTransport (rtcpMux, no comedia). */
  openTrunk(address: string): Promise<{ trunk: string; port: number }>
  setTrunk(trunk: string, remote: { address: string; port: number }): Promise<void>
  closeTrunk(trunk: string): Promise<void>
  openEnd(trunk: string, end: TrunkEnd): Promise<string>
  closeEnd(end: string): Promise<void>
  /** Two ends hear each other: passed on when the codecs are the same, else decoded and encoded. Replaces their last link. */
  link(one: string, other: string): Promise<void>
  /** The end hears itself after `delayMs`. */
  echo(end: string, delayMs: number): Promise<void>
  unlink(end: string): Promise<void>
  openMix(options: MixOptions): Promise<string>
  closeMix(mix: string): Promise<void>
  /** Puts an end into a mix, out of what it was linked to. `slots` ends hear speaker slots and get no mix of their own. */
  join(end: string, mix: string, options: { muted?: boolean; slots?: boolean }): Promise<void>
  mute(end: string, muted: boolean): Promise<void>
  /**
   * A sender of the trunk that carries the packets of the speaker who holds slot number `slot` of the mix, not decoded if
   * it is Opus, and encoded once if it is not. An event tells whose speech it is.
   */
  openSlot(mix: string, slot: number, trunk: string, send: NonNullable<TrunkEnd['send']>): Promise<string>
  play(to: { end: string } | { mix: string }, tone: ToneWish): Promise<string>
  stop(playing: string): Promise<void>
  record(mix: string, files: { directory: string; name: string; perSpeaker: boolean }): Promise<string>
  stopRecord(recording: string): Promise<{ file: string; speaker: string; seconds: number; bytes: number }[]>
  name(end: string, name: string): Promise<void>
  stats(): Promise<AudioStats>
  on(listener: (event: AudioEvent) => void): () => void
  close(): Promise<void>
}

export interface MixOptions {
  /** K: most speakers that are decoded and mixed at once. */
  speakers: number
}

export interface ToneWish {
  prompt: string
  loop: boolean
  count?: number
}

export interface AudioStats {
  ports: number
  mixes: number
  ends: number
  /** Of the thread, since it began. */
  cpuSeconds: number
  /** Loss, jitter and levels per end, for the status page and quality in words. */
  perEnd: Record<string, { packetsIn: number; packetsOut: number; lost: number; jitterMs: number; level: number }>
  packets: { in: number; out: number; dropped: number }
}
