import { randomInt } from 'node:crypto'
import { sequenceDistance, timestampDistance } from './rtp.ts'

// One continuous stream out of whatever is heard through it: another phone, its next SSRC, a mix, a tone. Jitter
// buffers go mute for seconds when a stream's numbers jump (baresip after a transfer, phones after a long hold), so
// the receiver sees one SSRC, sequence numbers without a hole that was not there, and timestamps that advance by the
// time that has passed.

/** Where packets come from: one SSRC of one end. Compared by identity. */
export type Source = object

export interface Outgoing {
  readonly ssrc: number
  /** Header fields of the packet to send now, set by the methods below. */
  sequence: number
  timestamp: number
  marker: boolean
  /** Counts for sender reports; the owner adds to them. */
  packets: number
  octets: number
  /** RTP clock rate of what is sent from now on, in Hz. */
  setRate(rate: number): void
  /** Passes a packet of `source` on. False: it is older than the last change of sources, or a duplicate: not to be sent. */
  forward(source: Source, sequence: number, timestamp: number, marker: boolean, now: number): boolean
  /** Passes a telephone event on. `begins`: its first packet; all of an event have one timestamp (RFC 4733 section 2.5.1.1). */
  forwardEvent(source: Source, sequence: number, timestamp: number, begins: boolean, now: number): boolean
  /** A packet of `source` is kept from the receiver on purpose: no hole shall tell of it. */
  skip(source: Source, sequence: number): void
  /**
   * A packet of our own of `samples` clock ticks. With `missing` it is one that came from elsewhere without its numbers,
   * after so many of the same length that were lost.
   */
  emit(samples: number, marker: boolean, now: number, missing?: number): void
  /** A telephone event among packets of our own. */
  emitEvent(begins: boolean, now: number): void
  /** What the timestamp of a packet sampled now would be, for sender reports. */
  clock(now: number): number
}

// A source whose numbers jump by more than this has begun anew (RFC 3550 appendix A.1, MAX_DROPOUT).
const mostDropout = 3000
// A source whose clock and ours differ by more since its last packet has stopped its clock meanwhile, as phones do on hold.
const mostDriftMs = 1000
// The beat of our own packets makes up for less, and goes on from now after more.
const mostLateMs = 200
// Late packets are told from those before a change of sources within this distance.
const lateWindow = 16384

/** `now` is in ms of a clock that never goes back. The first sequence number is low, for SRTP's sake (RFC 3711 section 3.3.1). */
export function createOutgoing(ssrc: number, clockRate: number): Outgoing {
  return new OutgoingStream(ssrc, clockRate)
}

class OutgoingStream implements Outgoing {
  readonly ssrc: number
  sequence = randomInt(0x4000)
  timestamp = randomInt(0x7fffffff)
  marker = false
  packets = 0
  octets = 0
  #rate: number
  #source: Source | undefined
  // Highest number sent, and the time and length of the last sound.
  #highest = this.sequence
  #lastTimestamp = this.timestamp
  #lastAt = Number.NaN
  #lastSamples = 0
  // Where the stream's clock was, and when: what begins anew is put where real time is on this line.
  #anchor = Number.NaN
  #anchorAt = 0
  // The source's side: its first and highest number, its last timestamp, and what is added to both.
  #base = 0
  #sourceHighest = 0
  #sourceTimestamp = 0
  #sourceAt = 0
  #sequenceOffset = 0
  #timestampOffset = 0
  #eventTimestamp = 0

  constructor(ssrc: number, clockRate: number) {
    this.ssrc = ssrc
    this.#rate = clockRate
  }

