import type { PayloadType, PortRemote, SrtpKeys } from '../audio/audio.ts'
import type { Direction } from '../media.ts'
import type { Session } from './description.ts'

/** What a phone's description says of its first usable audio line. */
export interface PlainRemote {
  id: string
  version: number
  /** Which m-line it is. */
  index: number
  /** The kinds and formats of all lines, to reject the others in the answer. */
  lines: readonly { kind: string; protocol: string; formats: string }[]
  protocol: string
  address: string
  port: number
  /** 0: on the RTP port (RFC 5761). */
  rtcpPort: number
  rtcpMux: boolean
  /** Those that we know, best first, in the phone's numbers. */
  codecs: readonly PayloadType[]
  /** telephone-event (RFC 4733), by clock rate. */
  dtmf: readonly { payloadType: number; clockRate: number }[]
  comfortNoise: number | undefined
  ptime: number
  /** The phone's. */
  direction: Direction
  /** Its own key, one that we can use (RFC 4568). */
  crypto: Crypto | undefined
}

export interface Crypto {
  tag: number
  suite: SrtpKeys['suite']
  /** Base64 of key and salt. */
  key: string
}

/** Reads a phone's offer or answer; refuses `not-acceptable-here` where no line can be used. */
export function readPlain(session: Session): PlainRemote {
  throw new Error(`not yet: ${session.media.length}`)
}

/** What we have said to a phone. */
export interface PlainOurs {
  id: string
  version: number
  address: string
  rtpPort: number
  /** 0: muxed. */
  rtcpPort: number
  /** RTP/AVP, or RTP/SAVP with `crypto`. */
  protocol: string
  codecs: readonly PayloadType[]
  dtmf: readonly { payloadType: number; clockRate: number }[]
  direction: Direction
  crypto: Crypto | undefined
  /** Where our audio line stands, and the lines that we reject. */
  index: number
  lines: readonly { kind: string; protocol: string; formats: string }[]
}

export interface PlainWish {
  address: string
  rtpPort: number
  rtcpPort: number
  direction: Direction
  /** Encoding names, best first; empty: Opus, G722, PCMA, PCMU. */
  codecs: readonly string[]
  /** A fresh key of ours, when SDES is to be offered or is answered: base64 of 30 octets. */
  key?: string | undefined
  previous?: PlainOurs | undefined
  id?: string | undefined
}

/** An offer to a phone: one audio line, small. With `key` it is RTP/SAVP. */
export function offerPlain(wish: PlainWish): PlainOurs {
  throw new Error(`not yet: ${wish.address}`)
}

/** Our answer to a phone's offer: the first common codec by our list, in its numbers. Refuses `not-acceptable-here`. */
export function answerPlain(offer: PlainRemote, wish: PlainWish): PlainOurs {
  throw new Error(`not yet: ${offer.id} ${wish.address}`)
}

/** What the two descriptions make together, for `AudioEngine.setPort`. Refuses `not-acceptable-here` what does not fit. */
export function agree(ours: PlainOurs, remote: PlainRemote): PortRemote {
  throw new Error(`not yet: ${ours.id} ${remote.id}`)
}

/** The SDP text of what we say. */
export function writePlain(ours: PlainOurs): string {
  throw new Error(`not yet: ${ours.id}`)
}
