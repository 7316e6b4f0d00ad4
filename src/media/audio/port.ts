import { randomBytes, randomInt } from 'node:crypto'
import type { RemoteInfo } from 'node:dgram'
import { isIP, isIPv6, SocketAddress } from 'node:net'
import { Refusal } from '../../errors.ts'
import { createLevelMeter, type LevelMeter } from '../codec/level.ts'
import type { AudioCodec, PayloadType, PortRemote } from './audio.ts'
import type { End, Meaning, Route } from './end.ts'
import type { Hub } from './hub.ts'
import { createInbound, type Inbound } from './inbound.ts'
import { createLatch } from './latch.ts'
import type { MediaSocket } from './media-socket.ts'
import { createOutgoing } from './outgoing.ts'
import { parseRtcp, writeReport } from './rtcp.ts'
import { createRtpPacket, headerBytes, isRtcp, mostBytes, parseRtp, writeHeader } from './rtp.ts'
import type { Ports } from './sockets.ts'
import { createSrtpReceiver, createSrtpSender, isSrtpKey, type SrtpReceiver, type SrtpSender } from './srtp.ts'

// One phone: its RTP and RTCP sockets, and what it is sent as one continuous stream.

export interface Port extends End {
  readonly rtpPort: number
  readonly rtcpPort: number
  readonly inbound: Inbound
  /** Packets that were not the phone's, or not of what was negotiated. */
  readonly dropped: number
  /** Refuses `not-acceptable-here` and keeps what it had when the place, a payload type or a key can be none. */
  set(remote: PortRemote): void
  /** Once a second: reports, silence, events whose end was lost. */
  tick(now: number): void
}

const receiveBytes = 256 << 10
// RFC 3550 section 6.2: about five seconds between reports, spread so that they do not come together.
const reportMs = 5000
// One for the whole thread: a packet is dealt with before the next one is read.
const rtp = createRtpPacket()

/** Binds a pair of `ports` on `address`. Refuses `media-unavailable` when there is none. */
export async function openPort(hub: Hub, ports: Ports, id: string, address: string): Promise<Port> {
  const sockets = await ports.openPair(address, receiveBytes)
  // The time at which a report came is in the answer to it, so that control packets are read in time as well.
  const watches = [hub.watch(sockets.rtp), hub.watch(sockets.rtcp)]
  return new PhonePort(hub, id, sockets.rtp, sockets.rtcp, () => {
    for (const unwatch of watches) unwatch()
    return ports.close(sockets.rtp, sockets.rtcp)
  })
}

class PhonePort implements Port {
  readonly id: string
  readonly inbound: Inbound
  readonly out = createOutgoing(randomBytes(4).readUInt32BE(), 8000)
  readonly wantsLevel = false
  readonly rtpPort: number
  readonly rtcpPort: number
  route: Route | undefined
  name = ''
  muted = false
  dropped = 0
  sends: PayloadType | undefined
  sendsDtmf: { payloadType: number; clockRate: number } | undefined
  sendsNoise: number | undefined
  readonly #hub: Hub
  readonly #rtp: MediaSocket
  readonly #rtcp: MediaSocket
  readonly #release: () => Promise<void>
  readonly #latch = createLatch()
  readonly #rtcpLatch = createLatch()
  readonly #cname = randomBytes(12).toString('base64url')
  #meter: { codec: AudioCodec; meter: LevelMeter } | undefined
  #remote: PortRemote | undefined
  #listens = false
  #sender: SrtpSender | undefined
  #receiver: SrtpReceiver | undefined
  #heardAt = 0
  // How many times in a row silence was reported; -1 until the first packet.
  #silences = -1
  #reportAt = 0
  #closing: Promise<void> | undefined

