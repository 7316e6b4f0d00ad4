import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { PortRemote, SrtpKeys } from '../../src/media/audio/audio.ts'
import { parseRtcp, type Rtcp } from '../../src/media/audio/rtcp.ts'
import { createRtpPacket, isRtcp, parseRtp, writeHeader } from '../../src/media/audio/rtp.ts'
import { createSrtpReceiver, createSrtpSender } from '../../src/media/audio/srtp.ts'
import { shareOf } from './tone.ts'

// A phone's media without its signalling: sends a tone as PCMU packets, and keeps what comes.

export interface RtpPhoneOptions {
  address?: string
  /** Hz of its tone. */
  tone?: number
  payloadType?: number
  /** The phone's own view: `send` is what it encrypts with. */
  srtp?: SrtpKeys
  ssrc?: number
  sequence?: number
  timestamp?: number
}

export interface Heard {
  sequence: number
  timestamp: number
  ssrc: number
  payloadType: number
  marker: boolean
  payload: Buffer
  /** Ms, of `performance.now`. */
  at: number
}

export interface SendOptions {
  /** Indices of packets that get lost on the way. */
  lose?: (index: number) => boolean
  /** Sends each pair of packets in the wrong order. */
  reorder?: boolean
  /** One packet each so many ms, made up for when the machine is late; 0 sends them as fast as they go. */
  everyMs?: number
}

const samplesPerPacket = 160
const piece = 400

export async function createRtpPhone(options: RtpPhoneOptions = {}): Promise<RtpPhone> {
  const address = options.address ?? '127.0.0.1'
  const sockets = [createSocket(isIPv6(address) ? 'udp6' : 'udp4'), createSocket(isIPv6(address) ? 'udp6' : 'udp4')]
  for (const socket of sockets) await new Promise<void>(resolve => socket.bind(0, address, resolve))
  return new RtpPhone(sockets[0]!, sockets[1]!, address, options)
}

export class RtpPhone {
  readonly address: string
  readonly heard: Heard[] = []
  readonly reports: Rtcp[] = []
  /** Packets that its key did not open. */
  refused = 0
  ssrc: number
  sequence: number
  timestamp: number
  payloadType: number
  readonly tone: number
  #rtp: Socket
  readonly #rtcp: Socket
  readonly #options: RtpPhoneOptions
  readonly #sender
  readonly #receiver
  readonly #waiting = new Set<() => void>()
  target = { address: '', rtpPort: 0, rtcpPort: 0 }
  #phase = 0

  constructor(rtp: Socket, rtcp: Socket, address: string, options: RtpPhoneOptions) {
    this.address = address
    this.#rtp = rtp
    this.#rtcp = rtcp
    this.#options = options
    this.tone = options.tone ?? 440
    this.ssrc = options.ssrc ?? 0x1000 + rtp.address().port
    this.sequence = options.sequence ?? 100
    this.timestamp = options.timestamp ?? 5000
    this.payloadType = options.payloadType ?? 0
    const { srtp } = options
    this.#sender = srtp && createSrtpSender(srtp.suite, srtp.send)
    this.#receiver = srtp && createSrtpReceiver(srtp.suite, srtp.receive)
    this.#listen(rtp)
    this.#listen(rtcp)
  }

  get port(): number {
    return this.#rtp.address().port
  }
  get rtcpPort(): number {
    return this.#rtcp.address().port
  }

  /** What the server would learn of this phone from its SDP; `muxed` puts RTCP on the RTP port. */
  remote(change: Partial<PortRemote> & { muxed?: boolean } = {}): PortRemote {
    const { muxed, ...rest } = change
    const pcmu = { payloadType: this.payloadType, codec: 'PCMU', clockRate: 8000, channels: 1 } as const
    const { srtp } = this.#options
    return {
      address: this.address,
      port: this.port,
      rtcpPort: muxed ? 0 : this.rtcpPort,
      send: pcmu,
      receive: [pcmu],
      dtmf: { send: 101, receive: 101, clockRate: 8000 },
      direction: 'sendrecv',
      ...(srtp ? { srtp: { suite: srtp.suite, send: srtp.receive, receive: srtp.send } } : {}),
      ...rest,
    }
  }

