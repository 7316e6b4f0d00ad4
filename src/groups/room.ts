import type { Media, Membership } from '../media/media.ts'

/** The room of a meeting in the media room: opened for the first one who comes. */
export class MeetingRoom {
  readonly #media: Media
  readonly #meeting: string
  readonly #onSpeaker: (leg: string | undefined) => void
  #opened: Promise<string> | undefined

  constructor(media: Media, meeting: string, onSpeaker: (leg: string | undefined) => void) {
    this.#media = media
    this.#meeting = meeting
    this.#onSpeaker = onSpeaker
  }

  /** Its id, when somebody was in. */
  get opened(): Promise<string> | undefined {
    return this.#opened
  }

  open(): Promise<string> {
    const label = { meeting: this.#meeting }
    this.#opened ??= this.#media.open({ kind: 'meeting', onSpeaker: this.#onSpeaker, label })
    return this.#opened
  }

  /** Puts a leg into it, or changes how it is there. */
  async seat(leg: string, as: Membership): Promise<void> {
    await this.#media.join(leg, await this.open(), as)
  }

  async shut(): Promise<void> {
    if (this.#opened) await this.#media.shut(await this.#opened)
  }
}
