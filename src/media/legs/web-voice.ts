import type { types } from 'mediasoup'
import type { OurLine } from '../sdp/ours.ts'
import { dialectName } from '../sdp/router.ts'
import type { Voice } from './leg.ts'
import type { Place } from './place.ts'
import { type Hearing, nameOf, type Speaker, spoken, type Trunk } from './trunk.ts'

/**
 * A browser's voice in the audio thread: one end of the trunk, which hears what the browser sends and speaks what it is to
 * hear. All its voice goes this way, whoever it talks to, so that its source stays the same for the life of the leg.
 */
export class WebVoice {
  readonly #place: Place
  readonly #name: string
  readonly #onEnd: (end: string, open: boolean) => void
  #trunk: Trunk | undefined
  #speaker: (Speaker & { dialect: string }) | undefined
  #hearing: (Hearing & { producer: types.Producer }) | undefined
  #end: { end: string; codec: string; speaker: Speaker; hearing: Hearing | undefined } | undefined

  constructor(place: Place, name: string, onEnd: (end: string, open: boolean) => void) {
    this.#place = place
    this.#name = name
    this.#onEnd = onEnd
  }

  voice(): Voice | undefined {
    return this.#end === undefined ? undefined : { end: this.#end.end, codec: this.#end.codec }
  }

  /** What the browser is to be sent on this line; the same as before while the line has the same numbers. */
  async speak(line: OurLine): Promise<types.Producer> {
    const dialect = dialectName(line)
    if (this.#speaker?.dialect === dialect && !this.#speaker.producer.closed) return this.#speaker.producer
    const trunk = await this.#open()
    this.#speaker?.producer.close()
    this.#speaker = { ...(await trunk.speak(line, this.#name)), dialect }
    return this.#speaker.producer
  }

  /** Opens the end for what the browser sends (undefined: nothing) and is sent; the same as before when nothing changed. */
  async open(producer: types.Producer | undefined, line: OurLine): Promise<void> {
    const trunk = await this.#open()
    if (this.#hearing?.producer !== producer) {
      this.#deafen()
      this.#hearing = producer && { ...(await trunk.hear(producer)), producer }
    }
    const speaker = this.#speaker
    if (speaker === undefined) throw new TypeError('a voice that has nothing to speak with')
    if (this.#end?.speaker === speaker && this.#end.hearing === this.#hearing) return
    await this.#closeEnd()
    const end = await trunk.audio.openEnd(trunk.id, { send: speaker.send, receive: this.#hearing?.receive })
    const codec = spoken(line.codecs)[0]
    this.#end = { end, codec: codec === undefined ? '' : nameOf(codec), speaker, hearing: this.#hearing }
    this.#onEnd(end, true)
  }

  /** The audio thread has died and took the end with it. */
  forget(): void {
    if (this.#end !== undefined) this.#onEnd(this.#end.end, false)
    this.#end = undefined
    this.#deafen()
    this.#speaker?.producer.close()
    this.#speaker = undefined
    this.#trunk = undefined
  }

  async close(): Promise<void> {
    await this.#closeEnd()
    this.forget()
  }

  /** The worker itself ends what consumed a producer that is closed, and complains of who asks for it. */
  #deafen(): void {
    if (this.#hearing?.producer.closed === false) this.#hearing.consumer.close()
    this.#hearing = undefined
  }

  async #open(): Promise<Trunk> {
    this.#trunk ??= await this.#place.trunk()
    return this.#trunk
  }

  async #closeEnd(): Promise<void> {
    const end = this.#end
    this.#end = undefined
    if (end === undefined) return
    this.#onEnd(end.end, false)
    await this.#trunk?.audio.closeEnd(end.end)
  }
}
