import type { AudioEngine, ToneWish } from '../audio/audio.ts'
import type { Playing, Prompt } from '../media.ts'

/** Prompts that are being played, so that each ends for its owner however it ends: by itself, by `stop`, with its leg. */
export interface Player {
  play(to: readonly ({ end: string } | { mix: string })[], prompt: Prompt, loop: boolean): Promise<Playing>
  /** From the audio thread. */
  played(playing: string): void
  /** An end or mix is gone, and what was played to it. */
  gone(id: string): void
  /** The audio thread has died. */
  reset(): void
}

export function createPlayer(audio: AudioEngine): Player {
  const open = new Map<string, { to: string; done: () => void }>()

  const finish = (id: string) => {
    const one = open.get(id)
    open.delete(id)
    one?.done()
  }

  return {
    async play(to, prompt, loop) {
      const tone: ToneWish =
        typeof prompt === 'object' ? { prompt: 'count', loop, count: prompt.count } : { prompt, loop }
      const started = await Promise.all(
        to.map(async target => {
          const id = await audio.play(target, tone)
          const { promise, resolve } = Promise.withResolvers<void>()
          open.set(id, { to: 'end' in target ? target.end : target.mix, done: resolve })
          return { id, promise }
        }),
      )
      return {
        done: Promise.all(started.map(one => one.promise)).then(() => undefined),
        stop() {
          for (const { id } of started) {
            if (!open.has(id)) continue
            finish(id)
            // A thread that has died meanwhile has stopped it too.
            audio.stop(id).catch(() => undefined)
          }
        },
      }
    },
    played: finish,
    gone(target) {
      for (const [id, { to }] of open) if (to === target) finish(id)
    },
    reset() {
      for (const id of [...open.keys()]) finish(id)
    },
  }
}
