/** The waits of mDNS, in milliseconds; pairs are the shortest and the longest of a random wait. */
export interface Timing {
  /** Before the first probe and between probes (RFC 6762 section 8.1). */
  probeStart: readonly [number, number]
  probe: number
  /** After a lost tie-break (section 8.2). */
  deferred: number
  /** Before each probe after fifteen conflicts within `conflictWindow` (section 8.1). */
  conflictPause: number
  conflictWindow: number
  /** Between the two announcements, and the least time between two multicasts of one record (sections 8.3 and 6). */
  announce: number
  /** The same, in answer to a probe (section 6). */
  defend: number
  /** Before an answer that other hosts may give too (section 6). */
  shared: readonly [number, number]
  /** Before the answer to a question whose known answers go on in another packet (section 7.2). */
  truncated: readonly [number, number]
  /** Before a link that failed is opened again. */
  retry: number
}

/** What RFC 6762 says. */
export const standardTiming: Timing = {
  probeStart: [0, 250],
  probe: 250,
  deferred: 1000,
  conflictPause: 5000,
  conflictWindow: 10_000,
  announce: 1000,
  defend: 250,
  shared: [20, 120],
  truncated: [400, 500],
  retry: 5000,
}

/** A random whole number of the range, both ends included. */
export function within([least, most]: readonly [number, number], random: () => number): number {
  return Math.round(least + random() * (most - least))
}
