import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { CallRecord, RecordedLeg } from '../records/records.ts'
import type { Anchor } from './anchor.ts'
import type { Leg } from './leg.ts'
import type { Incoming, Reply, SrfPort } from './sip.ts'

export type CallState = 'starting' | 'ringing' | 'answered' | 'ended'

/** What an operator sees of a call. */
export interface CallView {
  id: string
  from: string
  to: string
  state: CallState
  /** When it began and when it was answered: ISO 8601, UTC. */
  since: string
  answered?: string
  recording: boolean
  legs: RecordedLeg[]
}

/** What a call needs of its surroundings; `C` is the call itself, whose file imports this one. */
export interface CallContext<C> {
  srf: SrfPort
  domain: string
  config: { sessionExpires: number; minSe: number }
  events: Events
  log: Logger
  now(): number
  records: { add(record: CallRecord): void }
  anchor(call: string): Anchor
  /** A REFER inside a confirmed leg. */
  onRefer(call: C, leg: Leg, req: Incoming, res: Reply): void
  /** A key that somebody has pressed. */
  onDigit(call: C, leg: Leg, digit: string): void
  /** Resolves when what was recorded of the call is kept; none is on then. */
  stopRecording(call: C): Promise<void>
  onEnd(call: C): void
}
