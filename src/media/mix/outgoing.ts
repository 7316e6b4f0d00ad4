import type { PayloadType } from '../audio/audio.ts'
import type { Codecs, Encoder, MixRate } from '../codec/codec.ts'

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
  readonly size: number
  free(): void
}

/** Packets for which an encoder that nobody needs is kept: a pause between two sentences does not cost a new one. */
const KEEP_PACKETS = 250

/** Makes the sending side of one mix. */
export function createOutgoing(codecs: Codecs, rate: MixRate): Outgoing {
  const groups = new Map<string, Group>()
  const groupOf = new Map<Outlet, Group>()
  return {
    add(outlet) {
      const ptime = packetTime(outlet.codec)
      const key = `${outlet.codec.codec} ${ptime} ${outlet.codec.clockRate}`
      let group = groups.get(key)
      if (!group) groups.set(key, (group = new Group(key, () => codecs.encoder(outlet.codec.codec, rate), rate, ptime)))
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
  /** Its own samples since the last packet, while `apart`. */
  window: Int16Array
  apart: boolean
  encoder: Encoder | undefined
  /** Whether the last packet came from its own encoder; undefined before the first. */
  wasApart: boolean | undefined
  unused: number
  /** Nothing is to be heard: nothing is sent. */
  mute: boolean
}

class Group {
  readonly key: string
  readonly #make: () => Encoder
  readonly #packet: number
  readonly #ptime: number
  readonly #listeners: Listener[] = []
  readonly #window: Int16Array
  /** What the last packet held, to bring an encoder that takes over to where the ear is. */
  readonly #previous: Int16Array
  #fill = 0
  #encoder: Encoder | undefined
  /** Whether the shared encoder has made the last packet. */
  #running = false

  constructor(key: string, make: () => Encoder, rate: number, ptime: number) {
    this.key = key
    this.#make = make
    this.#ptime = ptime
    this.#packet = (rate * ptime) / 1000
    this.#window = new Int16Array(this.#packet + rate / 50)
    this.#previous = new Int16Array(this.#packet)
  }

  get size(): number {
    return this.#listeners.length
  }

  add(outlet: Outlet): void {
    const window = new Int16Array(this.#window.length)
    this.#listeners.push({
      ...{ outlet, window, apart: false, encoder: undefined, wasApart: undefined, unused: 0, mute: false },
    })
  }

  remove(outlet: Outlet): void {
    const at = this.#listeners.findIndex(one => one.outlet === outlet)
    if (at >= 0) this.#listeners.splice(at, 1)[0]!.encoder?.free()
  }

  tick(common: Int16Array | undefined): void {
    const length = this.#append(common)
    this.#fill += length
    let from = 0
    for (; this.#fill - from >= this.#packet; from += this.#packet) this.#emit(from)
    if (from > 0) this.#shift(from)
  }

  #append(common: Int16Array | undefined): number {
    const fill = this.#fill
    let length = common?.length ?? 0
    for (const one of this.#listeners) {
      const { own } = one.outlet
      one.mute = !own && !common
      if (own) {
        length = own.length
        if (!one.apart) one.window.set(this.#window.subarray(0, fill))
        one.apart = true
        one.window.set(own, fill)
      } else if (one.apart) {
        if (common) one.window.set(common, fill)
        else one.window.fill(0, fill)
      }
    }
    if (common) this.#window.set(common, fill)
    else this.#window.fill(0, fill)
    return length
  }

  /** Moves what is left of the window to its front; who had nothing of its own in it hears with the others again. */
  #shift(from: number): void {
    const left = this.#fill - from
    this.#window.copyWithin(0, from, this.#fill)
    for (const one of this.#listeners) {
      if (!one.apart) continue
      one.window.copyWithin(0, from, this.#fill)
      one.apart = left > 0 && one.outlet.own !== undefined
    }
    this.#fill = left
  }

  #emit(from: number): void {
    const pcm = this.#window.subarray(from, from + this.#packet)
    const shared = this.#listeners.some(one => !one.apart && !one.mute) ? this.#encodeShared(pcm) : undefined
    this.#running = shared !== undefined
    for (const one of this.#listeners) {
      if (one.mute) {
        one.wasApart = undefined
        continue
      }
      const payload = one.apart ? this.#encodeOwn(one, from) : this.#release(one, shared)
      if (!payload) continue
      const { clockRate } = one.outlet.codec
      one.outlet.send(payload, (clockRate * this.#ptime) / 1000, one.wasApart === undefined)
      one.wasApart = one.apart
    }
    this.#previous.set(pcm)
  }

  #encodeShared(pcm: Int16Array): Uint8Array | undefined {
    this.#encoder ??= this.#make()
    if (!this.#running) this.#encoder.encode(this.#previous)
    if (!this.#running || this.#listeners.some(one => one.wasApart && !one.apart)) this.#encoder.restart()
    return this.#encoder.encode(pcm)
  }

  #encodeOwn(one: Listener, from: number): Uint8Array | undefined {
    one.encoder ??= this.#make()
    one.unused = 0
    if (!one.wasApart) {
      one.encoder.encode(this.#previous)
      one.encoder.restart()
    }
    return one.encoder.encode(one.window.subarray(from, from + this.#packet))
  }

  #release(one: Listener, shared: Uint8Array | undefined): Uint8Array | undefined {
    if (one.encoder && ++one.unused > KEEP_PACKETS) {
      one.encoder.free()
      one.encoder = undefined
    }
    return shared
  }

  free(): void {
    this.#encoder?.free()
    for (const one of this.#listeners) one.encoder?.free()
    this.#listeners.length = 0
  }
}
