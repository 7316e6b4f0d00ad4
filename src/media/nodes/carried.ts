import { createTurns, type Turns } from '../legs/turns.ts'
import type { LegEvent, LegWish, Membership, RoomWish, Stream } from '../media.ts'
import type { Host } from './hosts.ts'
import type { Loop } from './loops.ts'
import type { Tape } from './tapes.ts'

/** A leg on one host, under that host's name for it. */
export interface Spot {
  readonly host: Host
  leg: string
}

/** Where a leg is to be: made already, and its party is not there yet. */
export interface Next extends Spot {
  /** Asked for while all is well, so that it may fail; or what carried it is lost. */
  readonly why: 'moved' | 'lost'
  /** When what brought this about began, of performance.now(). */
  readonly since: number
  /** Its offer was given to the owner. */
  offered: boolean
  timer: NodeJS.Timeout | undefined
}

/** A leg as its owner knows it, whichever node carries it, with all that is needed to make it anew elsewhere. */
export interface Carried {
  readonly id: string
  readonly wish: LegWish
  /** What the last negotiation has chosen. */
  streams: readonly Stream[]
  /** The party's last SDP; '' before its first. */
  heard: string
  at: Spot
  next: Next | undefined
  /** Where it was, until it is sure that it has left. */
  spare: { spot: Spot; timer: NodeJS.Timeout } | undefined
  hall: Hall | undefined
  as: Membership
  readonly inTurn: Turns
  readonly loops: Set<Loop>
  released: boolean
}

/** A room on one host. */
export interface Side {
  readonly host: Host
  readonly room: string
  /** Joins this side with the one that it follows, while not all have moved. */
  link: { near: Spot; far: Spot } | undefined
}

/** A room as its owner knows it. It has one side, more only while its legs move, and none before anybody is in. */
export interface Hall {
  readonly id: string
  readonly wish: RoomWish
  /** The newest first. */
  sides: Side[]
  placing: Promise<Side> | undefined
  /** Legs are being moved to the newest side. */
  moving: boolean
  /** Not before then are those that did not follow asked again, of performance.now(). */
  againAt: number
  readonly legs: Set<Carried>
  readonly loops: Set<Loop>
  readonly tapes: Set<Tape>
}

export function newCarried(id: string, wish: LegWish, at: Spot): Carried {
  return {
    id,
    wish,
    at,
    streams: wish.streams ?? [],
    heard: wish.offer ?? wish.after ?? '',
    next: undefined,
    spare: undefined,
    hall: undefined,
    as: {},
    inTurn: createTurns(),
    loops: new Set(),
    released: false,
  }
}

export function newHall(id: string, wish: RoomWish): Hall {
  return {
    id,
    wish,
    sides: [],
    placing: undefined,
    moving: false,
    againAt: 0,
    legs: new Set(),
    loops: new Set(),
    tapes: new Set(),
  }
}

export const sideOn = (hall: Hall, host: Host) => hall.sides.find(side => side.host === host)

/** Where a leg can be heard and be given something now: where it is, or, when that is lost, where it is to be. */
export function spotOf({ at, next }: Carried): Spot | undefined {
  return at.host.gone ? next : at
}

/** What is needed to make the leg anew: its party keeps its m-lines (RFC 3264 section 8), its codecs and its keys. */
export function wishAgain(leg: Carried): LegWish {
  const { wish, heard, streams } = leg
  const { offer: _, ...rest } = wish
  const secure = heard === '' ? wish.secure : /^a=crypto:/m.test(heard)
  return { ...rest, ...(streams.length > 0 ? { streams } : {}), after: heard || undefined, secure }
}

export type Heard = (leg: Carried, spot: Spot, event: LegEvent) => void
