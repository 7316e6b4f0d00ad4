import type { PayloadType } from './audio.ts'
import { createDtmf, type Dtmf } from './dtmf.ts'
import type { End, EventPacket, Meaning, MediaPacket } from './end.ts'
import { createReception, type Reception } from './rtcp.ts'
import type { RtpPacket } from './rtp.ts'

// The receiving half of an end: which SSRC is heard, what its payload types stand for, and what is handed to the route.

export interface Inbound {
  /** The SSRC that is heard now. */
  readonly reception: Reception | undefined
  readonly packets: number
  /** Of the last packet that had one or was measured; 127 before. */
  level: number
  /** What may come from now on, by payload type. */
  expect(meanings: ReadonlyMap<number, Meaning>): void
  knows(payloadType: number): boolean
  /** Takes one packet and hands it to the end's route unless `deaf`; false when it is not to be used. */
  take(end: End, rtp: RtpPacket, level: number, now: number, deaf: boolean): boolean
  tick(now: number): void
}

// After a change of SSRC, stragglers of the old one are not taken for another change.
const stragglerMs = 500

// One of each for the whole thread: a packet is dealt with before the next one is read.
const media = { level: -1 } as MediaPacket
const event = {} as EventPacket

export function createInbound(onDtmf: (digit: string, ms: number) => void): Inbound {
  return new InboundStream(onDtmf)
}

class InboundStream implements Inbound {
  reception: Reception | undefined
  packets = 0
  level = 127
  readonly #onDtmf: (digit: string, ms: number) => void
  readonly #meanings: (Meaning | undefined)[] = new Array(128).fill(undefined)
  #dtmf: Dtmf | undefined
  #eventRate = 8000
  #soundRate = 8000
  #before = -1
  #changedAt = 0

  constructor(onDtmf: (digit: string, ms: number) => void) {
    this.#onDtmf = onDtmf
  }

  expect(meanings: ReadonlyMap<number, Meaning>): void {
    this.#meanings.fill(undefined)
    for (const [payloadType, meaning] of meanings) {
      this.#meanings[payloadType & 0x7f] = meaning
      if (meaning.kind === 'dtmf' && meaning.clockRate !== this.#eventRate) {
        this.#eventRate = meaning.clockRate
        this.#dtmf = undefined
      }
    }
  }

  knows(payloadType: number): boolean {
    return this.#meanings[payloadType] !== undefined
  }

  take(end: End, rtp: RtpPacket, level: number, now: number, deaf: boolean): boolean {
    const meaning = this.#meanings[rtp.payloadType]
    if (!meaning) return false
    const reception = rtp.ssrc === this.reception?.ssrc ? this.reception : this.#change(rtp.ssrc, now)
    if (!reception) return false
    this.packets++
    if (meaning.kind === 'dtmf') {
      reception.heard(rtp.sequence, rtp.timestamp, 0, now)
      return this.#takeEvent(end, rtp, reception, meaning.clockRate, now, deaf)
    }
    if (meaning.kind === 'audio') this.#soundRate = meaning.codec.clockRate
    reception.heard(rtp.sequence, rtp.timestamp, this.#soundRate, now)
    this.#dtmf?.sound(rtp.sequence, now)
    if (level >= 0) this.level = level
    if (!deaf) this.#pass(end, rtp, reception, meaning.kind === 'audio' ? meaning.codec : 'CN', level)
    return true
  }

  tick(now: number): void {
    this.#dtmf?.tick(now)
  }

  #pass(end: End, rtp: RtpPacket, reception: Reception, codec: PayloadType | 'CN', level: number): void {
    media.source = reception
    media.sequence = rtp.sequence
    media.timestamp = rtp.timestamp
    media.marker = rtp.marker
    media.bytes = rtp.bytes
    media.start = rtp.start
    media.end = rtp.end
    media.level = level
    media.codec = codec
    end.route?.receive(end, media)
  }

  #takeEvent(end: End, rtp: RtpPacket, reception: Reception, clockRate: number, now: number, deaf: boolean): boolean {
    this.#dtmf ??= createDtmf(clockRate, this.#onDtmf)
    const begins = this.#dtmf.receive(rtp.sequence, rtp.timestamp, rtp.bytes, rtp.start, rtp.end, now)
    if (begins === undefined) return false
    if (deaf) return true
    event.source = reception
    event.sequence = rtp.sequence
    event.timestamp = rtp.timestamp
    event.begins = begins
    event.bytes = rtp.bytes
    event.start = rtp.start
    event.end = rtp.end
    event.clockRate = clockRate
    end.route?.event(end, event)
    return true
  }

  #change(ssrc: number, now: number): Reception | undefined {
    if (ssrc === this.#before && now - this.#changedAt < stragglerMs) return undefined
    this.#before = this.reception?.ssrc ?? -1
    this.#changedAt = now
    this.#dtmf?.tick(Number.POSITIVE_INFINITY)
    this.#dtmf = undefined
    this.reception = createReception(ssrc)
    return this.reception
  }
}
