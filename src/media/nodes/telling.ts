import { Refusal } from '../../errors.ts'
import type { Tellings, Told } from './wire.ts'

// Who takes in nothing for so long that this many wait is not there any more.
const mostWaiting = 5000
const mostAtOnce = 200
const againMs = 200

/** Tells another node what happens, each once and in order: a telling that is not answered is repeated. */
export function createTelling(deps: { session: string; tell(tellings: Tellings): Promise<unknown>; onDeaf(): void }): {
  add(told: Told): void
  close(): void
} {
  const waiting: Told[] = []
  let first = 0
  let telling = false
  let closed = false
  let again: NodeJS.Timeout | undefined

  async function flush(): Promise<void> {
    if (telling || closed || waiting.length === 0) return
    telling = true
    const all = waiting.slice(0, mostAtOnce)
    try {
      await deps.tell({ session: deps.session, from: first, all })
      waiting.splice(0, all.length)
      first += all.length
    } catch (error) {
      if (error instanceof Refusal && error.code === 'no-such-call') deps.onDeaf()
      else if (!closed) again = setTimeout(() => void flush(), againMs).unref()
      return
    } finally {
      telling = false
    }
    void flush()
  }

  return {
    add(told) {
      if (closed) return
      waiting.push(told)
      if (waiting.length > mostWaiting) deps.onDeaf()
      // What happens in the same moment is told together.
      else queueMicrotask(() => void flush())
    },
    close() {
      closed = true
      clearTimeout(again)
      waiting.length = 0
    },
  }
}
