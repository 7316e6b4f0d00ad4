import { randomInt } from 'node:crypto'
import { Refusal } from '../../errors.ts'
import type { AudioCodec, PayloadType, TrunkEnd } from './audio.ts'
import type { End, Meaning, Route } from './end.ts'
import type { Hub } from './hub.ts'
import { createInbound, type Inbound } from './inbound.ts'
import type { MediaSocket } from './media-socket.ts'
import { createOutgoing, type Outgoing } from './outgoing.ts'
import { parseRtcp, writeReport } from './rtcp.ts'
import {
  createRtpPacket,
  headerBytes,
  isRtcp,
  levelHeaderBytes,
  mostBytes,
  parseRtp,
  readLevel,
  writeHeader,
  writeLevel,
} from './rtp.ts'
import type { Ports } from './sockets.ts'

// The one loopback socket to a mediasoup PlainTransport. Streams of many parties go both ways over it, told apart by
// their SSRCs, which mediasoup has chosen for those that it sends and we for those that we send.

export interface Trunk {
  readonly id: string
  readonly port: number
  /** Says where the PlainTransport is; packets from anywhere else never reach us. */
  connect(address: string, port: number): Promise<void>
  /** Refuses `already-exists` when another end receives the same SSRC. */
  open(id: string, end: TrunkEnd): TrunkStream
  tick(now: number): void
  close(): Promise<void>
}

export interface TrunkStream extends End {
  readonly inbound: Inbound
}

/** A sender over the trunk that belongs to no party: a speaker slot's. */
export interface TrunkSender {
  readonly out: Outgoing
  transmit(payloadType: number, payload: Uint8Array, start: number, end: number, level: number): void
}

const receiveBytes = 4 << 20
// mediasoup computes scores from reports; it asks for none to be often.
const reportMs = 3000
const rtp = createRtpPacket()

export async function openTrunk(hub: Hub, ports: Ports, id: string, address: string): Promise<Trunk> {
  const socket = await ports.openOne(address, receiveBytes)
  const unwatch = hub.watch(socket)
  return new LoopbackTrunk(hub, id, socket, () => {
    unwatch()
    return ports.close(socket)
  })
}

class LoopbackTrunk implements Trunk {
  readonly id: string
  readonly port: number
  readonly hub: Hub
  readonly #socket: MediaSocket
  readonly #release: () => Promise<void>
  readonly #streams = new Set<Stream>()
  readonly #bySsrc = new Map<number, Stream>()
  #connected = false
  #closing: Promise<void> | undefined

  constructor(hub: Hub, id: string, socket: MediaSocket, release: () => Promise<void>) {
    this.id = id
    this.hub = hub
    this.#socket = socket
    this.#release = release
    this.port = socket.port
    // After an error the worker is gone, or not there yet: its owner learns that from the worker.
    socket.receive(
      bytes => this.#receive(bytes),
      () => hub.packets.dropped++,
    )
  }

  async connect(address: string, port: number): Promise<void> {
    if (this.#connected) this.#socket.disconnect()
    this.#connected = false
    await this.#socket.connect(port, address)
    this.#connected = true
  }

  open(id: string, end: TrunkEnd): Stream {
    const ssrc = end.receive?.ssrc
    if (ssrc !== undefined && this.#bySsrc.has(ssrc)) {
      throw new Refusal('already-exists', `SSRC ${ssrc} is received by another end of this trunk`)
    }
    const stream = new Stream(this, id, end)
    this.#streams.add(stream)
    if (ssrc !== undefined) this.#bySsrc.set(ssrc, stream)
    return stream
  }

  /** A stream has closed. */
  forget(stream: Stream): void {
    this.#streams.delete(stream)
    if (stream.ssrc !== undefined) this.#bySsrc.delete(stream.ssrc)
  }

  send(bytes: Buffer, length: number): void {
    if (!this.#connected || this.#closing) return
    this.#socket.sendConnected(bytes, length)
  }

  tick(now: number): void {
    for (const stream of this.#streams) stream.tick(now)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const stream of this.#streams) stream.route?.leave(stream)
    this.#streams.clear()
    this.#bySsrc.clear()
    await this.#release()
  }

  #receive(bytes: Buffer): void {
    const { packets } = this.hub
    packets.in++
    // Before `connect` anybody on this machine could send.
    if (!this.#connected || this.#closing) {
      packets.dropped++
      return
    }
    if (isRtcp(bytes)) return this.#receiveReport(bytes)
    // Of an SSRC that nobody wants: a consumer that is closing, or mediasoup probing the bandwidth.
    const stream = parseRtp(bytes, bytes.length, rtp) ? this.#bySsrc.get(rtp.ssrc) : undefined
    if (!stream?.receive()) packets.dropped++
  }

  /** Receiver reports, NACK and PLI need no answer over loopback; of a sender report its time is echoed. */
  #receiveReport(bytes: Buffer): void {
    const report = parseRtcp(bytes, bytes.length)
    if (report?.senderTime) {
      this.#bySsrc.get(report.ssrc)?.inbound.reception?.reported(report.senderTime, this.hub.now())
    }
  }
}

class Stream implements TrunkStream, TrunkSender {
  readonly id: string
  readonly ssrc: number | undefined
  readonly inbound: Inbound
  readonly out: Outgoing
  readonly sends: PayloadType | undefined
  readonly sendsDtmf: { payloadType: number; clockRate: number } | undefined
  readonly sendsNoise = undefined
  readonly wantsLevel: boolean
  route: Route | undefined
  name = ''
  muted = false
  readonly #trunk: LoopbackTrunk
  readonly #cname: string
  readonly #receiveLevel: number
  readonly #sendLevel: number
  #heard = false
  #reportAt: number
  #closed = false

