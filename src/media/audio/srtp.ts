import { createCipheriv, hash } from 'node:crypto'
import type { SrtpKeys } from './audio.ts'
import { measureHeader, readUint32, sequenceDistance, writeUint32 } from './rtp.ts'

// SRTP and SRTCP with AES-CM and HMAC-SHA1 (RFC 3711), in place. Making a cipher or an HMAC object for each packet costs
// 13 microseconds each, ten times what is done with it: so the counter blocks of a packet go through one long-lived ECB
// cipher, and the HMAC is made of two hashes that need no object.

export type Suite = SrtpKeys['suite']

const keyBytes = 16
const saltBytes = 14
const blockBytes = 16
const mostBlocks = 128
// A longer packet is none of ours.
const mostLength = 2000
const padBytes = 64
const rtcpTagBytes = 10
// Replay protection (RFC 3711 section 3.3.2): at least 64 packets back.
const windowPackets = 128
// Sources of one sender whose rollover is remembered: a phone has one, and a few after re-INVITEs.
const mostSources = 8

/** Protects what we send. Packets are changed in place; the buffer needs 14 bytes of room behind them. */
export interface SrtpSender {
  /** Gives the new length. */
  protect(bytes: Buffer, length: number): number
  protectRtcp(bytes: Buffer, length: number): number
}

/** Opens what comes. */
export interface SrtpReceiver {
  /** Gives the new length; -1 when the packet is forged, a replay, or no SRTP. */
  unprotect(bytes: Buffer, length: number): number
  unprotectRtcp(bytes: Buffer, length: number): number
}

/** Whether `key` is base64 of a key and a salt (RFC 4568 section 6.1), which both makers need. */
export function isSrtpKey(key: string): boolean {
  return Buffer.from(key, 'base64').length === keyBytes + saltBytes
}

export function createSrtpSender(suite: Suite, key: string): SrtpSender {
  const keys = deriveKeys(key)
  const tagBytes = suite === 'AES_CM_128_HMAC_SHA1_80' ? 10 : 4
  const rollovers = new Map<number, Rollover>()
  let rtcpIndex = 0
  return {
    protect(bytes, length) {
      const start = measureHeader(bytes, length)
      if (start < 0) throw new Error('not an RTP packet')
      const ssrc = readUint32(bytes, 8)
      const sequence = (bytes[2]! << 8) | bytes[3]!
      const rollover = rollovers.get(ssrc) ?? remember(rollovers, ssrc, createRollover(sequence))
      const index = rollover.guess(sequence)
      keys.rtp.crypt(bytes, start, length, ssrc, index)
      rollover.accept(index)
      bytes.write(keys.rtp.sign(bytes, length, Math.floor(index / 65536)), length, tagBytes, 'latin1')
      return length + tagBytes
    },
    protectRtcp(bytes, length) {
      rtcpIndex = (rtcpIndex + 1) & 0x7fffffff
      keys.rtcp.crypt(bytes, 8, length, readUint32(bytes, 4), rtcpIndex)
      // The top bit says that the packet is encrypted (RFC 3711 section 3.4).
      writeUint32(bytes, length, (rtcpIndex | 0x80000000) >>> 0)
      bytes.write(keys.rtcp.sign(bytes, length + 4), length + 4, rtcpTagBytes, 'latin1')
      return length + 4 + rtcpTagBytes
    },
  }
}

export function createSrtpReceiver(suite: Suite, key: string): SrtpReceiver {
  const keys = deriveKeys(key)
  const tagBytes = suite === 'AES_CM_128_HMAC_SHA1_80' ? 10 : 4
  const rollovers = new Map<number, Rollover>()
  const rtcpReplays = createReplays()
  return {
    unprotect(bytes, length) {
      const end = length - tagBytes
      const start = measureHeader(bytes, end)
      if (start < 0 || length > mostLength) return -1
      const ssrc = readUint32(bytes, 8)
      const sequence = (bytes[2]! << 8) | bytes[3]!
      const known = rollovers.get(ssrc)
      const index = known ? known.guess(sequence) : sequence
      if (index < 0 || known?.replays.has(index)) return -1
      if (!sameTag(keys.rtp.sign(bytes, end, Math.floor(index / 65536)), bytes, end, tagBytes)) return -1
      // Only who knows the key gets a place in the table.
      const rollover = known ?? remember(rollovers, ssrc, createRollover(sequence))
      rollover.accept(index)
      rollover.replays.add(index)
      keys.rtp.crypt(bytes, start, end, ssrc, index)
      return end
    },
    unprotectRtcp(bytes, length) {
      const end = length - rtcpTagBytes - 4
      if (end < 8 || length > mostLength || bytes[0]! >> 6 !== 2) return -1
      const word = readUint32(bytes, end)
      const index = word & 0x7fffffff
      if (rtcpReplays.has(index) || !sameTag(keys.rtcp.sign(bytes, end + 4), bytes, end + 4, rtcpTagBytes)) return -1
      rtcpReplays.add(index)
      if (word >>> 31) keys.rtcp.crypt(bytes, 8, end, readUint32(bytes, 4), index)
      return end
    },
  }
}

/** Looks at all bytes however early they differ, so that time tells nothing. */
function sameTag(tag: string, bytes: Buffer, at: number, size: number): boolean {
  let difference = 0
  for (let i = 0; i < size; i++) difference |= tag.charCodeAt(i) ^ bytes[at + i]!
  return difference === 0
}

