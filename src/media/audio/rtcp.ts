import { readUint32, sequenceDistance, timestampDistance, writeUint32 } from './rtp.ts'

// RTCP as far as a relay needs it (RFC 3550 section 6): what the far side says of our streams, and our reports on its.

const senderReport = 200
const receiverReport = 201
const sourceDescription = 202
const goodbye = 203
// Seconds between 1900 (NTP) and 1970.
const ntpOffset = 2_208_988_800

/** A report block (section 6.4.1): how `ssrc` arrives at who wrote it. */
export interface ReportBlock {
  ssrc: number
  /** 0..255 of 256 lost since the last report, and packets in all. */
  fraction: number
  lost: number
  highest: number
  /** In timestamp units. */
  jitter: number
  lastReport: number
  delay: number
}

export interface Rtcp {
  /** Who wrote it; 0 when nothing in it could be read. */
  ssrc: number
  /** Middle 32 bits of the NTP time of a sender report; 0 without one. */
  senderTime: number
  blocks: ReportBlock[]
  bye: boolean
}

/** Reads a compound packet; undefined when it is none. Reading ends at the first part that breaks the rules. */
export function parseRtcp(bytes: Buffer, length: number): Rtcp | undefined {
  if (length < 8) return undefined
  const found: Rtcp = { ssrc: 0, senderTime: 0, blocks: [], bye: false }
  let [at, parts] = [0, 0]
  while (at + 8 <= length && bytes[at]! >> 6 === 2) {
    const end = at + 4 * (bytes.readUInt16BE(at + 2) + 1)
    if (end > length || end < at + 8) break
    readPart(bytes, at, end, found)
    at = end
    parts++
  }
  return parts > 0 ? found : undefined
}

function readPart(bytes: Buffer, at: number, end: number, found: Rtcp): void {
  const type = bytes[at + 1]!
  const count = bytes[at]! & 0x1f
  if (type === goodbye) found.bye = true
  if (type !== senderReport && type !== receiverReport) return
  found.ssrc = readUint32(bytes, at + 4)
  let block = at + 8
  if (type === senderReport) {
    if (at + 28 > end) return
    found.senderTime = readUint32(bytes, at + 10)
    block = at + 28
  }
  for (let i = 0; i < count && block + 24 <= end; i++, block += 24) {
    found.blocks.push({
      ssrc: readUint32(bytes, block),
      fraction: bytes[block + 4]!,
      lost: (readUint32(bytes, block + 4) << 8) >> 8,
      highest: readUint32(bytes, block + 8),
      jitter: readUint32(bytes, block + 12),
      lastReport: readUint32(bytes, block + 16),
      delay: readUint32(bytes, block + 20),
    })
  }
}

/** What a report of ours says: of what we send, if anything, and of what we hear, if anything. */
export interface Report {
  ssrc: number
  cname: string
  sent?: { timestamp: number; packets: number; octets: number } | undefined
  heard?: ReportBlock | undefined
  bye?: boolean
}

/** Writes a compound packet: SR or RR, SDES with the CNAME, and BYE if wanted (section 6.1). Gives its length. */
export function writeReport(into: Buffer, report: Report, unixMs: number): number {
  const { sent, heard } = report
  let at = writePartHeader(into, 0, sent ? senderReport : receiverReport, heard ? 1 : 0, report.ssrc)
  if (sent) {
    const seconds = Math.floor(unixMs / 1000)
    writeUint32(into, at, seconds + ntpOffset)
    writeUint32(into, at + 4, Math.floor(((unixMs - seconds * 1000) / 1000) * 4294967296))
    writeUint32(into, at + 8, sent.timestamp)
    writeUint32(into, at + 12, sent.packets)
    writeUint32(into, at + 16, sent.octets)
    at += 20
  }
  if (heard) at = writeBlock(into, at, heard)
  endPart(into, 0, at)
  at = writeDescription(into, at, report)
  if (!report.bye) return at
  const end = writePartHeader(into, at, goodbye, 1, report.ssrc)
  endPart(into, at, end)
  return end
}

