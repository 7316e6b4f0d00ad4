import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { parentPort, workerData } from 'node:worker_threads'
import { writeHeader } from '../../../src/media/audio/rtp.ts'
import { createSrtpSender } from '../../../src/media/audio/srtp.ts'

// The far sides of the relay, on a thread of their own so that their work is not counted: one socket sends, one hears,
// and each packet that is heard lets the next one go, with a window of them under way so that none is lost.

export interface RelayPeer {
  srtpKey?: string
  payloadType: number
  payload: Uint8Array
}

const window = 48
const { srtpKey, payloadType, payload } = workerData as RelayPeer
const sender = srtpKey === undefined ? undefined : createSrtpSender('AES_CM_128_HMAC_SHA1_80', srtpKey)
const [from, to] = [createSocket({ type: 'udp4' }), createSocket({ type: 'udp4', recvBufferSize: 4 << 20 })]
const bytes = Buffer.alloc(1600)
let [sequence, left, pending, target] = [0, 0, 0, 0]
let stalled: NodeJS.Timeout | undefined

function next(): void {
  if (left <= 0) return
  left--
  pending++
  sequence++
  writeHeader(bytes, false, payloadType, sequence & 0xffff, (sequence * 160) >>> 0, 7)
  bytes.set(payload, 12)
  const length = 12 + payload.length
  from.send(Buffer.from(bytes.subarray(0, sender ? sender.protect(bytes, length) : length)), target, '127.0.0.1')
}

function heard(): void {
  pending--
  if (left === 0 && pending === 0) {
    clearTimeout(stalled)
    parentPort!.postMessage('done')
  } else next()
}

to.on('message', message => {
  // Control packets are no part of the count.
  if ((message[1]! & 0x7f) < 64 || (message[1]! & 0x7f) > 95) heard()
})
for (const socket of [from, to]) socket.bind(0, '127.0.0.1')
await Promise.all([once(from, 'listening'), once(to, 'listening')])
parentPort!.on('message', ({ port, count }: { port: number; count: number }) => {
  target = port
  left = count
  pending = 0
  stalled = setTimeout(() => parentPort!.postMessage('lost'), 60_000)
  for (let i = 0; i < window; i++) next()
})
parentPort!.postMessage([from.address().port, to.address().port])