  setRate(rate: number): void {
    if (rate === this.#rate) return
    this.#rate = rate
    this.#lastSamples = 0
    this.#source = undefined
    this.#anchor = Number.NaN
  }

  forward(source: Source, sequence: number, timestamp: number, marker: boolean, now: number): boolean {
    const step = sequenceDistance(this.#sourceHighest, sequence)
    if (source === this.#source && step <= 0 && step > -mostDropout) return this.#late(step, sequence, timestamp)
    if (this.#isNew(source, step) || this.#hasJumped(timestamp, now)) {
      this.#change(source, sequence, timestamp, now)
    } else {
      this.marker = marker
      this.sequence = (sequence + this.#sequenceOffset) & 0xffff
      this.timestamp = (timestamp + this.#timestampOffset) >>> 0
    }
    this.#sourceTimestamp = timestamp
    this.#sourceAt = now
    this.#sent(sequence)
    this.#sounded(Math.round(this.#rate / 50), now)
    return true
  }

  forwardEvent(source: Source, sequence: number, timestamp: number, begins: boolean, now: number): boolean {
    const step = sequenceDistance(this.#sourceHighest, sequence)
    if (source === this.#source && step <= 0 && step > -mostDropout) {
      if (!this.#late(step, sequence, timestamp)) return false
      this.timestamp = this.#eventTimestamp
      return true
    }
    if (this.#isNew(source, step)) {
      this.#change(source, sequence, timestamp, now)
      this.#sourceTimestamp = timestamp
      this.#sourceAt = now
      this.#eventTimestamp = this.timestamp
      this.#sounded(0, now)
    } else {
      this.sequence = (sequence + this.#sequenceOffset) & 0xffff
      if (begins) this.#eventTimestamp = this.#position(now)
      this.timestamp = this.#eventTimestamp
    }
    this.marker = begins
    this.#sent(sequence)
    return true
  }

  skip(source: Source, sequence: number): void {
    const step = sequenceDistance(this.#sourceHighest, sequence)
    if (this.#isNew(source, step) || step <= 0) return
    this.#sequenceOffset--
    this.#sourceHighest = sequence
    // What was sent before and comes late would take a number that is taken now.
    this.#base = (sequence + 1) & 0xffff
  }

  emit(samples: number, marker: boolean, now: number, missing?: number): void {
    const lost = missing ?? 0
    const passed = this.#elapsed(now) - this.#lastSamples - lost * samples
    const most = (this.#rate * (missing === undefined ? mostLateMs : mostDriftMs)) / 1000
    const jump = this.#source !== this || passed > (marker ? this.#lastSamples : most)
    this.timestamp = jump ? this.#next(now) : (this.#lastTimestamp + this.#lastSamples + lost * samples) >>> 0
    this.marker = marker || this.#source !== this
    this.sequence = (this.#highest + 1 + (jump ? 0 : lost)) & 0xffff
    this.#source = this
    this.#highest = this.sequence
    this.#sounded(samples, now)
  }

  emitEvent(begins: boolean, now: number): void {
    if (begins) {
      // Where the next sound of ours will lie, for a beat that is late is made up for by `emit`.
      const late = this.#elapsed(now) - this.#lastSamples <= (this.#rate * mostLateMs) / 1000
      this.#eventTimestamp = late ? (this.#lastTimestamp + this.#lastSamples) >>> 0 : this.#position(now)
    }
    this.timestamp = this.#eventTimestamp
    this.marker = begins
    this.sequence = this.#highest = (this.#highest + 1) & 0xffff
  }

  clock(now: number): number {
    return (this.#lastTimestamp + this.#elapsed(now)) >>> 0
  }

  #isNew(source: Source, step: number): boolean {
    return source !== this.#source || Math.abs(step) >= mostDropout
  }

  /** Whether an in-order packet's timestamp disagrees with the time since the one before. */
  #hasJumped(timestamp: number, now: number): boolean {
    const jump = timestampDistance(this.#sourceTimestamp, timestamp)
    const passed = ((now - this.#sourceAt) * this.#rate) / 1000
    return jump < 0 || Math.abs(jump - passed) > (this.#rate * mostDriftMs) / 1000
  }

  #late(step: number, sequence: number, timestamp: number): boolean {
    if (step === 0 || sequenceDistance(this.#base, sequence) < 0) return false
    this.marker = false
    this.sequence = (sequence + this.#sequenceOffset) & 0xffff
    this.timestamp = (timestamp + this.#timestampOffset) >>> 0
    return true
  }

  #change(source: Source, sequence: number, timestamp: number, now: number): void {
    this.#source = source
    // What comes late may go before the very first packet, but not among those of another source.
    this.#base = Number.isNaN(this.#lastAt) ? (sequence - lateWindow) & 0xffff : sequence
    this.sequence = (this.#highest + 1) & 0xffff
    this.timestamp = this.#next(now)
    this.#sequenceOffset = this.sequence - sequence
    this.#timestampOffset = this.timestamp - timestamp
    this.marker = true
  }

  #sent(sequence: number): void {
    this.#highest = this.sequence
    this.#sourceHighest = sequence
    if (sequenceDistance(this.#base, sequence) > lateWindow) this.#base = (sequence - lateWindow / 2) & 0xffff
  }

  #sounded(samples: number, now: number): void {
    this.#lastTimestamp = this.timestamp
    this.#lastSamples = samples
    this.#lastAt = now
    if (!Number.isNaN(this.#anchor)) return
    this.#anchor = this.timestamp
    this.#anchorAt = now
  }

  /** Where the sound of now lies, for an event amid it. */
  #position(now: number): number {
    return (this.#lastTimestamp + Math.max(this.#elapsed(now), this.#lastSamples)) >>> 0
  }

  /** The timestamp of a sound that begins now: never before the end of the last one. */
  #next(now: number): number {
    const least = (this.#lastTimestamp + this.#lastSamples) >>> 0
    if (Number.isNaN(this.#anchor)) return (this.#lastTimestamp + this.#elapsed(now)) >>> 0
    const real = Math.round(this.#anchor + ((now - this.#anchorAt) * this.#rate) / 1000) >>> 0
    return timestampDistance(least, real) > 0 ? real : least
  }

  #elapsed(now: number): number {
    return Number.isNaN(this.#lastAt) ? 0 : Math.round(((now - this.#lastAt) * this.#rate) / 1000)
  }
}
