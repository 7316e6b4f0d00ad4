import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import { createRtpPacket, headerBytes, isRtcp, mostBytes, parseRtp, writeHeader } from '../media/audio/rtp.ts'

/** How much sound has passed one way at one moment, in packets of 20 ms. */
export interface Count {
  sent: number
  heard: number
}

/** The sound of one end of a test call: PCMU over RTP, each packet marked as its own, so that nothing else counts as heard. */
export interface Stream {
  readonly address: string
  readonly port: number
  /** What its packets begin with. */
  readonly mark: Buffer
  /** Counts the packets with this mark from now on. */
  listenFor(mark: Buffer): void
  /** Sends there, from now on. */
  sendTo(address: string, port: number): void
  stopSending(): void
  count(): Count
  close(): void
}

const packetMs = 20
const samples = 160
// After a stall of the event loop no more than this is made up for.
const mostBehind = 50
const markBytes = 8
// PCMU's quietest value.
const silence = 0xff

/** Opens a socket at this address of the machine. Rejects where that cannot be. */
export async function openStream(address: string): Promise<Stream> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
  socket.bind(0, address)
  await once(socket, 'listening')
  const mark = randomBytes(markBytes)
  const packet = Buffer.alloc(headerBytes + samples, silence)
  mark.copy(packet, headerBytes)
  const heardPacket = createRtpPacket()
  const ssrc = randomBytes(4).readUInt32BE()
  let wanted: Buffer | undefined
  let to: { address: string; port: number } | undefined
  let timer: NodeJS.Timeout | undefined
  let began = 0
  let due = 0
  let sent = 0
  let heard = 0
  let closed = false

  // What cannot be sent or is refused is missing at the other end, which is what is counted.
  socket.on('error', () => undefined)
  socket.on('message', bytes => {
    if (wanted === undefined || bytes.length > mostBytes || isRtcp(bytes)) return
    if (!parseRtp(bytes, bytes.length, heardPacket)) return
    const { start, end } = heardPacket
    if (end - start >= markBytes && wanted.equals(bytes.subarray(start, start + markBytes))) heard++
  })

  function tick(): void {
    const now = performance.now()
    const behind = Math.floor((now - began) / packetMs) - due
    if (behind > mostBehind) due += behind - mostBehind
    for (; due * packetMs <= now - began; due++) {
      writeHeader(packet, sent === 0, 0, sent & 0xffff, (due * samples) >>> 0, ssrc)
      // A copy, because the socket reads it later.
      if (to !== undefined) socket.send(Buffer.from(packet), to.port, to.address, () => undefined)
      sent++
    }
  }

  return {
    address,
    port: socket.address().port,
    mark,
    listenFor(other) {
      wanted = other
    },
    sendTo(there, port) {
      if (closed) return
      to = { address: there, port }
      if (timer !== undefined) return
      began = performance.now()
      timer = setInterval(tick, packetMs)
      timer.unref()
    },
    stopSending() {
      clearInterval(timer)
    },
    count: () => ({ sent, heard }),
    close() {
      if (closed) return
      closed = true
      clearInterval(timer)
      socket.close()
    },
  }
}