function remember(rollovers: Map<number, Rollover>, ssrc: number, rollover: Rollover): Rollover {
  if (rollovers.size >= mostSources) rollovers.delete(rollovers.keys().next().value!)
  rollovers.set(ssrc, rollover)
  return rollover
}

interface Rollover {
  /** Index of the packet (RFC 3711 section 3.3.1, appendix A); negative when it would lie before the first. */
  guess(sequence: number): number
  /** Takes an index that has proved right. */
  accept(index: number): void
  readonly replays: Replays
}

function createRollover(first: number): Rollover {
  let highest = first
  return {
    guess: sequence => highest + sequenceDistance(highest & 0xffff, sequence),
    accept(index) {
      if (index > highest) highest = index
    },
    replays: createReplays(),
  }
}

interface Replays {
  has(index: number): boolean
  add(index: number): void
}

function createReplays(): Replays {
  const seen = new Uint8Array(windowPackets)
  let highest = -1
  return {
    has: index =>
      highest >= 0 && index <= highest && (index <= highest - windowPackets || seen[index % windowPackets] === 1),
    add(index) {
      if (index > highest) {
        if (highest < 0 || index - highest >= windowPackets) seen.fill(0)
        else for (let i = highest + 1; i < index; i++) seen[i % windowPackets] = 0
        highest = index
      }
      seen[index % windowPackets] = 1
    },
  }
}

interface SessionKeys {
  /** Encrypts or decrypts bytes[from..to). */
  crypt(bytes: Buffer, from: number, to: number, ssrc: number, index: number): void
  /** HMAC-SHA1 of the first `length` bytes and, if given, of a 32-bit number after them, as a text of 20 bytes. */
  sign(bytes: Buffer, length: number, after?: number): string
}

function deriveKeys(key: string): { rtp: SessionKeys; rtcp: SessionKeys } {
  const master = Buffer.from(key, 'base64')
  if (master.length !== keyBytes + saltBytes) throw new Error('an SRTP key has 30 bytes')
  const derive = (label: number, bytes: number) =>
    deriveKey(master.subarray(0, keyBytes), master.subarray(keyBytes), label, bytes)
  return {
    rtp: createSessionKeys(derive(0, keyBytes), derive(1, 20), derive(2, saltBytes)),
    rtcp: createSessionKeys(derive(3, keyBytes), derive(4, 20), derive(5, saltBytes)),
  }
}

/** RFC 3711 section 4.3 with a key derivation rate of zero: `bytes` of the key stream that belongs to `label`. */
export function deriveKey(master: Buffer, salt: Buffer, label: number, bytes: number): Buffer {
  const counter = Buffer.alloc(blockBytes)
  salt.copy(counter)
  counter[7]! ^= label
  const cipher = createCipheriv('aes-128-ctr', master, counter)
  return cipher.update(Buffer.alloc(bytes))
}

function createSessionKeys(key: Buffer, authentication: Buffer, salt: Buffer): SessionKeys {
  return { crypt: createCrypt(key, salt), sign: createSign(authentication) }
}

function createCrypt(key: Buffer, salt: Buffer): SessionKeys['crypt'] {
  const cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false)
  const counters = Buffer.alloc(blockBytes * mostBlocks)
  // The counter's last two bytes count the blocks of a packet and are always the same.
  for (let block = 0; block < mostBlocks; block++) counters.writeUInt16BE(block, block * blockBytes + 14)
  return (bytes, from, to, ssrc, index) => {
    const blocks = Math.ceil((to - from) / blockBytes)
    if (blocks <= 0) return
    if (blocks > mostBlocks) throw new Error('an RTP packet is too long')
    // RFC 3711 section 4.1.1: IV = salt · 2^16 xor SSRC · 2^64 xor index · 2^16.
    for (let i = 0; i < saltBytes; i++) counters[i] = salt[i]!
    writeUint32(counters, 4, (readUint32(counters, 4) ^ ssrc) >>> 0)
    writeUint32(counters, 8, (readUint32(counters, 8) ^ Math.floor(index / 65536)) >>> 0)
    counters[12]! ^= (index >> 8) & 0xff
    counters[13]! ^= index & 0xff
    for (let at = blockBytes; at < blocks * blockBytes; at += blockBytes) {
      for (let i = 0; i < saltBytes; i++) counters[at + i] = counters[i]!
    }
    const stream = cipher.update(counters.subarray(0, blocks * blockBytes))
    for (let at = from, i = 0; at < to; at++, i++) bytes[at]! ^= stream[i]!
  }
}

/** RFC 2104: the hash of the outer pad and of the hash of the inner pad and the text. */
function createSign(key: Buffer): SessionKeys['sign'] {
  const inner = Buffer.alloc(padBytes + mostLength + 4, 0x36)
  const outer = Buffer.alloc(padBytes + 20, 0x5c)
  for (let i = 0; i < key.length; i++) {
    inner[i]! ^= key[i]!
    outer[i]! ^= key[i]!
  }
  return (bytes, length, after) => {
    bytes.copy(inner, padBytes, 0, length)
    let end = padBytes + length
    if (after !== undefined) {
      writeUint32(inner, end, after)
      end += 4
    }
    outer.write(hash('sha1', inner.subarray(0, end), 'binary'), padBytes, 'latin1')
    return hash('sha1', outer, 'binary')
  }
}
