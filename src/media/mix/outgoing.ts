import type { PayloadType } from '../audio/audio.ts'
import type { Codecs, Encoder, MixRate } from '../codec/codec.ts'
import { stretch } from '../codec/resample.ts'

// What members are sent. All who hear the same and want the same codec and packet time share one encoder; who hears
// something of its own (its own voice taken out, a tone) has one of its own for as long as that lasts.

export interface Outlet {
  codec: PayloadType
  send: (payload: Uint8Array, samples: number, marker: boolean) => void
  /** Set before each `tick`: the 20 ms that only this one hears. */
  own: Int16Array | undefined
}

export interface Outgoing {
  add(outlet: Outlet): void
  remove(outlet: Outlet): void
  /** Sends the next 20 ms; without `common` only those hear something who have something of their own. */
  tick(common: Int16Array | undefined): void
  /** What comes has another rate from now on. */
  retune(rate: MixRate): void
  readonly size: number
  free(): void
}

/**
 * Who hears with the others again keeps its own encoder for so long: fed with the same sound, the two come to the same
 * state, and changing over is then not heard.
 */
const CONVERGE_TICKS = 12
const NOTHING = new Int16Array(0)
/** Makes the sending side of one mix. */
export function createOutgoing(codecs: Codecs, first: MixRate): Outgoing {
  let rate = first
  const groups = new Map<string, Group>()
  const groupOf = new Map<Outlet, Group>()
  return {
    add(outlet) {
      const ptime = packetTime(outlet.codec)
      const key = `${outlet.codec.codec} ${ptime} ${outlet.codec.clockRate}`
      let group = groups.get(key)
      if (!group) {
        group = new Group(key, () => codecs.encoder(outlet.codec.codec, rate), rate, ptime)
        groups.set(key, group)
      }
      group.add(outlet)
      groupOf.set(outlet, group)
    },
    remove(outlet) {
      const group = groupOf.get(outlet)
      groupOf.delete(outlet)
      group?.remove(outlet)
      if (group?.size === 0) {
        group.free()
        groups.delete(group.key)
      }
    },
    tick(common) {
      for (const group of groups.values()) group.tick(common)
    },
    retune(next) {
      rate = next
      for (const group of groups.values()) group.retune(rate)
    },
    get size() {
      return groupOf.size
    },
    free() {
      for (const group of groups.values()) group.free()
      groups.clear()
      groupOf.clear()
    },
  }
}

/** The packet time that we keep to: what was wished, in steps of 10 ms up to 60, as far as the codec has frames of that length. */
function packetTime(codec: PayloadType): number {
  const ptime = Math.min(60, Math.max(10, Math.round((codec.ptime ?? 20) / 10) * 10))
  return codec.codec === 'opus' && (ptime === 30 || ptime === 50) ? ptime - 10 : ptime
}

interface Listener {
  outlet: Outlet
  /** Its own samples since the last packet, while it has an encoder of its own. */
  window: Int16Array
  encoder: Encoder | undefined
  /** Ticks for which it has heard with the others again. */
  together: number
  /** Whether it was sent the last packet. */
  going: boolean
  /** Whether the last packet was everybody's. */
  shared: boolean
  /** Nothing is to be heard: nothing is sent. */
  mute: boolean
}

class Group {
  readonly key: string
  readonly #make: () => Encoder
  #rate: MixRate
  #packet: number
  readonly #ptime: number
  readonly #listeners: Listener[] = []
  #window: Int16Array
  /** What the last packet held, to bring an encoder that takes over to where the ear is. */
  #previous: Int16Array
  #fill = 0
  #encoder: Encoder | undefined
  /** Whether the shared encoder has made the last packet. */
  #running = false

  constructor(key: string, make: () => Encoder, rate: MixRate, ptime: number) {
    this.key = key
    this.#make = make
    this.#ptime = ptime
    this.#rate = rate
    this.#packet = (rate * ptime) / 1000
    this.#window = new Int16Array(this.#packet + rate / 50)
    this.#previous = new Int16Array(this.#packet)
  }

  get size(): number {
    return this.#listeners.length
  }

  add(outlet: Outlet): void {
    const flags = { going: false, shared: false, mute: false }
    this.#listeners.push({ outlet, window: NOTHING, encoder: undefined, together: 0, ...flags })
  }