  /** Where its packets go. */
  aim(target: { rtpPort: number; rtcpPort: number }, address = this.address): void {
    this.target = { address, ...target }
  }

  /** Sends `count` packets of 20 ms of its tone. */
  async talk(count: number, { lose, reorder, everyMs = 0 }: SendOptions = {}): Promise<void> {
    const packets = Array.from({ length: count }, () => this.#next())
    const began = performance.now()
    for (let i = 0; i < count; i++) {
      const turned = reorder && (i ^ 1) < count ? i ^ 1 : i
      if (!lose?.(turned)) await this.raw(packets[turned]!)
      const early = began + (i + 1) * everyMs - performance.now()
      if (early > 0) await wait(early)
    }
  }

  /** Talks on, 50 packets a second by the clock, until the returned function is called. */
  chatter(): () => Promise<void> {
    let on = true
    const began = performance.now()
    const talking = (async () => {
      for (let sent = 1; on; sent++) {
        await this.raw(this.#next())
        const early = began + sent * 20 - performance.now()
        if (early > 0) await wait(early)
      }
    })()
    return () => {
      on = false
      return talking
    }
  }

  /** Packets of a telephone event, the last three with the end bit; `lose` as in `talk`. */
  async press(digit: string, ms: number, payloadType = 101, lose?: (index: number) => boolean): Promise<void> {
    const packets = Math.max(1, Math.floor(ms / 50))
    for (let i = 0; i < packets + 3; i++) {
      const ends = i >= packets
      const duration = Math.round(((ends ? ms : (i + 1) * 50) * 8000) / 1000)
      const payload = Buffer.from([
        '0123456789*#ABCD'.indexOf(digit),
        ends ? 0x8a : 0x0a,
        duration >> 8,
        duration & 255,
      ])
      const bytes = this.#packet(payloadType, payload, i === 0)
      if (!lose?.(i)) await this.raw(bytes)
    }
    this.timestamp = (this.timestamp + ms * 8) >>> 0
  }

  /** A packet with a payload of the caller's; the timestamp advances by `samples` afterwards. */
  async say(payloadType: number, payload: Buffer, samples = samplesPerPacket): Promise<void> {
    const bytes = this.#packet(payloadType, payload, false)
    this.timestamp = (this.timestamp + samples) >>> 0
    await this.raw(bytes)
  }

  /** Sends bytes from the RTP socket as they are. */
  raw(bytes: Buffer): Promise<void> {
    const { address, rtpPort } = this.target
    return new Promise((resolve, reject) =>
      this.#rtp.send(bytes, rtpPort, address, error => (error ? reject(error) : resolve())),
    )
  }

  rawReport(bytes: Buffer, muxed = false): void {
    const { address, rtpPort, rtcpPort } = this.target
    if (muxed) this.#rtp.send(bytes, rtpPort, address)
    else this.#rtcp.send(bytes, rtcpPort, address)
  }

  /** Takes another source port, as a phone behind a NAT may. */
  async move(): Promise<void> {
    this.#rtp.close()
    await this.#open(0)
  }

  /** Has no socket at its port while `meanwhile` goes on. */
  async away(meanwhile: () => Promise<void>): Promise<void> {
    const { port } = this
    await new Promise<void>(resolve => this.#rtp.close(resolve))
    await meanwhile()
    await this.#open(port)
  }

  async #open(port: number): Promise<void> {
    this.#rtp = createSocket(isIPv6(this.address) ? 'udp6' : 'udp4')
    await new Promise<void>(resolve => this.#rtp.bind(port, this.address, resolve))
    this.#listen(this.#rtp)
  }

  /** Resolves when `condition` holds, looked at after each datagram; rejects after `ms`. */
  until(condition: () => boolean, ms = 2000): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (!condition()) return
        clearTimeout(timer)
        this.#waiting.delete(look)
        resolve()
      }
      const timer = setTimeout(() => {
        this.#waiting.delete(look)
        reject(new Error(`the phone has waited in vain; it heard ${this.heard.length} packets`))
      }, ms)
      this.#waiting.add(look)
      look()
    })
  }

  /** Packets of sound (payload type `payloadType`) that were heard. */
  sounds(payloadType = this.payloadType): Heard[] {
    return this.heard.filter(packet => packet.payloadType === payloadType)
  }

  /**
   * Share of the energy of all PCMU that was heard that lies at `frequency`: of pieces of 50 ms, because a tone that was
   * moved in time by a jitter buffer in between would cancel itself in the whole.
   */
  share(frequency: number, packets = this.sounds()): number {
    const samples = Float32Array.from(packets.flatMap(({ payload }) => [...payload].map(expandMu)))
    let [found, all] = [0, 0]
    for (let from = 0; from + piece <= samples.length; from += piece) {
      let energy = 0
      for (let i = from; i < from + piece; i++) energy += samples[i]! ** 2
      found += energy * shareOf({ rate: 8000, samples }, frequency, from, from + piece)
      all += energy
    }
    return all === 0 ? 0 : found / all
  }

  /** The same of the 200 ms in which it is highest: what a mixer says before and after a talk is not the talk. */
  clearest(frequency: number): number {
    const packets = this.sounds()
    let best = 0
    for (let i = 0; i + 10 <= packets.length; i += 5)
      best = Math.max(best, this.share(frequency, packets.slice(i, i + 10)))
    return best
  }

  close(): void {
    this.#rtp.close()
    this.#rtcp.close()
  }

  #next(): Buffer {
    const payload = Buffer.alloc(samplesPerPacket)
    for (let i = 0; i < samplesPerPacket; i++) {
      payload[i] = compressMu(0.3 * Math.sin((2 * Math.PI * this.tone * this.#phase++) / 8000))
    }
    const bytes = this.#packet(this.payloadType, payload, false)
    this.timestamp = (this.timestamp + samplesPerPacket) >>> 0
    return bytes
  }

  #packet(payloadType: number, payload: Buffer, marker: boolean): Buffer {
    const bytes = Buffer.alloc(12 + payload.length + 16)
    writeHeader(bytes, marker, payloadType, this.sequence, this.timestamp, this.ssrc)
    payload.copy(bytes, 12)
    this.sequence = (this.sequence + 1) & 0xffff
    const length = 12 + payload.length
    return bytes.subarray(0, this.#sender ? this.#sender.protect(bytes, length) : length)
  }

  #listen(socket: Socket): void {
    socket.on('message', bytes => {
      this.#receive(bytes)
      for (const look of this.#waiting) look()
    })
  }

  #receive(bytes: Buffer): void {
    let { length } = bytes
    if (isRtcp(bytes)) {
      if (this.#receiver) length = this.#receiver.unprotectRtcp(bytes, length)
      const report = length < 0 ? undefined : parseRtcp(bytes, length)
      if (report) this.reports.push(report)
      else this.refused++
      return
    }
    if (this.#receiver) length = this.#receiver.unprotect(bytes, length)
    const packet = createRtpPacket()
    if (length < 0 || !parseRtp(bytes, length, packet)) {
      this.refused++
      return
    }
    const { sequence, timestamp, ssrc, payloadType, marker } = packet
    const payload = bytes.subarray(packet.start, packet.end)
    this.heard.push({ sequence, timestamp, ssrc, payloadType, marker, payload, at: performance.now() })
  }
}

/** Whether packets form one stream: one SSRC, sequence numbers without a hole, timestamps that never go back. */
export function isContinuous(packets: readonly Heard[]): boolean {
  return packets.every((packet, i) => {
    const before = packets[i - 1]
    if (!before) return true
    const step = (packet.timestamp - before.timestamp) | 0
    return packet.ssrc === before.ssrc && packet.sequence === ((before.sequence + 1) & 0xffff) && step >= 0
  })
}

// mu-law written for itself, so that a mistake in the server's tables shows.
function compressMu(sample: number): number {
  const magnitude = Math.min(8158, Math.round(Math.abs(sample) * 8159)) + 33
  const segment = Math.floor(Math.log2(magnitude)) - 5
  const step = (magnitude >> (segment + 1)) & 0x0f
  return ~((sample < 0 ? 0x80 : 0) | (segment << 4) | step) & 0xff
}

function expandMu(code: number): number {
  const bits = ~code & 0xff
  const magnitude = ((2 * (bits & 0x0f) + 33) << ((bits >> 4) & 7)) - 33
  return (bits & 0x80 ? -magnitude : magnitude) / 8159
}
