import { createSocket, type Socket } from 'node:dgram'
import { setTimeout as wait } from 'node:timers/promises'

// A process of its own that is the plain participants of a room: each has a socket and sends PCMU, 20 ms a packet. Speakers
// send a tone, the others faint noise. Asked over the channel to its parent; ends with it.

export type LoadAsk = { bind: number } | { send: { ports: number[]; speakers: number; seconds: number } }
export type LoadAnswer = { ports: number[] } | { received: number[]; late: number }

const address = '127.0.0.1'
const sockets: Socket[] = []
const received: number[] = []
// Ticks of all that was sent: who sends in parts goes on where it was.
let sent = 0

function ulaw(sample: number): number {
  const sign = sample < 0 ? 0x80 : 0
  const biased = Math.min(32635, Math.abs(sample)) + 132
  const exponent = Math.floor(Math.log2(biased)) - 7
  return ~(sign | (exponent << 4) | ((biased >> (exponent + 3)) & 0x0f)) & 0xff
}

/** A second of sound as 50 payloads. */
function second(frequency: number): Buffer[] {
  return Array.from({ length: 50 }, (_, packet) =>
    Buffer.from(
      Array.from({ length: 160 }, (_, i) => {
        const at = (packet * 160 + i) / 8000
        const x = frequency > 0 ? 8000 * Math.sin(2 * Math.PI * frequency * at) : 24 * (Math.random() - 0.5)
        return ulaw(Math.round(x))
      }),
    ),
  )
}

async function bind(count: number): Promise<number[]> {
  for (let i = 0; i < count; i++) {
    const socket = createSocket('udp4')
    received.push(0)
    socket.on('message', () => (received[i] = received[i]! + 1))
    await new Promise<void>(done => socket.bind(0, address, done))
    sockets.push(socket)
  }
  return sockets.map(socket => socket.address().port)
}

/** Sends to each port what its participant says; gives what came back, and how many ticks were over 10 ms late. */
async function send(ports: number[], speakers: number, seconds: number) {
  const quiet = second(0)
  const sounds = ports.map((_, i) => (i < speakers ? second(400 + 200 * i) : quiet))
  received.fill(0)
  const began = performance.now()
  let late = 0
  for (let tick = 0; tick < seconds * 50; tick++, sent++) {
    const lag = performance.now() - began - tick * 20
    if (lag > 10) late++
    if (lag < 0) await wait(-lag)
    for (const [i, port] of ports.entries()) {
      const packet = Buffer.alloc(172)
      packet[0] = 0x80
      packet[1] = sent === 0 ? 0x80 : 0
      packet.writeUInt16BE((sent + 1) & 0xffff, 2)
      packet.writeUInt32BE(sent * 160, 4)
      packet.writeUInt32BE(0x10000 + i, 8)
      sounds[i]![sent % 50]!.copy(packet, 12)
      sockets[i]!.send(packet, port, address)
    }
  }
  return { received: [...received], late }
}

process.on('message', async (ask: LoadAsk) => {
  const answer: LoadAnswer =
    'bind' in ask ? { ports: await bind(ask.bind) } : await send(ask.send.ports, ask.send.speakers, ask.send.seconds)
  process.send!(answer)
})
process.on('disconnect', () => process.exit(0))
