import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { test } from 'node:test'
import { answerStun, isStun } from '../../../src/sip/engine/transport/stun.ts'
import { startTransport } from '../../support/transport.ts'

const transaction = Buffer.from('0102030405060708090a0b0c', 'hex')

function request(attributes = Buffer.alloc(0), type = 1): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt16BE(type, 0)
  head.writeUInt16BE(attributes.length, 2)
  head.writeUInt32BE(0x2112a442, 4)
  return Buffer.concat([head, transaction, attributes])
}

test('a Binding request on the SIP port is answered with where it came from', async () => {
  const s = await startTransport()
  const phone = createSocket('udp4')
  phone.send(request(), s.port('udp'), '127.0.0.1')
  const [answer] = (await once(phone, 'message')) as [Buffer]
  assert.equal(answer.readUInt16BE(0), 0x0101)
  assert.deepEqual(answer.subarray(8, 20), transaction)
  assert.equal(answer.readUInt16BE(20), 0x0020)
  assert.equal(answer.readUInt16BE(26) ^ 0x2112, phone.address().port)
  assert.equal((answer.readUInt32BE(28) ^ 0x2112a442) >>> 0, 0x7f000001)
  assert.deepEqual([s.arrived.length, s.malformed.length], [0, 0])
  phone.close()
  await s.layer.close()
})

test('an IPv6 address is masked with the cookie and the transaction id', () => {
  const answer = answerStun(request(), { address: '2001:db8::7', port: 5060 })!
  assert.equal(answer[25], 2)
  const mask = answer.subarray(4, 20)
  const plain = Buffer.from(answer.subarray(28, 44).map((byte, i) => byte ^ mask[i]!))
  assert.equal(plain.toString('hex'), '20010db8000000000000000000000007')
})

test('unknown attributes that must be understood get 420, others are passed over, a fingerprint is answered by one', () => {
  const source = { address: '192.0.2.1', port: 5060 }
  const refused = answerStun(request(Buffer.from('7ffe0000', 'hex')), source)!
  assert.equal(refused.readUInt16BE(0), 0x0111)
  assert.deepEqual([...refused.subarray(24, 28)], [0, 0, 4, 20])
  assert.ok(refused.includes(Buffer.from('7ffe', 'hex'), 44))
  assert.equal(answerStun(request(Buffer.from('8022000161000000', 'hex')), source)!.readUInt16BE(0), 0x0101)
  const marked = answerStun(request(Buffer.from('8028000400000000', 'hex')), source)!
  assert.equal(marked.readUInt16BE(marked.length - 8), 0x8028)
  assert.equal(marked.readUInt16BE(2), marked.length - 20)
})

test('torn attributes, other types and SIP are not answered', () => {
  const source = { address: '192.0.2.1', port: 5060 }
  assert.equal(answerStun(request(Buffer.from('80220005', 'hex')), source), undefined)
  assert.equal(answerStun(request(Buffer.from('8022', 'hex')), source), undefined)
  assert.equal(answerStun(request(Buffer.alloc(0), 0x0101), source), undefined)
  assert.ok(!isStun(Buffer.from('OPTIONS sip:a SIP/2.0\r\n')) && !isStun(Buffer.alloc(20)) && !isStun(Buffer.alloc(3)))
})
