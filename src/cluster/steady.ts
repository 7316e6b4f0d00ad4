import { uptime } from 'node:os'

// Leases are held by this clock. It is deaf to changes of the wall clock, and unlike the monotonic clock of Linux it also
// counts the time for which the machine was asleep, in which others may have taken over.

// The wall clock and the monotonic one drift apart by a little all the time; more is a jump or a sleep.
const apartMs = 100

export interface Clocks {
  /** Milliseconds each: stands still while the machine sleeps; jumps at people's will; neither of both, but is dear. */
  monotonic(): number
  wall(): number
  uptime(): number
}

const ofTheMachine: Clocks = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  uptime: () => uptime() * 1000,
}

/** A clock in milliseconds that only grows, and by as much as real time does. */
export function createSteadyClock(clocks: Clocks = ofTheMachine): () => number {
  const first = clocks.uptime() - clocks.monotonic()
  let apart = clocks.wall() - clocks.monotonic()
  let asleep = 0
  return () => {
    const now = clocks.monotonic()
    const difference = clocks.wall() - now
    if (Math.abs(difference - apart) > apartMs) {
      apart = difference
      asleep = Math.max(asleep, clocks.uptime() - now - first)
    }
    return now + asleep
  }
}