  constructor(hub: Hub, id: string, rtpSocket: MediaSocket, rtcpSocket: MediaSocket, release: () => Promise<void>) {
    this.id = id
    this.#hub = hub
    this.#rtp = rtpSocket
    this.#rtcp = rtcpSocket
    this.#release = release
    this.rtpPort = rtpSocket.port
    this.rtcpPort = rtcpSocket.port
    this.inbound = createInbound((digit, ms) => hub.emit({ type: 'dtmf', end: id, digit, ms }))
    // An ICMP "port unreachable" says only that the phone is not there now.
    const fail = () => this.#drop()
    rtpSocket.receive((bytes, from) => this.#receive(bytes, from), fail)
    rtcpSocket.receive((bytes, from) => this.#receiveReport(bytes, from, false), fail)
  }

  set(wish: PortRemote): void {
    const remote = examine(wish)
    const now = this.#hub.now()
    const { direction } = remote
    const [keys, before] = [remote.srtp, this.#remote?.srtp]
    // Sequence numbers of a key that goes on are guessed from those before: its state must stay.
    if (keys?.suite !== before?.suite || keys?.send !== before?.send) {
      this.#sender = keys && createSrtpSender(keys.suite, keys.send)
    }
    if (keys?.suite !== before?.suite || keys?.receive !== before?.receive) {
      this.#receiver = keys && createSrtpReceiver(keys.suite, keys.receive)
    }
    this.#latch.expect(remote.address, remote.port, now, remote.signalling)
    if (remote.rtcpPort !== 0) this.#rtcpLatch.expect(remote.address, remote.rtcpPort, now, remote.signalling)
    // A port of 0 or an unspecified address (RFC 2543's way to hold) is nowhere to send to.
    const reachable = remote.port !== 0 && remote.address !== '0.0.0.0' && remote.address !== '::'
    const speaks = reachable && (direction === 'sendrecv' || direction === 'sendonly')
    const listens = direction === 'sendrecv' || direction === 'recvonly'
    if (listens && !this.#listens) {
      this.#heardAt = now
      this.#silences = this.#silences < 0 ? -1 : 0
    }
    if (!this.#remote) this.#reportAt = now + 1000 + randomInt(reportMs)
    this.#listens = listens
    this.#remote = remote
    this.sends = speaks ? remote.send : undefined
    this.sendsDtmf = remote.dtmf && { payloadType: remote.dtmf.send, clockRate: remote.dtmf.clockRate }
    this.sendsNoise = remote.comfortNoise
    this.out.setRate(remote.send.clockRate)
    this.inbound.expect(meaningsOf(remote))
    this.route?.changed(this)
  }

  transmit(payloadType: number, payload: Uint8Array, start: number, end: number): void {
    const into = this.#hub.buffer()
    const { out } = this
    if (this.#closing || headerBytes + end - start > mostBytes) return
    writeHeader(into, out.marker, payloadType, out.sequence, out.timestamp, out.ssrc)
    if (end - start === payload.length) into.set(payload, headerBytes)
    else for (let at = headerBytes, i = start; i < end; i++, at++) into[at] = payload[i]!
    out.packets++
    out.octets += end - start
    let length = headerBytes + end - start
    if (this.#sender) length = this.#sender.protect(into, length)
    this.#hub.packets.out++
    this.#rtp.send(into, length, this.#latch.port, this.#latch.address)
  }

  measure(codec: AudioCodec, bytes: Uint8Array, start: number, end: number): number {
    if (this.#meter?.codec !== codec) {
      const meter = this.#createMeter(codec)
      if (!meter) return this.inbound.level
      this.#meter?.meter.free()
      this.#meter = { codec, meter }
    }
    this.inbound.level = this.#meter.meter.level(bytes.subarray(start, end))
    return this.inbound.level
  }

  tick(now: number): void {
    this.inbound.tick(now)
    if (!this.#remote) return
    if (now >= this.#reportAt) {
      this.#reportAt = now + reportMs / 2 + randomInt(reportMs)
      this.#report(now, false)
    }
    if (!this.#listens) return
    const quiet = now - this.#heardAt
    const times = Math.floor(quiet / this.#hub.silentMs)
    if (times > Math.max(0, this.#silences)) {
      this.#silences = times
      this.#hub.emit({ type: 'silent', end: this.id, ms: Math.round(quiet) })
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#remote && this.out.packets > 0) this.#report(this.#hub.now(), true)
    this.route?.leave(this)
    this.#meter?.meter.free()
    await this.#release()
  }

  /** Opus alone needs a decoder for it, which may have to be loaded first. */
  #createMeter(codec: AudioCodec): LevelMeter | undefined {
    if (codec === 'opus') return this.#hub.mixery()?.codecs.meter(codec)
    return createLevelMeter(codec, () => {
      throw new Error(`${codec} is measured without a decoder`)
    })
  }

  #drop(): void {
    this.dropped++
    this.#hub.packets.dropped++
  }

  #receive(bytes: Buffer, from: RemoteInfo): void {
    this.#hub.packets.in++
    const remote = this.#remote
    if (!remote || this.#closing) return this.#drop()
    if (isRtcp(bytes)) return this.#receiveReport(bytes, from, true)
    let { length } = bytes
    if (this.#receiver) length = this.#receiver.unprotect(bytes, length)
    if (length < 0 || !parseRtp(bytes, length, rtp)) return this.#drop()
    const now = this.#hub.now()
    // Only what was negotiated may move the latch.
    if (!this.inbound.knows(rtp.payloadType)) return this.#drop()
    if (this.#latch.judge(from.address, from.port, now, this.#receiver !== undefined) === 'foreign') return this.#drop()
    if (!this.inbound.take(this, rtp, -1, now, !this.#listens)) return this.#drop()
    this.#heardAt = now
    if (this.#silences !== 0 && this.#listens) {
      this.#silences = 0
      this.#hub.emit({ type: 'media', end: this.id })
    }
  }

  #receiveReport(bytes: Buffer, from: RemoteInfo, muxed: boolean): void {
    if (!muxed) this.#hub.packets.in++
    const remote = this.#remote
    if (!remote || this.#closing || bytes.length < 8) return this.#drop()
    let { length } = bytes
    if (this.#receiver) length = this.#receiver.unprotectRtcp(bytes, length)
    const report = length < 0 ? undefined : parseRtcp(bytes, length)
    if (!report) return this.#drop()
    const now = this.#hub.now()
    const latch = muxed || remote.rtcpPort === 0 ? this.#latch : this.#rtcpLatch
    const { address, port } = from
    // A control packet never moves the place that sound is sent to.
    const ours =
      latch === this.#latch
        ? address === latch.address
        : latch.judge(address, port, now, !!this.#receiver) !== 'foreign'
    if (!ours) return this.#drop()
    if (report.senderTime !== 0 && this.inbound.reception?.ssrc === report.ssrc) {
      this.inbound.reception.reported(report.senderTime, now)
    }
  }

  #report(now: number, bye: boolean): void {
    const { out } = this
    const into = this.#hub.buffer()
    const sent = out.packets > 0 ? { timestamp: out.clock(now), packets: out.packets, octets: out.octets } : undefined
    const heard = this.inbound.reception?.block(now)
    const wall = this.#hub.wall()
    let length = writeReport(into, { ssrc: out.ssrc, cname: this.#cname, sent, heard, bye }, wall)
    if (this.#sender) length = this.#sender.protectRtcp(into, length)
    const muxed = this.#remote?.rtcpPort === 0
    const latch = muxed ? this.#latch : this.#rtcpLatch
    if (latch.port === 0) return
    ;(muxed ? this.#rtp : this.#rtcp).send(into, length, latch.port, latch.address)
  }
}

/** A stranger's SDP ends here: what a socket or a cipher would throw at is refused. Gives addresses as sockets write them. */
function examine(remote: PortRemote): PortRemote {
  const { address, port, rtcpPort, send, receive, srtp } = remote
  const wrong =
    isIP(address) === 0 ||
    [port, rtcpPort].some(number => !Number.isInteger(number) || number < 0 || number > 65535) ||
    [send, ...receive].some(
      ({ payloadType }) => !Number.isInteger(payloadType) || payloadType < 0 || payloadType > 127,
    ) ||
    (srtp !== undefined && !(isSrtpKey(srtp.send) && isSrtpKey(srtp.receive)))
  if (wrong)
    throw new Refusal('not-acceptable-here', 'The media description has an address, number or key that can not be')
  return isIPv6(address) ? { ...remote, address: new SocketAddress({ address, family: 'ipv6' }).address } : remote
}

function meaningsOf(remote: PortRemote): Map<number, Meaning> {
  const meanings = new Map<number, Meaning>()
  for (const codec of remote.receive) meanings.set(codec.payloadType, { kind: 'audio', codec })
  if (remote.comfortNoise !== undefined) meanings.set(remote.comfortNoise, { kind: 'noise' })
  if (remote.dtmf) meanings.set(remote.dtmf.receive, { kind: 'dtmf', clockRate: remote.dtmf.clockRate })
  return meanings
}
