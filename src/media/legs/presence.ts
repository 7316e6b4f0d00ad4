import type { LegEvent } from '../media.ts'

// Who does not come back in this time has gone: a reload or a change of network takes less.
const keepMs = 30_000
const tellEveryMs = 5_000

/** Whether a browser is there, by its consent to send (RFC 7675): tells `silent` while it is away, and `lost` once. */
export interface Presence {
  /** Its description has come: it should connect now. */
  began(): void
  here(): void
  away(): void
  lost(why: string): void
  close(): void
}

export function createPresence(tell: (event: LegEvent) => void, now: () => number): Presence {
  let timer: NodeJS.Timeout | undefined
  let since = 0
  let wasHere = false
  let over = false

  const stop = () => {
    clearInterval(timer)
    timer = undefined
  }
  const lost = (why: string) => {
    stop()
    if (over) return
    over = true
    tell({ type: 'lost', why })
  }
  const watch = () => {
    if (timer !== undefined || over) return
    since = now()
    timer = setInterval(() => {
      const ms = now() - since
      if (ms >= keepMs) lost(wasHere ? 'no media and no consent any more' : 'ICE found no way')
      else tell({ type: 'silent', ms })
    }, tellEveryMs)
    timer.unref()
  }

  return {
    began() {
      if (!wasHere) watch()
    },
    here() {
      wasHere = true
      stop()
    },
    away() {
      if (over) return
      tell({ type: 'silent', ms: 0 })
      watch()
    },
    lost,
    close() {
      over = true
      stop()
    },
  }
}
