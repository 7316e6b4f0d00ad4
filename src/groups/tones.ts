import { setTimeout as wait } from 'node:timers/promises'
import type { LocalDialog } from '../calls/local.ts'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { LegEvent, Media, Playing, Prompt } from '../media/media.ts'

// All tones are shorter than this.
const longestMs = 5000
// Who has come and sends nothing so long hears its tone all the same.
const silentMs = 2000

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

  /** Resolves when it has been heard; a tone that does not end is not waited for. */
  async playOut(to: { leg: string } | { room: string }, prompt: Prompt): Promise<void> {
    const playing = await this.play(to, prompt)
    await Promise.race([playing?.done, wait(longestMs, undefined, { ref: false })])
  }

  /** Tells who has come to a meeting that it is recorded, as soon as its media flows. */
  async warn(dialog: LocalDialog): Promise<void> {
    await flowing(dialog)
    if (!dialog.ended) await this.play({ leg: dialog.leg }, 'recording')
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

/** Resolves when media has come in the dialog, or after a while: it may have been flowing already. */
function flowing(dialog: LocalDialog): Promise<void> {
  return new Promise(resolve => {
    const onMedia = ({ type }: LegEvent) => type === 'media' && done()
    const done = () => {
      clearTimeout(timer)
      dialog.off('media', onMedia)
      resolve()
    }
    const timer = setTimeout(done, silentMs).unref()
    dialog.on('media', onMedia)
  })
}