  constructor(trunk: LoopbackTrunk, id: string, end: TrunkEnd) {
    const { hub } = trunk
    const { receive, send } = end
    this.id = id
    this.#trunk = trunk
    this.ssrc = receive?.ssrc
    this.sends = send?.codec
    this.sendsDtmf = send?.dtmf === undefined ? undefined : { payloadType: send.dtmf, clockRate: send.codec.clockRate }
    this.#sendLevel = send?.levelExtension ?? 0
    this.#receiveLevel = receive?.levelExtension ?? 0
    this.#cname = send?.cname ?? 'vaartha'
    this.wantsLevel = this.#sendLevel > 0
    // A stream that only receives reports under an SSRC of its own all the same (RFC 3550 section 6.4.2).
    this.out = createOutgoing(send?.ssrc ?? randomInt(1, 0xffffffff), send?.codec.clockRate ?? 8000)
    this.inbound = createInbound((digit, ms) => hub.emit({ type: 'dtmf', end: id, digit, ms }))
    this.inbound.expect(meaningsOf(receive))
    this.#reportAt = hub.now() + 1000 + randomInt(reportMs)
  }

  /** Takes the packet that was just parsed. */
  receive(): boolean {
    const level = this.#receiveLevel > 0 ? readLevel(rtp, this.#receiveLevel) : -1
    const { hub } = this.#trunk
    if (!this.inbound.take(this, rtp, level, hub.now(), false)) return false
    if (!this.#heard) {
      this.#heard = true
      hub.emit({ type: 'media', end: this.id })
    }
    return true
  }

  transmit(payloadType: number, payload: Uint8Array, start: number, end: number, level: number): void {
    if (this.#closed || levelHeaderBytes + end - start > mostBytes) return
    const { hub } = this.#trunk
    const { out } = this
    const into = hub.buffer()
    writeHeader(into, out.marker, payloadType, out.sequence, out.timestamp, out.ssrc)
    let length = headerBytes
    if (this.#sendLevel > 0 && level >= 0) length = writeLevel(into, this.#sendLevel, level)
    for (let i = start; i < end; i++, length++) into[length] = payload[i]!
    out.packets++
    out.octets += end - start
    hub.packets.out++
    this.#trunk.send(into, length)
  }

  /** Browsers send their levels; without one a packet counts as it is. */
  measure(_codec: AudioCodec, _bytes: Uint8Array, _start: number, _end: number): number {
    return -1
  }

  tick(now: number): void {
    this.inbound.tick(now)
    if (now < this.#reportAt) return
    this.#reportAt = now + reportMs / 2 + randomInt(reportMs)
    this.#report(now, false)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    if (this.out.packets > 0) this.#report(this.#trunk.hub.now(), true)
    this.#closed = true
    this.route?.leave(this)
    this.#trunk.forget(this)
  }

  #report(now: number, bye: boolean): void {
    const { out } = this
    const sent = out.packets > 0 ? { timestamp: out.clock(now), packets: out.packets, octets: out.octets } : undefined
    const heard = this.inbound.reception?.block(now)
    if (!sent && !heard) return
    const into = this.#trunk.hub.buffer()
    const report = { ssrc: out.ssrc, cname: this.#cname, sent, heard, bye }
    this.#trunk.send(into, writeReport(into, report, this.#trunk.hub.wall()))
  }
}

function meaningsOf(receive: TrunkEnd['receive']): Map<number, Meaning> {
  const meanings = new Map<number, Meaning>()
  if (!receive) return meanings
  meanings.set(receive.codec.payloadType, { kind: 'audio', codec: receive.codec })
  if (receive.dtmf !== undefined) meanings.set(receive.dtmf, { kind: 'dtmf', clockRate: receive.codec.clockRate })
  return meanings
}
