import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Media, Playing, Prompt } from '../media/media.ts'

/** The tones of one meeting. That one cannot be played never disturbs the meeting. */
export class Tones {
  readonly #media: Pick<Media, 'play'>
  readonly #log: Logger
  #waiting: { leg: string; playing: Promise<Playing | undefined> } | undefined

  constructor(media: Pick<Media, 'play'>, log: Logger) {
    this.#media = media
    this.#log = log
  }

  /** To one leg, or to a room when there is one. */
  async play(to: { leg: string } | { room: string }, prompt: Prompt, loop = false): Promise<Playing | undefined> {
    try {
      return await this.#media.play(to, prompt, { loop })
    } catch (error) {
      // The party may have hung up in this very moment.
      if (!(error instanceof Refusal)) this.#log.error({ err: error }, 'a tone failed')
      return undefined
    }
  }

  /** Whether somebody waits for others to come: hears that they are rung until then. True when a wait has just ended. */
  wait(leg: string | undefined): boolean {
    const before = this.#waiting
    if (before?.leg === leg) return false
    this.#waiting = leg === undefined ? undefined : { leg, playing: this.play({ leg }, 'ringback', true) }
    void before?.playing.then(playing => playing?.stop())
    return before !== undefined && leg === undefined
  }
}
