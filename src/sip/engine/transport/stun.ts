import { isIPv4 } from 'node:net'
import { crc32 } from 'node:zlib'

// STUN on the SIP port: phones send Binding requests there to keep their NAT binding alive and to learn when their
// public address changed (RFC 5626 section 4.4.2). Only what a Binding server without authentication needs of RFC 5389.

const magicCookie = 0x2112a442
const bindingRequest = 0x0001
const bindingSuccess = 0x0101
const bindingError = 0x0111
const errorCode = 0x0009
const unknownAttributes = 0x000a
const xorMappedAddress = 0x0020
const fingerprint = 0x8028
const fingerprintXor = 0x5354554e
const mostUnknown = 8

/** True when a datagram is STUN and not SIP: two zero bits at its start and the magic cookie (RFC 5389 section 6). */
export function isStun(bytes: Buffer): boolean {
  return bytes.length >= 20 && bytes[0]! < 0x40 && bytes.readUInt32BE(4) === magicCookie
}

/**
 * The answer to a STUN datagram from `source`: a Binding success with XOR-MAPPED-ADDRESS, 420 when the request holds
 * attributes that must be understood (RFC 5389 section 7.3.1), or undefined when nothing is to be answered.
 */
export function answerStun(bytes: Buffer, source: { address: string; port: number }): Buffer | undefined {
  if (bytes.readUInt16BE(0) !== bindingRequest || bytes.readUInt16BE(2) !== bytes.length - 20) return undefined
  const read = readAttributes(bytes)
  if (!read) return undefined
  const transaction = bytes.subarray(4, 20)
  const answer =
    read.unknown.length > 0
      ? build(bindingError, transaction, [errorValue(), unknownValue(read.unknown)])
      : build(bindingSuccess, transaction, [mappedValue(source, transaction)])
  return read.fingerprint ? withFingerprint(answer) : answer
}

function readAttributes(bytes: Buffer): { unknown: number[]; fingerprint: boolean } | undefined {
  const unknown: number[] = []
  let marked = false
  let at = 20
  while (at < bytes.length) {
    if (at + 4 > bytes.length) return undefined
    const type = bytes.readUInt16BE(at)
    const length = bytes.readUInt16BE(at + 2)
    if (at + 4 + length > bytes.length) return undefined
    if (type === fingerprint) marked = true
    // Below 0x8000 an attribute must be understood; of those a Binding request may hold none that concerns us.
    else if (type < 0x8000 && unknown.length < mostUnknown) unknown.push(type)
    at += 4 + ((length + 3) & ~3)
  }
  return { unknown, fingerprint: marked }
}

function build(type: number, transaction: Buffer, attributes: Buffer[]): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt16BE(type, 0)
  head.writeUInt16BE(
    attributes.reduce((sum, one) => sum + one.length, 0),
    2,
  )
  return Buffer.concat([head, transaction, ...attributes])
}

function attribute(type: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc(4 + ((value.length + 3) & ~3))
  bytes.writeUInt16BE(type, 0)
  bytes.writeUInt16BE(value.length, 2)
  value.copy(bytes, 4)
  return bytes
}

function mappedValue(source: { address: string; port: number }, transaction: Buffer): Buffer {
  const address = packAddress(source.address)
  const value = Buffer.alloc(4 + address.length)
  value[1] = address.length === 4 ? 1 : 2
  value.writeUInt16BE(source.port ^ (magicCookie >>> 16), 2)
  for (let i = 0; i < address.length; i++) value[4 + i] = address[i]! ^ transaction[i]!
  return attribute(xorMappedAddress, value)
}

function errorValue(): Buffer {
  return attribute(errorCode, Buffer.concat([Buffer.from([0, 0, 4, 20]), Buffer.from('Unknown Attribute')]))
}

function unknownValue(types: number[]): Buffer {
  const value = Buffer.alloc(types.length * 2)
  for (const [i, type] of types.entries()) value.writeUInt16BE(type, i * 2)
  return attribute(unknownAttributes, value)
}

function withFingerprint(message: Buffer): Buffer {
  // The length in the header counts the fingerprint already when the checksum is taken (RFC 5389 section 15.5).
  message.writeUInt16BE(message.readUInt16BE(2) + 8, 2)
  const value = Buffer.alloc(4)
  value.writeUInt32BE((crc32(message) ^ fingerprintXor) >>> 0)
  return Buffer.concat([message, attribute(fingerprint, value)])
}

/** The 4 or 16 bytes of a numeric address, in network order. */
export function packAddress(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  const bytes = Buffer.alloc(16)
  const [head = '', tail] = address.split('%')[0]!.split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':').flatMap(expandGroup))
  const first = groups(head)
  const last = tail === undefined ? [] : groups(tail)
  for (const [i, group] of first.entries()) bytes.writeUInt16BE(group, i * 2)
  for (const [i, group] of last.entries()) bytes.writeUInt16BE(group, 16 - (last.length - i) * 2)
  return bytes
}

function expandGroup(group: string): number[] {
  if (!group.includes('.')) return [Number.parseInt(group, 16)]
  const four = Buffer.from(group.split('.').map(Number))
  return [four.readUInt16BE(0), four.readUInt16BE(2)]
}
