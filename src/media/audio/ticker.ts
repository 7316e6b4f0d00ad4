// The beat of all mixers of the thread: every 20 ms, by a timer that corrects itself, and only while there is a mixer.
// Waking a thread up costs more than mixing a few phones, so the beat goes right after packets that come near its time,
// in the wake-up that they have caused; and it moves, far too slowly to be heard, to where such packets come. Where the
// thread may sleep through to the beat, there is no other wake-up at all: what has come meanwhile is read just before it.

const tickMs = 20
// A thread that was held up longer than this goes on from now instead of making up for it.
const mostLateMs = 200
/** How early a beat may go because packets are there, and where in this time they shall come. */
const earlyMs = 4
const aimMs = 2
/** By how much the beat moves at once: one percent of its length. */
const moveMs = 0.2
/** So many beats in a row with packets at hand: the beat may follow their sender's clock for as long as it likes. */
const settled = 20

/** In so many beats of a thread that sleeps it looks once how long packets have waited. */
const lookEvery = 25
/** By how much it moves then, towards those packets. */
const lookMs = 1
/**
 * A turn of the loop of events costs as much as mixing some phones: so many beats go between two. What it does is files and
 * timers, which may wait; who asks the thread for something interrupts it, and for a second it has a turn at each beat.
 */
const beatsInTurn = 5
const briskBeats = 50

/** How a thread sleeps that owes nothing to anybody between two beats. */
export interface Rest {
  /** False while something else must be on time as well. */
  may(): boolean
  /** Returns after `ms`, with false when it was woken up before: the loop of events has something to do then. */
  sleep(ms: number): boolean
  /** Takes the packets that have come meanwhile, and says how many. */
  read(): number
}

export interface Ticker {
  /** Calls `tick` every 20 ms until the returned function is called. */
  add(tick: () => void): () => void
  /** Packets have come: a beat that is due soon may go after them. */
  nudge(): void
}

export function createTicker(now: () => number, rest?: Rest): Ticker {
  const ticks = new Set<() => void>()
  let timer: NodeJS.Timeout | undefined
  let soon: NodeJS.Immediate | undefined
  let due = 0
  // Once round and no further while it finds nothing: a beat that went on moving would be too slow.
  let moved = 0
  let inRow = 0
  let looks = 0
  let brisk = 0
  const move = (ms: number) => {
    if (moved >= tickMs) return
    due += ms
    moved += Math.abs(ms)
  }
  // All ways of a beat end here: one that is much too late is not made up for.
  const beat = (time: number) => {
    if (time - due > mostLateMs) due = time
    for (; due <= time; due += tickMs) for (const tick of ticks) tick()
  }
  const wait = () => {
    clearTimeout(timer)
    clearImmediate(soon)
    timer = undefined
    soon = undefined
    if (ticks.size === 0) return
    // The loop of events has a turn before the thread sleeps.
    if (rest?.may()) soon = setImmediate(sleep, rest)
    else timer = setTimeout(late, Math.max(0, due - now()))
  }
  /** Sleeps until so many ms before the beat; false when woken up. */
  const doze = (rest: Rest, before: number): boolean => {
    const left = due - now() - before
    const slept = left <= 0 || rest.sleep(left)
    if (!slept) brisk = briskBeats
    return slept
  }
  const sleep = (rest: Rest) => {
    for (let beats = brisk > 0 ? 1 : beatsInTurn; beats > 0 && ticks.size > 0; beats--) {
      const looking = looks === 0 ? earlyMs : 0
      // Something may have come up in the last turn, or just now.
      if (!rest.may() || !doze(rest, looking)) break
      looks = (looks + 1) % lookEvery
      if (brisk > 0) brisk--
      const waited = rest.read()
      const slept = looking === 0 || doze(rest, 0)
      // Most were there long before: the beat goes nearer to them.
      if (looking > 0 && waited > rest.read()) move(-lookMs)
      else if (looking > 0) moved = 0
      beat(Math.max(now(), due))
      if (!slept) break
    }
    wait()
  }
  const late = () => {
    inRow = 0
    move(moveMs)
    beat(Math.max(now(), due))
    wait()
  }
  const early = () => {
    if (++inRow >= settled) moved = 0
    move(due - now() > aimMs ? -moveMs : moveMs)
    beat(Math.max(now(), due))
    wait()
  }
  return {
    add(tick) {
      // A wrapper, so that the same function may be added twice.
      const own = () => tick()
      ticks.add(own)
      if (!timer && !soon && ticks.size === 1) {
        due = now() + tickMs
        moved = 0
        wait()
      }
      return () => {
        ticks.delete(own)
        if (ticks.size > 0) return
        clearTimeout(timer)
        clearImmediate(soon)
        timer = undefined
        soon = undefined
      }
    },
    nudge() {
      if (timer && !soon && due - now() < earlyMs) soon = setImmediate(early)
    },
  }
}