  remove(outlet: Outlet): void {
    const at = this.#listeners.findIndex(one => one.outlet === outlet)
    if (at >= 0) this.#listeners.splice(at, 1)[0]!.encoder?.free()
  }

  tick(common: Int16Array | undefined): void {
    const length = this.#append(common)
    this.#fill = length === 0 ? 0 : this.#fill + length
    let from = 0
    for (; this.#fill - from >= this.#packet; from += this.#packet) this.#emit(from)
    if (from > 0) this.#shift(from)
  }

  retune(rate: MixRate): void {
    const to = (samples: number) => Math.round((samples * rate) / this.#rate)
    this.#packet = to(this.#packet)
    this.#fill = to(this.#fill)
    this.#window = stretch(this.#window, to(this.#window.length))
    this.#previous = stretch(this.#previous, this.#packet)
    for (const one of this.#listeners) {
      one.window = stretch(one.window, to(one.window.length))
      one.encoder = this.#retuned(one.encoder, rate)
    }
    this.#encoder = this.#retuned(this.#encoder, rate)
    this.#rate = rate
  }

  #retuned(encoder: Encoder | undefined, rate: MixRate): Encoder | undefined {
    if (!encoder || encoder.retune) {
      encoder?.retune?.(rate, this.#previous)
      return encoder
    }
    encoder.free()
    const other = this.#make()
    other.takeOver(undefined, this.#previous)
    return other
  }

  #append(common: Int16Array | undefined): number {
    const fill = this.#fill
    let length = common?.length ?? 0
    for (const one of this.#listeners) {
      const { own } = one.outlet
      one.mute = !own && !common
      if (one.mute) this.#rejoin(one)
      if (own) {
        length = own.length
        if (!one.encoder) this.#part(one)
        one.together = 0
      } else if (one.encoder) one.together++
      const heard = own ?? common
      if (one.encoder && heard) one.window.set(heard, fill)
    }
    if (common) this.#window.set(common, fill)
    else this.#window.fill(0, fill)
    return length
  }

  /** Gives a listener an encoder of its own, which goes on where the shared one is. */
  #part(one: Listener): void {
    one.encoder = this.#make()
    if (one.window.length === 0) one.window = new Int16Array(this.#window.length)
    one.encoder.takeOver(one.shared ? this.#encoder : undefined, this.#previous)
    one.window.set(this.#window.subarray(0, this.#fill))
  }

  #shift(from: number): void {
    const left = this.#fill - from
    this.#window.copyWithin(0, from, this.#fill)
    for (const one of this.#listeners) if (one.encoder) one.window.copyWithin(0, from, this.#fill)
    this.#fill = left
  }

  #emit(from: number): void {
    const pcm = this.#window.subarray(from, from + this.#packet)
    const shared = this.#encodeShared(pcm)
    for (const one of this.#listeners) {
      if (one.mute) {
        one.going = false
        one.shared = false
        continue
      }
      if (one.encoder && one.together > CONVERGE_TICKS) this.#rejoin(one)
      const payload = one.encoder ? one.encoder.encode(one.window.subarray(from, from + this.#packet)) : shared
      if (!payload) continue
      one.outlet.send(payload, (one.outlet.codec.clockRate * this.#ptime) / 1000, !one.going)
      one.going = true
      one.shared = !one.encoder
    }
    this.#previous.set(pcm)
  }

  /** The packet for all who hear the same; it is made too while somebody is coming back. */
  #encodeShared(pcm: Int16Array): Uint8Array | undefined {
    const wanted = this.#listeners.some(one => !one.mute && (!one.encoder || one.together > 0))
    if (!wanted) {
      this.#running = false
      return undefined
    }
    this.#encoder ??= this.#make()
    const returning = this.#listeners.some(one => one.encoder && one.together > CONVERGE_TICKS)
    if (!this.#running) this.#encoder.takeOver(undefined, this.#previous)
    else if (returning) this.#encoder.restart()
    this.#running = true
    return this.#encoder.encode(pcm)
  }

  #rejoin(one: Listener): void {
    one.encoder?.free()
    one.encoder = undefined
    one.together = 0
  }

  free(): void {
    this.#encoder?.free()
    for (const one of this.#listeners) one.encoder?.free()
    this.#listeners.length = 0
  }
}
