// The beat of all mixers of the thread: every 20 ms, by a timer that corrects itself, and only while there is a mixer.

const tickMs = 20
// A thread that was held up longer than this goes on from now instead of making up for it.
const mostLateMs = 200

export interface Ticker {
  /** Calls `tick` every 20 ms until the returned function is called. */
  add(tick: () => void): () => void
}

export function createTicker(now: () => number): Ticker {
  const ticks = new Set<() => void>()
  let timer: NodeJS.Timeout | undefined
  let due = 0
  const run = () => {
    timer = undefined
    const time = now()
    if (time - due > mostLateMs) due = time
    for (; due <= time; due += tickMs) for (const tick of ticks) tick()
    if (ticks.size > 0) timer = setTimeout(run, Math.max(0, due - now()))
  }
  return {
    add(tick) {
      // A wrapper, so that the same function may be added twice.
      const own = () => tick()
      ticks.add(own)
      if (!timer && ticks.size === 1) {
        due = now() + tickMs
        timer = setTimeout(run, tickMs)
      }
      return () => {
        ticks.delete(own)
        if (ticks.size > 0) return
        clearTimeout(timer)
        timer = undefined
      }
    },
  }
}