function writeBlock(into: Buffer, at: number, block: ReportBlock): number {
  writeUint32(into, at, block.ssrc)
  writeUint32(into, at + 4, block.lost & 0xffffff)
  into[at + 4] = block.fraction
  writeUint32(into, at + 8, block.highest)
  writeUint32(into, at + 12, block.jitter)
  writeUint32(into, at + 16, block.lastReport)
  writeUint32(into, at + 20, block.delay)
  return at + 24
}

function writeDescription(into: Buffer, from: number, report: Report): number {
  let at = writePartHeader(into, from, sourceDescription, 1, report.ssrc)
  // Item 1 is the CNAME; a zero ends the list, and zeros fill the last word.
  into[at] = 1
  const size = into.write(report.cname, at + 2, 64, 'latin1')
  into[at + 1] = size
  at += 2 + size
  do into[at++] = 0
  while ((at - from) % 4 !== 0)
  endPart(into, from, at)
  return at
}

function writePartHeader(into: Buffer, at: number, type: number, count: number, ssrc: number): number {
  into[at] = 0x80 | count
  into[at + 1] = type
  writeUint32(into, at + 4, ssrc)
  return at + 8
}

function endPart(into: Buffer, from: number, to: number): void {
  into.writeUInt16BE((to - from) / 4 - 1, from + 2)
}

/** Counts how one source arrives, as RFC 3550 appendices A.1, A.3 and A.8 do. */
export interface Reception {
  readonly ssrc: number
  packets: number
  lost(): number
  jitterMs(): number
  /** A packet came. Telephone events repeat their timestamps and say nothing of jitter: their clock rate is given as 0. */
  heard(sequence: number, timestamp: number, clockRate: number, now: number): void
  /** A sender report came: its time is echoed in our next report. */
  reported(senderTime: number, now: number): void
  /** The block for our next report; begins a new interval for `fraction`. */
  block(now: number): ReportBlock
}

// A jump of more packets than this is a new start, not loss (appendix A.1, MAX_DROPOUT).
const mostDropout = 3000

/** `now` is in ms and may begin anywhere. */
export function createReception(ssrc: number): Reception {
  let [base, highest, transit, rate, jitter] = [-1, -1, Number.NaN, 8000, 0]
  let [expectedBefore, receivedBefore, received] = [0, 0, 0]
  let [senderTime, senderAt] = [0, 0]
  const expected = () => (base < 0 ? 0 : highest - base + 1)
  return {
    ssrc,
    packets: 0,
    lost: () => Math.max(-0x800000, Math.min(0x7fffff, expected() - received)),
    jitterMs: () => (jitter * 1000) / rate,
    heard(sequence, timestamp, clockRate, now) {
      this.packets++
      const step = base < 0 ? 0 : sequenceDistance(highest & 0xffff, sequence)
      if (base < 0 || Math.abs(step) > mostDropout) {
        ;[base, highest, received, expectedBefore, receivedBefore] = [sequence, sequence, 0, 0, 0]
        transit = Number.NaN
      } else if (step > 0) highest += step
      received++
      if (clockRate === 0) return
      const arrival = Math.round((now * clockRate) / 1000) | 0
      const next = timestampDistance(timestamp, arrival)
      if (rate !== clockRate || Number.isNaN(transit)) {
        rate = clockRate
        jitter = 0
      } else {
        const change = Math.abs(timestampDistance(transit, next))
        // Half a second is no jitter but a pause or a new start of the far side's clock.
        if (change < rate / 2) jitter += (change - jitter) / 16
      }
      transit = next
    },
    reported(time, now) {
      senderTime = time
      senderAt = now
    },
    block(now) {
      const all = expected()
      const [due, came] = [all - expectedBefore, received - receivedBefore]
      expectedBefore = all
      receivedBefore = received
      return {
        ssrc,
        fraction: due > 0 && due > came ? Math.min(255, Math.floor(((due - came) * 256) / due)) : 0,
        lost: this.lost(),
        highest: highest < 0 ? 0 : highest % 4294967296,
        jitter: Math.round(jitter),
        lastReport: senderTime,
        delay: senderTime === 0 ? 0 : Math.round(((now - senderAt) * 65536) / 1000),
      }
    },
  }
}
