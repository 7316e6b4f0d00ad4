import { sequenceDistance, timestampDistance } from './rtp.ts'

// Telephone events (RFC 4733), reported once each however many of their packets are lost.

const digits = '0123456789*#ABCD'
// The longest duration that one segment can tell (section 2.5.1.3): a longer event goes on with a new timestamp.
const segment = 0xffff
// An event whose end was lost has ended when nothing more was heard of it for so long.
const forgottenMs = 300

export interface Dtmf {
  /** Takes the payload of one packet. True when it is the first of an event, undefined when it is none. */
  receive(
    sequence: number,
    timestamp: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    now: number,
  ): boolean | undefined
  /** Sound came after the event, or time has passed: an event whose end was lost is over. */
  sound(sequence: number, now: number): void
  tick(now: number): void
}

/** `report` gets each digit with its length in ms. */
export function createDtmf(clockRate: number, report: (digit: string, ms: number) => void): Dtmf {
  let [event, timestamp, duration, before, open] = [-1, 0, 0, 0, false]
  let [sequence, heardAt] = [0, 0]
  let known = false
  const finish = () => {
    if (!open) return
    open = false
    const digit = digits[event]
    if (digit !== undefined) report(digit, Math.round(((before + duration) * 1000) / clockRate))
  }
  return {
    receive(number, time, bytes, start, end, now) {
      if (end - start < 4) return undefined
      const code = bytes[start]!
      const ends = bytes[start + 1]! > 127
      const length = (bytes[start + 2]! << 8) | bytes[start + 3]!
      // A late packet of an event that is over.
      if (known && sequenceDistance(sequence, number) < 0 && now - heardAt < 2000 && time !== timestamp)
        return undefined
      const continues = open && code === event && timestampDistance(timestamp, time) === segment
      const begins = !known || (time !== timestamp && !continues)
      if (begins) {
        finish()
        ;[event, duration, before, open, known] = [code, 0, 0, true, true]
      } else if (continues) {
        before += segment
        duration = 0
      }
      timestamp = time
      if (sequenceDistance(sequence, number) > 0 || begins) sequence = number
      duration = Math.max(duration, length)
      heardAt = now
      if (ends) finish()
      return begins
    },
    sound(number, now) {
      if (open && sequenceDistance(sequence, number) > 3 && now - heardAt > 60) finish()
    },
    tick(now) {
      if (open && now - heardAt > forgottenMs) finish()
    },
  }
}

/** Writes an event for a receiver that counts in another clock and gives its four bytes. */
export function convertEvent(into: Buffer, bytes: Uint8Array, start: number, from: number, to: number): Buffer {
  const duration = (bytes[start + 2]! << 8) | bytes[start + 3]!
  into[0] = bytes[start]!
  into[1] = bytes[start + 1]!
  into.writeUInt16BE(Math.min(segment, Math.round((duration * to) / from)), 2)
  return into
}
