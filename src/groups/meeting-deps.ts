import type { RecordingWish, Tape } from '../calls/taping.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { Media } from '../media/media.ts'
import type { Board } from './board.ts'
import type { Participant } from './participant.ts'
import type { Group } from './store.ts'

/** The address of a meeting: a group's, or one that was made for it. */
export interface MeetingAddress {
  user: string
  displayName: string
  group: Group | undefined
}

/** What a meeting needs of its surroundings; `M` is the meeting itself, whose file imports this one. */
export interface MeetingDeps<M> {
  media: Media
  domain: string
  limits: { most: number; meshMost: number; meshBack: number }
  /** Whether a Contact is a GRUU of that user, so that others can call this very device. */
  isGruu(uri: string, user: string): Promise<boolean>
  /** Begins a recording; it ends by its `stop`. */
  record(wish: RecordingWish): Promise<Tape>
  board: Board
  events: Events
  log: Logger
  now(): number
  /** Nobody is in it or on the way in; rings do not count. */
  onEmpty(meeting: M): void
  /** It is over; its participants are about to be told. */
  onEnded(meeting: M): void
  /** A participant has a dialog; requests in it are the owner's to answer. */
  onDialog(meeting: M, one: Participant): void
  /** Something has changed that another node would have to know: of one member, or of the meeting. */
  keep(meeting: M, one?: Participant): void
  /** Whether we may act for it. */
  owns(meeting: string): boolean
}
