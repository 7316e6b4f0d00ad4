import { setTimeout as wait } from 'node:timers/promises'
import { Refusal } from '../errors.ts'
import type { Line } from './line.ts'
import type { TestPhone } from './phone.ts'
import { type DrillCall, gapOf } from './report.ts'
import { until } from './until.ts'

/** A call of two test phones, whose sound flows both ways. */
export interface Talk {
  media: DrillCall['media']
  readonly ends: readonly [Line, Line]
}

/** What both ends of a call had sent and heard at one moment. */
export type Mark = readonly ReturnType<Line['stream']['count']>[]

// So many packets say that the sound flows.
const flowing = 10
const flowMs = 5000
const hangUpMs = 8000
// For what is still under way when nothing is sent any more.
const lastPacketMs = 300

/** Has one phone call the other by one of its registrations. Refuses as `TestPhone.call`, and `media-unavailable` where no sound comes. */
export async function startTalk(
  caller: TestPhone,
  callee: TestPhone,
  regId: number,
  ms: number,
  signal: AbortSignal,
): Promise<Talk> {
  const here = await caller.call(callee.user, regId, ms)
  let there: Line | undefined
  await until(() => (there = callee.answered(here.stream.mark)) !== undefined, flowMs, signal)
  if (there === undefined) throw new Refusal('temporarily-unavailable', `the call did not reach ${callee.user}`)
  const talk: Talk = { media: 'direct', ends: [here, there] }
  if (!(await soundFlows(talk, signal))) throw new Refusal('media-unavailable', 'no sound came through a test call')
  return talk
}

/** Whether both ends hear something now. */
export function soundFlows(talk: Talk, signal: AbortSignal): Promise<boolean> {
  const before = markOf(talk)
  const flows = () => talk.ends.every(({ stream }, at) => stream.count().heard >= before[at]!.heard + flowing)
  return until(flows, flowMs, signal)
}

export function markOf({ ends }: Talk): Mark {
  return ends.map(({ stream }) => stream.count())
}

/** Until both ends had heard where the call lives now, in ms after `since`; null while one has not. */
export function takenAfter({ ends }: Talk, since: number): number | null {
  const told = ends.map(end => end.told ?? 0)
  return Math.min(...told) > since ? Math.round(Math.max(...told) - since) : null
}

/** Ends the sound, and says how much of it the worse end has missed since the mark. */
export async function missedSince({ ends }: Talk, mark: Mark): Promise<number> {
  for (const { stream } of ends) stream.stopSending()
  await wait(lastPacketMs)
  const [one, other] = ends.map(({ stream }) => stream.count())
  const [a, b] = mark
  return Math.max(
    gapOf({ from: a!.sent, to: one!.sent }, { from: b!.heard, to: other!.heard }),
    gapOf({ from: b!.sent, to: other!.sent }, { from: a!.heard, to: one!.heard }),
  )
}

/** The caller hangs up; true when that was answered and the callee has heard of it. */
export async function endTalk({ ends: [caller, callee] }: Talk): Promise<boolean> {
  try {
    const status = await caller.hangUp(hangUpMs)
    const heard = await Promise.race([callee.gone.then(() => true), wait(hangUpMs, false, { ref: false })])
    return status === 200 && heard
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return false
  } finally {
    caller.close()
    callee.close()
  }
}
