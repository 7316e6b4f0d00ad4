import type { TimerConfig } from '../../../config/schema.ts'

/** All timer values of RFC 3261 table 4 (with RFC 6026's L and M), in milliseconds, derived from T1, T2 and T4. */
export interface Timers {
  t1: number
  t2: number
  t4: number
  /** Timers B, F, H, L and M: 64 * T1. */
  timeout: number
  /** Timer C, for proxied INVITEs (section 16.6). */
  c: number
  /** Timer D: how long a client transaction absorbs repeated finals over UDP. */
  d: number
}

export function deriveTimers(config: TimerConfig): Timers {
  const { t1, t2, t4, timerC } = config
  return { t1, t2, t4, timeout: 64 * t1, c: timerC, d: Math.max(64 * t1, 32000 * (t1 / 500)) }
}
