import { createPass } from '../calls/pass.ts'
import { whereIn } from '../calls/route.ts'
import { createSeek, type SeekDeps } from '../calls/seek.ts'
import type { Bus } from '../cluster/bus.ts'
import type { Claims } from '../cluster/claims.ts'
import type { Members } from '../cluster/members.ts'
import type { Replication } from '../cluster/replication.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { Media } from '../media/media.ts'
import type { EngineDialogs } from '../sip/dialogs.ts'
import { type Adoption, type AdoptionDeps, createAdoption } from './adoption.ts'
import { createGiving, type Giving, keepsAll } from './giving.ts'
import { createMeetingKeeping, keepsNothing, type MeetingKeeping, type MeetingKeepingDeps } from './keeping.ts'
import type { Meeting } from './meeting.ts'
import { createSeats, lone, type Seats, type SeatsDeps } from './seats.ts'
import type { MeetingSnapshot } from './snapshot.ts'

/** The other nodes, for meetings that are to outlive this one. */
export interface OtherNodes extends Pick<SeekDeps, 'bindings' | 'onBindings'> {
  replication: Replication
  /** Of the embedded engine. */
  dialogs: EngineDialogs
  members: Pick<Members, 'life' | 'node' | 'self' | 'list' | 'find' | 'onDeath' | 'onReturn'>
  claims: Claims
  bus: Pick<Bus, 'ask' | 'answer' | 'publish' | 'subscribe'>
  sessionExpires: number
}

export interface OutlivingDeps
  extends Pick<AdoptionDeps, 'find' | 'list' | 'restore' | 'follow'>,
    Pick<MeetingKeepingDeps, 'followed'>,
    Pick<SeatsDeps, 'at' | 'accepts'> {
  others: OtherNodes | undefined
  media: Pick<Media, 'streams'>
  domain: string
  events: Events
  /** Begins a meeting as it was; where another one is going on at its address by now, that one. */
  open(address: Pick<MeetingSnapshot, 'user' | 'displayName' | 'group'>, was: MeetingSnapshot): Meeting
  log: Logger
}

export interface Outliving {
  keeping: MeetingKeeping
  adoption: Adoption | undefined
  seats: Seats
  giving: Giving
}

/** What keeps the meetings of this node for others, and goes on with theirs. */
export function createOutliving(deps: OutlivingDeps): Outliving {
  const { others, media, domain, events, find, list, open, restore, follow, followed, log } = deps
  if (others === undefined) return { keeping: keepsNothing, adoption: undefined, seats: lone, giving: keepsAll }
  const seek = createSeek({ ...others, domain, events, where: whereIn(others.members) })
  const keeping = createMeetingKeeping({ ...others, streams: leg => media.streams(leg), followed, log })
  const adoption = createAdoption({
    ...others,
    seek,
    log,
    events,
    find,
    list,
    restore,
    follow,
    open: was => open(was, was),
  })
  const { at, accepts } = deps
  const seats = createSeats({ ...others, adoption, pass: createPass(others.members), at, list, accepts, events, log })
  return { keeping, adoption, seats, giving: createGiving({ ...others, keeping, adoption }) }
}
