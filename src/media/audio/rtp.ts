// RTP's fixed header, its extensions (RFC 3550 section 5, RFC 8285) and the audio level (RFC 6464), read and written in
// place. Nothing here throws on a stranger's bytes, and nothing is allocated for a packet.

/** The largest datagram that is read or written: more than any Ethernet frame carries. */
export const mostBytes = 1600
export const headerBytes = 12
/** A header with the audio level: 4 bytes that open the extension block, 4 for the one element and its padding. */
export const levelHeaderBytes = headerBytes + 8

const oneByteProfile = 0xbede
const twoByteProfile = 0x1000

/** Where things are in a packet; one is reused for all that come on a socket. The payload is bytes[start..end). */
export interface RtpPacket {
  bytes: Buffer
  marker: boolean
  payloadType: number
  sequence: number
  timestamp: number
  ssrc: number
  start: number
  end: number
  /** The extension block and its "defined by profile" number; both ends 0 without one. */
  extension: number
  extensionEnd: number
  extensionProfile: number
}

export function createRtpPacket(): RtpPacket {
  return {
    bytes: Buffer.alloc(0),
    marker: false,
    payloadType: 0,
    sequence: 0,
    timestamp: 0,
    ssrc: 0,
    start: 0,
    end: 0,
    extension: 0,
    extensionEnd: 0,
    extensionProfile: 0,
  }
}

/** Whether a datagram on a port that carries both is RTCP (RFC 5761 section 4). */
export function isRtcp(bytes: Uint8Array): boolean {
  const type = bytes[1] ?? 0
  return type >= 192 && type <= 223
}

/**
 * Bytes before the payload of a packet of `length` bytes, extension block included (RFC 3550 section 5.3.1); -1 when
 * it is no RTP. Sets the extension's place in `packet` if one is given.
 */
export function measureHeader(bytes: Uint8Array, length: number, packet?: RtpPacket): number {
  if (length < headerBytes || bytes[0]! >> 6 !== 2) return -1
  let start = headerBytes + 4 * (bytes[0]! & 0x0f)
  const extended = (bytes[0]! & 0x10) !== 0
  if (extended) {
    if (start + 4 > length) return -1
    const profile = (bytes[start]! << 8) | bytes[start + 1]!
    const words = (bytes[start + 2]! << 8) | bytes[start + 3]!
    const end = start + 4 + 4 * words
    if (packet) {
      packet.extension = start + 4
      packet.extensionEnd = end
      packet.extensionProfile = profile
    }
    start = end
  } else if (packet) packet.extension = packet.extensionEnd = packet.extensionProfile = 0
  return start > length ? -1 : start
}

/** Reads the first `length` bytes; false, and the packet is not to be used, when they are no RTP packet. */
export function parseRtp(bytes: Buffer, length: number, packet: RtpPacket): boolean {
  const start = measureHeader(bytes, length, packet)
  if (start < 0) return false
  let end = length
  if (bytes[0]! & 0x20) {
    // The last byte counts the padding, itself included.
    const padding = bytes[length - 1]!
    if (padding === 0 || padding > length - start) return false
    end -= padding
  }
  packet.bytes = bytes
  packet.marker = bytes[1]! > 127
  packet.payloadType = bytes[1]! & 0x7f
  packet.sequence = (bytes[2]! << 8) | bytes[3]!
  packet.timestamp = readUint32(bytes, 4)
  packet.ssrc = readUint32(bytes, 8)
  packet.start = start
  packet.end = end
  return true
}

/** The audio level of a packet, 0 (loudest) to 127 (-dBov); -1 when it carries none under this extension id. */
export function readLevel(packet: RtpPacket, id: number): number {
  const { bytes, extensionEnd, extensionProfile } = packet
  const long = (extensionProfile & 0xfff0) === twoByteProfile
  if (extensionProfile !== oneByteProfile && !long) return -1
  let at = packet.extension
  while (at < extensionEnd) {
    const head = bytes[at]!
    if (head === 0) {
      at++
      continue
    }
    const element = long ? head : head >> 4
    const size = long ? (bytes[at + 1] ?? 0) : (head & 0x0f) + 1
    const value = at + (long ? 2 : 1)
    // RFC 8285 section 4.2: 15 ends a one-byte block.
    if (!long && element === 15) return -1
    if (element === id) return size > 0 && value < extensionEnd ? bytes[value]! & 0x7f : -1
    at = value + size
  }
  return -1
}

/** Writes a header without extensions; gives its length. */
export function writeHeader(
  into: Buffer,
  marker: boolean,
  payloadType: number,
  sequence: number,
  timestamp: number,
  ssrc: number,
): number {
  into[0] = 0x80
  into[1] = (marker ? 0x80 : 0) | payloadType
  into[2] = sequence >> 8
  into[3] = sequence
  writeUint32(into, 4, timestamp)
  writeUint32(into, 8, ssrc)
  return headerBytes
}

/** Adds the audio level to a header just written; gives the length of both. */
export function writeLevel(into: Buffer, id: number, level: number): number {
  into[0] = 0x90
  into[12] = oneByteProfile >> 8
  into[13] = oneByteProfile & 0xff
  into[14] = 0
  into[15] = 1
  into[16] = id << 4
  // The top bit says "voice"; nobody reads it unless `vad=on` was negotiated.
  into[17] = level
  into[18] = 0
  into[19] = 0
  return levelHeaderBytes
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

/** How far sequence number `to` lies after `from`, -32768 to 32767. */
export function sequenceDistance(from: number, to: number): number {
  return ((to - from) << 16) >> 16
}

/** How far timestamp `to` lies after `from`, as a signed 32-bit number. */
export function timestampDistance(from: number, to: number): number {
  return (to - from) | 0
}
