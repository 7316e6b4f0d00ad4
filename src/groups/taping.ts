import type { Tape } from './recorder.ts'

/** The recording of one meeting: none, one that begins, or one that goes on. */
export class Taping {
  #tape: Promise<Tape> | undefined

  get on(): boolean {
    return this.#tape !== undefined
  }

  /** Begins; resolves with an error when that has failed, and then none is on. */
  async start(begin: () => Promise<Tape>): Promise<unknown> {
    const tape = begin()
    this.#tape = tape
    try {
      await tape
      return undefined
    } catch (error) {
      if (this.#tape === tape) this.#tape = undefined
      return error
    }
  }

  /** Ends it, and keeps what was recorded. */
  async stop(): Promise<void> {
    const [tape] = await Promise.allSettled([this.#take()])
    // One that never began has told so.
    if (tape.status === 'fulfilled') await tape.value?.stop()
  }

  #take(): Promise<Tape> | undefined {
    const tape = this.#tape
    this.#tape = undefined
    return tape
  }
}
