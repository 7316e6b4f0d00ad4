import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { CallRecord, RecordedLeg } from '../records/records.ts'
import type { Anchor } from './anchor.ts'
import type { Leg } from './leg.ts'
import type { Answering } from './opening.ts'
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
  /** Somebody wants it recorded, or no longer. */
  onRecordingWish(call: C, leg: Leg, on: boolean): void
  /** Resolves when what was recorded of the call is kept; none is on then. */
  stopRecording(call: C): Promise<void>
  onEnd(call: C): void
  /** A request for a dialog that is not ours, or not any more. */
  onStray(req: Incoming, res: Reply): void
  keeping: Keeping<C>
}

/** Where calls are kept, so that other nodes can go on with them. */
export interface Keeping<C> {
  /** Whether the caller waits for its answer until the call is kept. */
  readonly waits: boolean
  /** Keeps a call whose caller is about to hear of the answer. Never rejects. */
  first(call: C, answering: Answering): Promise<void>
  /** Its caller has heard of the answer. */
  answered(call: C): void
  /** Keeps it anew, soon. */
  touch(call: C): void
  /** It has ended here; true when its record is ours to write. */
  end(call: C): Promise<boolean>
  /** Whether we may act for it. Costs nothing. */
  owns(id: string): boolean
  /** Lets a dialog of that id go without a word to its peer. */
  forget(id: string): void
}
