import type { Tape } from './recorder.ts'

interface Run {
  wanted: boolean
  tape: Tape | undefined
}

/** The recording of one meeting: none, one that begins, or one that goes on. */
export class Taping {
  #run: Run | undefined

  get on(): boolean {
    return this.#run !== undefined
  }

  /** Begins; resolves with an error when that has failed, and then none is on. `begin` may ask whether it is still wanted. */
  async start(begin: (wanted: () => boolean) => Promise<Tape | undefined>): Promise<unknown> {
    const run: Run = { wanted: true, tape: undefined }
    this.#run = run
    try {
      run.tape = await begin(() => run.wanted)
      if (!run.wanted) await run.tape?.stop()
      return undefined
    } catch (error) {
      if (this.#run === run) this.#run = undefined
      return error
    }
  }

  /** Ends it, and keeps what was recorded; one that is only beginning is not waited for. */
  async stop(): Promise<void> {
    const run = this.#run
    this.#run = undefined
    if (run === undefined) return
    run.wanted = false
    await run.tape?.stop()
  }
}
