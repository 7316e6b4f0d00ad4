import { compress, sampleOf } from '../codec/g711.ts'
import type { AudioCodec, ToneWish } from './audio.ts'
import { convertEvent } from './dtmf.ts'
import type { End, EventPacket, MediaPacket, Route } from './end.ts'
import type { Hub } from './hub.ts'
import { createMixing, type Mixing } from './mixing.ts'
import { mostBytes } from './rtp.ts'

// Two ends that hear each other, or one that waits for another or hears itself. As long as their codecs agree, packets
// are passed on and nothing is decoded; when they differ, or something is played to one of them, a mixer of their own
// stands between them, and leaves when it is not needed any more.

export interface Link extends Route {
  /** Needs the codecs to be loaded. */
  play(end: End, tone: ToneWish): { playing: string; mixing: Mixing }
  close(): void
}

// One for the whole thread, as a packet is sent before the next one is read.
const converted = Buffer.alloc(mostBytes)
const eventBytes = Buffer.alloc(4)

/** `other` undefined: the end hears only what is played to it. */
export function createLink(hub: Hub, one: End, other: End | undefined): Link {
  return new PairLink(hub, one, other)
}

class PairLink implements Link {
  readonly #hub: Hub
  #ends: End[]
  #mixing: Mixing | undefined
  // Whether the mixer is there because codecs differ, and not only for a tone.
  #converts = false
  readonly #calm: () => void
  #closed = false

  constructor(hub: Hub, one: End, other: End | undefined) {
    this.#hub = hub
    this.#calm = hub.hurry()
    this.#ends = other ? [one, other] : [one]
    for (const end of this.#ends) end.route = this
  }

  receive(from: End, packet: MediaPacket): void {
    if (this.#mixing) return this.#mixing.receive(from, packet)
    const to = this.#other(from)
    if (!to) return
    if (from.muted) to.out.skip(packet.source, packet.sequence)
    else if (!passSound(from, to, packet, this.#hub.now())) this.#convert()
  }

  event(from: End, packet: EventPacket): void {
    const to = this.#other(from)
    if (to) passEvent(to, packet, this.#hub.now(), this.#mixing !== undefined)
  }

  changed(end: End): void {
    this.#converts = false
    this.#mixing?.add(end, false)
    this.#relax()
  }

  muted(end: End): void {
    this.#mixing?.mute(end)
  }

  leave(end: End): void {
    if (end.route === this) end.route = undefined
    this.#ends = this.#ends.filter(one => one !== end)
    this.#mixing?.remove(end)
    this.#converts = false
    if (this.#ends.length === 0) this.close()
    else this.#relax()
  }

  play(end: End, tone: ToneWish): { playing: string; mixing: Mixing } {
    const mixing = this.#mix()
    return { playing: mixing.play(end, tone), mixing }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#calm()
    for (const end of this.#ends) if (end.route === this) end.route = undefined
    void this.#mixing?.close()
    this.#mixing = undefined
  }

  #other(end: End): End | undefined {
    return this.#ends[0] === end ? this.#ends[1] : this.#ends[0]
  }

  #convert(): void {
    // While the codecs are being loaded packets are lost, once in the life of the thread.
    if (!this.#hub.mixery()) return
    this.#converts = true
    this.#mix()
  }

  #mix(): Mixing {
    const mixery = this.#hub.mixery()
    if (!mixery) throw new Error('the codecs are not loaded')
    if (!this.#mixing) {
      // Where anybody has another codec than Opus nothing above 8 kHz is heard.
      const rate = this.#ends.every(end => end.sends?.codec === 'opus') ? 48000 : 16000
      this.#mixing = createMixing(this.#hub, mixery, { speakers: 2, rate }, event => {
        // The mixer says so amid its beat, in which it must not be taken away.
        if (event.type === 'played') setImmediate(() => this.#relax())
      })
      for (const end of this.#ends) this.#mixing.add(end, false)
    }
    return this.#mixing
  }

  /** Takes the mixer away when neither a tone nor the codecs need it. */
  #relax(): void {
    if (this.#converts || !this.#mixing || this.#mixing.playing > 0) return
    void this.#mixing.close()
    this.#mixing = undefined
  }
}

/** Passes a packet on as it is, or G.711 in its other law; false when it must be decoded. */
export function passSound(from: End, to: End, packet: MediaPacket, now: number): boolean {
  const { sends, out } = to
  const { codec, start, end } = packet
  if (!sends || (codec === 'CN' && to.sendsNoise === undefined)) {
    out.skip(packet.source, packet.sequence)
    return true
  }
  let { bytes } = packet
  let payloadType = sends.payloadType
  if (codec === 'CN') payloadType = to.sendsNoise!
  else if (codec.codec !== sends.codec) {
    const table = lawTable(codec.codec, sends.codec)
    if (!table || end > converted.length) return false
    for (let i = start; i < end; i++) converted[i] = table[bytes[i]!]!
    bytes = converted
  }
  if (!out.forward(packet.source, packet.sequence, packet.timestamp, packet.marker, now)) return true
  let { level } = packet
  if (level < 0 && to.wantsLevel && codec !== 'CN') level = from.measure(codec.codec, packet.bytes, start, end)
  to.transmit(payloadType, bytes, start, end, level)
  return true
}

function passEvent(to: End, packet: EventPacket, now: number, mixed: boolean): void {
  const { sendsDtmf, out } = to
  if (!sendsDtmf || !to.sends) {
    if (!mixed) out.skip(packet.source, packet.sequence)
    return
  }
  if (mixed) out.emitEvent(packet.begins, now)
  else if (!out.forwardEvent(packet.source, packet.sequence, packet.timestamp, packet.begins, now)) return
  if (sendsDtmf.clockRate === packet.clockRate) {
    to.transmit(sendsDtmf.payloadType, packet.bytes, packet.start, packet.end, -1)
    return
  }
  convertEvent(eventBytes, packet.bytes, packet.start, packet.clockRate, sendsDtmf.clockRate)
  to.transmit(sendsDtmf.payloadType, eventBytes, 0, eventBytes.length, -1)
}

// From each code of one law to the nearest of the other.
const tables = { PCMU: lawToLaw('PCMU', 'PCMA'), PCMA: lawToLaw('PCMA', 'PCMU') }

function lawTable(from: AudioCodec, to: AudioCodec): Uint8Array | undefined {
  if (from === 'PCMU' && to === 'PCMA') return tables.PCMU
  if (from === 'PCMA' && to === 'PCMU') return tables.PCMA
  return undefined
}

function lawToLaw(from: 'PCMU' | 'PCMA', to: 'PCMU' | 'PCMA'): Uint8Array {
  const pcm = Int16Array.from({ length: 256 }, (_, code) => sampleOf(from, code))
  const table = new Uint8Array(256)
  compress(to, pcm, table)
  return table
}
