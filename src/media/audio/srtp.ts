import { type Cipheriv, createCipheriv, createHmac, timingSafeEqual } from 'node:crypto'
import type { SrtpKeys } from './audio.ts'
import { measureHeader, readUint32, sequenceDistance, writeUint32 } from './rtp.ts'

// SRTP and SRTCP with AES-CM and HMAC-SHA1 (RFC 3711), in place: the counter blocks of a packet go through one
// long-lived ECB cipher, because making a cipher object for each packet costs more than all its encryption.

export type Suite = SrtpKeys['suite']

const keyBytes = 16
const saltBytes = 14
const blockBytes = 16
const mostBlocks = 128
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
      writeUint32(bytes, length, Math.floor(index / 65536))
      keys.rtp.sign(bytes, length + 4).copy(bytes, length, 0, tagBytes)
      return length + tagBytes
    },
    protectRtcp(bytes, length) {
      rtcpIndex = (rtcpIndex + 1) & 0x7fffffff
      keys.rtcp.crypt(bytes, 8, length, readUint32(bytes, 4), rtcpIndex)
      // The top bit says that the packet is encrypted (RFC 3711 section 3.4).
      writeUint32(bytes, length, (rtcpIndex | 0x80000000) >>> 0)
      keys.rtcp.sign(bytes, length + 4).copy(bytes, length + 4, 0, rtcpTagBytes)
      return length + 4 + rtcpTagBytes
    },
  }
}

export function createSrtpReceiver(suite: Suite, key: string): SrtpReceiver {
  const keys = deriveKeys(key)
  const tagBytes = suite === 'AES_CM_128_HMAC_SHA1_80' ? 10 : 4
  const rollovers = new Map<number, Rollover>()
  const signed = Buffer.alloc(2048)
  const rtcpReplays = createReplays()
  return {
    unprotect(bytes, length) {
      const end = length - tagBytes
      const start = measureHeader(bytes, end)
      if (start < 0 || end + 4 > signed.length) return -1
      const ssrc = readUint32(bytes, 8)
      const sequence = (bytes[2]! << 8) | bytes[3]!
      const known = rollovers.get(ssrc)
      const index = known ? known.guess(sequence) : sequence
      if (index < 0 || known?.replays.has(index)) return -1
      bytes.copy(signed, 0, 0, end)
      writeUint32(signed, end, Math.floor(index / 65536))
      if (!sameTag(keys.rtp.sign(signed, end + 4), bytes, end, tagBytes)) return -1
      // Only who knows the key gets a place in the table.
      const rollover = known ?? remember(rollovers, ssrc, createRollover(sequence))
      rollover.accept(index)
      rollover.replays.add(index)
      keys.rtp.crypt(bytes, start, end, ssrc, index)
      return end
    },
    unprotectRtcp(bytes, length) {
      const end = length - rtcpTagBytes - 4
      if (end < 8 || bytes[0]! >> 6 !== 2) return -1
      const word = readUint32(bytes, end)
      const index = word & 0x7fffffff
      if (rtcpReplays.has(index) || !sameTag(keys.rtcp.sign(bytes, end + 4), bytes, end + 4, rtcpTagBytes)) return -1
      rtcpReplays.add(index)
      if (word >>> 31) keys.rtcp.crypt(bytes, 8, end, readUint32(bytes, 4), index)
      return end
    },
  }
}

function sameTag(tag: Buffer, bytes: Buffer, at: number, size: number): boolean {
  return timingSafeEqual(tag.subarray(0, size), bytes.subarray(at, at + size))
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
  sign(bytes: Buffer, length: number): Buffer
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
  const cipher: Cipheriv = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false)
  const counters = Buffer.alloc(blockBytes * mostBlocks)
  // The counter's last two bytes count the blocks of a packet and are always the same.
  for (let block = 0; block < mostBlocks; block++) counters.writeUInt16BE(block, block * blockBytes + 14)
  const iv = Buffer.alloc(blockBytes)
  return {
    crypt(bytes, from, to, ssrc, index) {
      const blocks = Math.ceil((to - from) / blockBytes)
      if (blocks <= 0) return
      if (blocks > mostBlocks) throw new Error('an RTP packet is too long')
      // RFC 3711 section 4.1.1: IV = salt · 2^16 xor SSRC · 2^64 xor index · 2^16.
      salt.copy(iv)
      writeUint32(iv, 4, (readUint32(iv, 4) ^ ssrc) >>> 0)
      writeUint32(iv, 8, (readUint32(iv, 8) ^ Math.floor(index / 65536)) >>> 0)
      iv[12]! ^= (index >> 8) & 0xff
      iv[13]! ^= index & 0xff
      for (let block = 0; block < blocks; block++) iv.copy(counters, block * blockBytes, 0, 14)
      const stream = cipher.update(counters.subarray(0, blocks * blockBytes))
      for (let at = from, i = 0; at < to; at++, i++) bytes[at]! ^= stream[i]!
    },
    sign: (bytes, length) => createHmac('sha1', authentication).update(bytes.subarray(0, length)).digest(),
  }
}
