import type { Logger } from '../../log.ts'
import type { Playing, Prompt } from '../media.ts'
import type { Host } from './hosts.ts'
import type { PlayTo } from './wire.ts'

/** What is played until it is stopped, also where its leg or room has gone to. */
export interface Loop {
  readonly handle: Playing
  /** Plays it there from now on. */
  go(host: Host, to: PlayTo): void
  /** Where it was played is lost: it waits. */
  pause(): void
  end(): void
}

export function createLoop(prompt: Prompt, log: Logger, onEnd: (loop: Loop) => void): Loop {
  const done = Promise.withResolvers<void>()
  let playing: Playing | undefined
  let ended = false
  let turn = 0

  const loop: Loop = {
    handle: { done: done.promise, stop: () => loop.end() },
    go(host, to) {
      loop.pause()
      const mine = turn
      host.media.play(to, prompt, { loop: true }).then(
        begun => {
          if (ended || mine !== turn) return begun.stop()
          playing = begun
          // It ends with what it is played to, unless that has only moved.
          void begun.done.then(() => {
            if (mine === turn && !host.gone) loop.end()
          })
        },
        (error: unknown) => log.debug({ err: error }, 'a prompt does not go on'),
      )
    },
    pause() {
      turn += 1
      playing?.stop()
      playing = undefined
    },
    end() {
      if (ended) return
      ended = true
      loop.pause()
      done.resolve()
      onEnd(loop)
    },
  }
  return loop
}
