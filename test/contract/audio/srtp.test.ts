import assert from 'node:assert/strict'
import { createCipheriv, createHmac } from 'node:crypto'
import { test } from 'node:test'
import { writeHeader } from '../../../src/media/audio/rtp.ts'
import { createSrtpReceiver, createSrtpSender, deriveKey, type Suite } from '../../../src/media/audio/srtp.ts'

const key = Buffer.from(Array.from({ length: 30 }, (_, i) => (i * 37 + 11) & 0xff)).toString('base64')
const suites: Suite[] = ['AES_CM_128_HMAC_SHA1_80', 'AES_CM_128_HMAC_SHA1_32']

function packet(sequence: number, text = 'twenty milliseconds'): { bytes: Buffer; length: number } {
  const bytes = Buffer.alloc(200)
  writeHeader(bytes, false, 0, sequence & 0xffff, sequence * 160, 0xcafe)
  return { bytes, length: 12 + bytes.write(text, 12) }
}

function sealed(sender: ReturnType<typeof createSrtpSender>, sequence: number): Buffer {
  const { bytes, length } = packet(sequence)
  return bytes.subarray(0, sender.protect(bytes, length))
}

test('keys are derived as in RFC 3711 appendix B.3', () => {
  const master = Buffer.from('e1f97a0d3e018be0d64fa32c06de4139', 'hex')
  const salt = Buffer.from('0ec675ad498afeebb6960b3aabe6', 'hex')
  assert.equal(deriveKey(master, salt, 0, 16).toString('hex'), 'c61e7a93744f39ee10734afe3ff7a087')
  assert.equal(deriveKey(master, salt, 2, 14).toString('hex'), '30cbbc08863d8c85d49db34a9ae1')
  assert.equal(deriveKey(master, salt, 1, 20).toString('hex'), 'cebe321f6ff7716b6fd4ab49af256a156d38baa4')
})

for (const suite of suites) {
  test(`${suite}: what is sealed opens, and nothing else`, () => {
    const [sender, receiver] = [createSrtpSender(suite, key), createSrtpReceiver(suite, key)]
    const bytes = sealed(sender, 7)
    assert.equal(bytes.length, 12 + 19 + (suite.endsWith('80') ? 10 : 4))
    assert.ok(!bytes.includes('milli'))
    const copy = Buffer.from(bytes)
    const forged = Buffer.from(bytes)
    forged[14]! ^= 1
    assert.equal(receiver.unprotect(forged, forged.length), -1)
    const length = receiver.unprotect(bytes, bytes.length)
    assert.equal(bytes.toString('latin1', 12, length), 'twenty milliseconds')
    assert.equal(receiver.unprotect(copy, copy.length), -1, 'a replay')
  })

  test(`${suite}: the rollover counter is followed over the wrap, also out of order`, () => {
    const [sender, receiver] = [createSrtpSender(suite, key), createSrtpReceiver(suite, key)]
    const packets = [65533, 65534, 65535, 65536, 65537, 65538].map(sequence => sealed(sender, sequence))
    for (const i of [0, 1, 3, 2, 5, 4]) assert.equal(receiver.unprotect(packets[i]!, packets[i]!.length), 31, `${i}`)
    for (let sequence = 65600; sequence < 65536 * 2 + 200; sequence += 50) {
      const bytes = sealed(sender, sequence)
      assert.equal(receiver.unprotect(bytes, bytes.length), 31, `${sequence}`)
    }
  })

  test(`${suite}: control packets are sealed, numbered and not taken twice`, () => {
    const [sender, receiver] = [createSrtpSender(suite, key), createSrtpReceiver(suite, key)]
    const bytes = Buffer.alloc(100)
    const plain = Buffer.from('81c90001000000aa0102030405060708', 'hex')
    plain.copy(bytes)
    const length = sender.protectRtcp(bytes, plain.length)
    assert.equal(length, plain.length + 14)
    const copy = Buffer.from(bytes)
    assert.equal(receiver.unprotectRtcp(bytes, length), plain.length)
    assert.deepEqual(bytes.subarray(0, plain.length), plain)
    assert.equal(receiver.unprotectRtcp(copy, length), -1)
  })
}

test('a sealed packet is what RFC 3711 says, computed another way', () => {
  const sender = createSrtpSender(suites[0]!, key)
  sealed(sender, 65535)
  const bytes = sealed(sender, 65536)
  const [master, salt] = [Buffer.from(key, 'base64').subarray(0, 16), Buffer.from(key, 'base64').subarray(16)]
  const iv = Buffer.concat([deriveKey(master, salt, 2, 14), Buffer.alloc(2)])
  // SSRC 0xcafe in bytes 4 to 7, rollover counter 1 and sequence number 0 in bytes 8 to 13.
  const place = Buffer.from('000000000000cafe0000000100000000', 'hex')
  for (let i = 0; i < 16; i++) iv[i]! ^= place[i]!
  const decipher = createCipheriv('aes-128-ctr', deriveKey(master, salt, 0, 16), iv)
  assert.equal(decipher.update(bytes.subarray(12, 31)).toString(), 'twenty milliseconds')
  const hmac = createHmac('sha1', deriveKey(master, salt, 1, 20)).update(bytes.subarray(0, 31))
  assert.deepEqual(
    bytes.subarray(31),
    hmac
      .update(Buffer.from([0, 0, 0, 1]))
      .digest()
      .subarray(0, 10),
  )
})

test('a packet older than the replay window is refused, a late one inside of it is taken once', () => {
  const [sender, receiver] = [createSrtpSender(suites[0]!, key), createSrtpReceiver(suites[0]!, key)]
  const packets = Array.from({ length: 200 }, (_, i) => sealed(sender, 1000 + i))
  const open = (i: number) => receiver.unprotect(Buffer.from(packets[i]!), packets[i]!.length)
  assert.equal(open(0), 31)
  assert.equal(open(199), 31)
  assert.equal(open(5), -1)
  assert.equal(open(120), 31)
  assert.equal(open(120), -1)
})

test('bytes that are no SRTP are refused without a throw', () => {
  const receiver = createSrtpReceiver(suites[0]!, key)
  for (let length = 0; length < 40; length++) {
    assert.equal(receiver.unprotect(Buffer.alloc(length, 0x80), length), -1)
    assert.equal(receiver.unprotectRtcp(Buffer.alloc(length, 0x80), length), -1)
  }
})
