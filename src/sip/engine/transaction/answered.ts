import type { Flow } from '../transport/transport.ts'
import { after } from './machine.ts'

// Finished non-INVITE server transactions over UDP, which live on for Timer J only to repeat their answer (RFC 3261
// section 17.2.2). They are the bulk of all transactions, so nothing is kept but the answer's bytes, all of them share
// one timer, and together they are bounded.

interface Answered {
  bytes: Buffer
  flow: Flow
  merge: string | undefined
  until: number
}

export interface AnsweredTransactions {
  readonly size: number
  add(key: string, bytes: Buffer, flow: Flow, merge: string | undefined): void
  /** Repeats the answer for a retransmitted request; false when the key is unknown. */
  repeat(key: string): boolean
  close(): void
}

/** `lifetime` in milliseconds; `forget` hears the merge key of each that goes. Above `mostBytes` the oldest go first. */
export function createAnswered(
  lifetime: number,
  mostBytes: number,
  forget: (merge: string, key: string) => void,
  now: () => number,
): AnsweredTransactions {
  const table = new Map<string, Answered>()
  let held = 0
  let timer: NodeJS.Timeout | undefined

  function drop(key: string, entry: Answered): void {
    table.delete(key)
    held -= entry.bytes.length
    if (entry.merge !== undefined) forget(entry.merge, key)
  }

  // The table is in order of age, as all live equally long. Once a while is enough: Timer J may be late.
  function sweep(): void {
    const time = now()
    for (const [key, entry] of table) {
      if (entry.until > time) break
      drop(key, entry)
    }
    timer = undefined
    schedule()
  }

  function schedule(): void {
    if (table.size > 0) timer ??= after(lifetime / 8, sweep)
  }

  return {
    get size() {
      return table.size
    },
    add(key, bytes, flow, merge) {
      table.set(key, { bytes, flow, merge, until: now() + lifetime })
      held += bytes.length
      for (const [oldest, entry] of table) {
        if (held <= mostBytes) break
        drop(oldest, entry)
      }
      schedule()
    },
    repeat(key) {
      const entry = table.get(key)
      entry?.flow.send(entry.bytes)
      return entry !== undefined
    },
    close() {
      clearTimeout(timer)
      table.clear()
      held = 0
    },
  }
}
