// What a drill found, and whether that is what was aimed at. Pure.

export type DrillHow = 'kill' | 'drain'

/** What an administrator, or the calendar, wants. */
export interface DrillWish {
  how: DrillHow
  /** Node that is killed or drained; the active one when left out. */
  target?: string | undefined
  /** Also where calls of people would be lost. */
  force?: boolean | undefined
  /** How long a killed node may take to be there again. */
  waitSeconds?: number | undefined
  by: 'administrator' | 'schedule'
}

/** One test call that was up when the node broke. Times in ms from that moment. */
export interface DrillCall {
  /** Its sound went directly, or through the node. */
  media: 'direct' | 'relay'
  /** Until both phones had heard where the call lives now; null: they never did. */
  takenMs: number | null
  /** Sound that either phone did not get, the longer of the two. */
  gapMs: number
  /** It could be hung up, and the other phone heard of it. */
  kept: boolean
}

export interface Measures {
  calls: DrillCall[]
  /** Why no call with its sound through the node was tried; '' where one was. */
  noRelay: string
  /** Until the other node knew of the death; null for a drain. */
  deadMs: number | null
  /** How long a new phone had to try to register at the other node. */
  registerMs: number | null
  /** Until a new call to a phone that had been registered at both passed. */
  newCallMs: number | null
  /** Until the node was up again, and until a call passed through it. */
  returnedMs: number | null
  failBackMs: number | null
  /** Records of the calls that were up: how many there should be, and are, once the node is back on both. */
  records: { wanted: number; here: number; there: number | null }
}

/** One aim of a drill. `found` and `aim` in words. */
export interface Verdict {
  what: string
  found: string
  aim: string
  passed: boolean
}

export interface DrillReport extends Measures {
  id: string
  how: DrillHow
  by: DrillWish['by']
  target: string
  conductor: string
  /** ISO 8601, UTC. */
  began: string
  seconds: number
  /** `broken`: the drill itself could not be done, see `why`; `skipped`: the calendar wanted one, and it was not the time. */
  result: 'passed' | 'failed' | 'broken' | 'skipped'
  why: string
  verdict: Verdict[]
}

/** The aims that are published for every pair (docs/reliability.md). */
export const aims = { registerMs: 1000, newCallMs: 3000, directGapMs: 0, relayGapMs: 2000 }

export const nothingMeasured: Measures = {
  ...{ calls: [], noRelay: '', deadMs: null, registerMs: null, newCallMs: null, returnedMs: null, failBackMs: null },
  records: { wanted: 0, here: 0, there: null },
}

/** Compares what was measured with the aims. */
export function judge(found: Measures): Verdict[] {
  const { calls, records } = found
  const lost = calls.filter(call => !call.kept).length
  const gap = (media: DrillCall['media']) =>
    Math.max(0, ...calls.filter(call => call.media === media).map(call => call.gapMs))
  const relayed = calls.some(call => call.media === 'relay')
  return [
    one('calls lost', `${lost} of ${calls.length}`, '0', calls.length > 0 && lost === 0),
    atMost('gap in direct sound', gap('direct'), aims.directGapMs),
    ...(relayed ? [atMost('gap in sound through the node', gap('relay'), aims.relayGapMs)] : []),
    atMost('new registration', found.registerMs, aims.registerMs),
    atMost('new call', found.newCallMs, aims.newCallMs),
    one(
      'call records',
      `${records.here} here, ${records.there ?? 'unknown'} there`,
      `${records.wanted} on each`,
      records.here === records.wanted && records.there === records.wanted,
    ),
    one('node is back', ms(found.returnedMs), 'yes', found.returnedMs !== null),
    one('call through it', ms(found.failBackMs), 'yes', found.failBackMs !== null),
  ]
}

/** The report of a drill that was done to its end. */
export function conclude(about: Omit<DrillReport, keyof Measures | 'result' | 'why' | 'verdict'>, found: Measures) {
  const verdict = judge(found)
  const failed = verdict.filter(({ passed }) => !passed).map(({ what }) => what)
  const result = failed.length === 0 ? ('passed' as const) : ('failed' as const)
  return { ...about, ...found, result, why: failed.join(', '), verdict } satisfies DrillReport
}

/** Sound that did not come, in ms: packets of 20 ms that the other end has sent since and this one has not heard. */
export function gapOf(sent: { from: number; to: number }, heard: { from: number; to: number }): number {
  return Math.max(0, sent.to - sent.from - (heard.to - heard.from)) * 20
}

function atMost(what: string, found: number | null, aim: number): Verdict {
  return one(what, ms(found), aim === 0 ? '0 ms' : `≤ ${ms(aim)}`, found !== null && found <= aim)
}

function one(what: string, found: string, aim: string, passed: boolean): Verdict {
  return { what, found, aim, passed }
}

function ms(value: number | null): string {
  if (value === null) return 'never'
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`
}
