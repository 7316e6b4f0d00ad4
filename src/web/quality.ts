// How a call sounds, in words, from what the browser counts (W3C webrtc-stats).

/** Counters and measures of what comes in, at one moment; times in seconds. */
export interface Sample {
  at: number
  received: number
  lost: number
  jitter: number
  roundTrip: number
}

export type Quality = 'unknown' | 'good' | 'some-loss' | 'delayed' | 'bad' | 'silent'

/** What happened between two samples. A held call counts nothing and is `unknown`. */
export function judge(before: Sample | undefined, now: Sample, expected: boolean): Quality {
  if (before === undefined || !expected) return 'unknown'
  const received = now.received - before.received
  const lost = Math.max(0, now.lost - before.lost)
  if (received <= 0) return 'silent'
  const share = lost / (lost + received)
  if (share > 0.08 || now.jitter > 0.15 || now.roundTrip > 1) return 'bad'
  if (share > 0.02) return 'some-loss'
  if (now.jitter > 0.06 || now.roundTrip > 0.4) return 'delayed'
  return 'good'
}

interface Stat {
  type: string
  kind?: string
  packetsReceived?: number
  packetsLost?: number
  jitter?: number
  currentRoundTripTime?: number
  nominated?: boolean
}

/** Adds up a connection's report; `at` in seconds. */
export function sampleOf(report: Iterable<Stat>, at: number): Sample {
  const sample: Sample = { at, received: 0, lost: 0, jitter: 0, roundTrip: 0 }
  for (const stat of report) {
    if (stat.type === 'inbound-rtp' && stat.kind === 'audio') {
      sample.received += stat.packetsReceived ?? 0
      sample.lost += stat.packetsLost ?? 0
      sample.jitter = Math.max(sample.jitter, stat.jitter ?? 0)
    }
    if (stat.type === 'candidate-pair' && stat.nominated) sample.roundTrip = stat.currentRoundTripTime ?? 0
  }
  return sample
}
