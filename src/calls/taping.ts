/** What is to be recorded. */
export interface RecordingWish {
  /** Of the media room. */
  room: string
  /** Id of the meeting or call. */
  meeting: string
  /** URI of the meeting, or of who was called. */
  address: string
  /** AORs of all who were in, up to the moment it ends. */
  people: ReadonlySet<string>
}

/** A recording under way. */
export interface Tape {
  /** Ends it, and keeps what was recorded. */
  stop(): Promise<void>
}

interface Run {
  wanted: boolean
  tape: Tape | undefined
}

/** The recording of one meeting or call: none, one that begins, or one that goes on. */
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
