import type { Asking, Hello, HelloAnswer } from './wire.ts'
import { toJson, verbs } from './wire.ts'

export interface HealthDeps {
  node: string
  bus: Pick<Asking, 'ask'>
  /** Of the session that is to be kept; a new one after each loss. */
  session(): string
  /** Something of ours is there, or is being asked for: it is asked often. */
  inUse(): boolean
  onAnswer(answer: HelloAnswer): void
  /** It is not there, or has forgotten us: all that we had there is gone. */
  onLost(why: string): void
}

export interface Health {
  /** It is used from now on: asks at once, unless it is asked often already. */
  look(): void
  close(): void
}

const busyMs = 250
const idleMs = 2000
const refusedMs = 100
const againMs = 500
const timeoutMs = 700
// One that refuses connections has ended; one that is silent may only be slow, so it is given the time of two questions.
const failuresMost = 2

/** Asks a media node how it is, so that its death is known within a second and a half, whatever others have noticed. */
export function createHealth(deps: HealthDeps): Health {
  let timer: NodeJS.Timeout | undefined
  let asking = false
  let failures = 0
  let greeted = ''
  let often = false
  let closed = false

  function plan(ms: number): void {
    clearTimeout(timer)
    if (closed) return
    timer = setTimeout(() => void ask(), ms)
    timer.unref()
  }

  async function ask(): Promise<void> {
    if (asking || closed) return
    asking = true
    clearTimeout(timer)
    const session = deps.session()
    const wait = await greet(session)
    asking = false
    plan(wait)
  }

  /** How long to wait before it is asked anew. */
  async function greet(session: string): Promise<number> {
    const sentAt = performance.now()
    try {
      const question: Hello = { session }
      const answer = (await deps.bus.ask(deps.node, verbs.hello, toJson(question), timeoutMs)) as unknown as HelloAnswer
      if (closed || session !== deps.session()) return 0
      failures = 0
      const forgotten = greeted === session && !answer.known
      greeted = session
      deps.onAnswer(answer)
      if (forgotten) {
        lose('it has begun anew')
        return 0
      }
      often = deps.inUse()
      return often ? busyMs : idleMs
    } catch (error) {
      if (closed) return 0
      failures += 1
      if (failures < failuresMost) return performance.now() - sentAt < timeoutMs / 2 ? refusedMs : 0
      lose((error as Error).message)
      return againMs
    }
  }

  function lose(why: string): void {
    often = false
    failures = 0
    deps.onLost(why)
  }

  void ask()
  return {
    look: () => {
      if (!asking && !often) void ask()
    },
    close() {
      closed = true
      clearTimeout(timer)
    },
  }
}
