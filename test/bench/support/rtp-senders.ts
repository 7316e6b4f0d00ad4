import { createSocket } from 'node:dgram'
import { setTimeout as wait } from 'node:timers/promises'
import { writeHeader } from '../../../src/media/audio/rtp.ts'
import { createSrtpSender } from '../../../src/media/audio/srtp.ts'

// A process of its own that is the far side of an SFU worker: three streams like Opus of 20 ms a packet, and a socket
// that takes all that the worker sends. Asked over the channel to its parent; ends with it.

export type SendersAsk = { listen: true } | { send: { ports: number[]; srtpKey?: string; seconds: number } }
export type SendersAnswer = { port: number } | { sent: number; received: number }

const address = '127.0.0.1'
const ear = createSocket({ type: 'udp4', recvBufferSize: 8 << 20 })
let received = 0
ear.on('message', message => {
  // Control packets are no part of the count.
  if ((message[1]! & 0x7f) < 64 || (message[1]! & 0x7f) > 95) received++
})

async function listen(): Promise<number> {
  await new Promise<void>(done => ear.bind(0, address, done))
  return ear.address().port
}

async function send({ ports, srtpKey, seconds }: Extract<SendersAsk, { send: object }>['send']) {
  const sender = srtpKey === undefined ? undefined : createSrtpSender('AES_CM_128_HMAC_SHA1_80', srtpKey)
  const bytes = Buffer.alloc(200, 0x55)
  const began = performance.now()
  received = 0
  let sent = 0
  for (let tick = 0; tick < seconds * 50; tick++) {
    const early = began + tick * 20 - performance.now()
    if (early > 0) await wait(early)
    for (const [i, port] of ports.entries()) {
      writeHeader(bytes, false, 100, (tick + 1) & 0xffff, (tick * 960) >>> 0, 1000 + i)
      const length = 12 + 80
      ear.send(Buffer.from(bytes.subarray(0, sender ? sender.protect(bytes, length) : length)), port, address)
      bytes.fill(0x55, 12)
      sent++
    }
  }
  await wait(300)
  return { sent, received }
}

process.on('message', async (ask: SendersAsk) => {
  process.send!('listen' in ask ? { port: await listen() } : await send(ask.send))
})
process.on('disconnect', () => process.exit(0))
