import type { End, EventPacket, MediaPacket, Route } from './end.ts'
import type { Hub } from './hub.ts'
import { passSound } from './link.ts'

// The echo test: an end hears itself, at once or after a while.

export interface Echo extends Route {
  close(): void
}

// The shortest packet time of any phone, for the bound on what is held back.
const shortestMs = 10
const mostDelayMs = 10_000

export function createEcho(hub: Hub, end: End, delayMs: number): Echo {
  return new EchoRoute(hub, end, Math.min(mostDelayMs, Math.max(0, delayMs)))
}

class EchoRoute implements Echo {
  readonly #hub: Hub
  readonly #end: End
  readonly #delayMs: number
  readonly #waiting: { at: number; packet: MediaPacket }[] = []
  readonly #calm: () => void
  #timer: NodeJS.Timeout | undefined

  constructor(hub: Hub, end: End, delayMs: number) {
    this.#hub = hub
    this.#calm = hub.hurry()
    this.#end = end
    this.#delayMs = delayMs
    end.route = this
  }

  receive(from: End, packet: MediaPacket): void {
    if (from.muted) return
    const now = this.#hub.now()
    if (this.#delayMs === 0) {
      // What comes in a codec that the phone itself does not want to hear is not sent back.
      passSound(from, from, packet, now)
      return
    }
    if (this.#waiting.length >= mostDelayMs / shortestMs) return
    const bytes = Buffer.from(packet.bytes.subarray(packet.start, packet.end))
    this.#waiting.push({ at: now + this.#delayMs, packet: { ...packet, bytes, start: 0, end: bytes.length } })
    this.#wake()
  }

  event(_from: End, _packet: EventPacket): void {}
  changed(_end: End): void {}
  muted(_end: End): void {}

  leave(end: End): void {
    if (end.route === this) end.route = undefined
    this.close()
  }

  close(): void {
    if (this.#end.route === this) this.#end.route = undefined
    clearTimeout(this.#timer)
    this.#calm()
    this.#waiting.length = 0
  }

  #wake(): void {
    const first = this.#waiting[0]
    if (this.#timer || !first) return
    this.#timer = setTimeout(() => this.#release(), Math.max(0, first.at - this.#hub.now()))
  }

  #release(): void {
    this.#timer = undefined
    const now = this.#hub.now()
    while (this.#waiting[0] && this.#waiting[0].at <= now) {
      passSound(this.#end, this.#end, this.#waiting.shift()!.packet, now)
    }
    this.#wake()
  }
}
