import type { Incoming, Reply, SrfPort } from '../calls/sip.ts'
import type { Logger } from '../log.ts'
import { contactOf } from './addresses.ts'
import { Board, type Followed } from './board.ts'
import type { MeetingAddress } from './meeting-deps.ts'

export interface Boards {
  /** The one of an address, made when there is none. */
  of(address: MeetingAddress): Board
  /** Answers a SUBSCRIBE for an address. Throws Refusal. */
  subscribe(address: MeetingAddress, req: Incoming, res: Reply, user: string): void
  /** The subscriptions of a user to the roster of an address. */
  followed(address: string, user: string): Followed[]
  /** Another node has the meeting of this address now: who subscribes anew finds it there. */
  leave(user: string): void
  /** A meeting is over; of an ad-hoc one nobody will hear again. */
  over(address: MeetingAddress): void
  close(): void
}

export interface BoardsDeps {
  srf: SrfPort
  domain: string
  most: number
  /** Whether a meeting goes on at an address here. */
  isOn(user: string): boolean
  /** A user has begun or renewed a subscription to the roster of an address. */
  onSubscribed(address: string, user: string): void
  log: Logger
}

/** The rosters that are followed here, by address. */
export function createBoards({ srf, domain, most, isOn, onSubscribed, log }: BoardsDeps): Boards {
  const boards = new Map<string, Board>()

  function of({ user, displayName, group }: MeetingAddress): Board {
    const known = boards.get(user)
    if (known) return known
    const board = new Board(
      {
        srf,
        log: log.child({ address: user }),
        contact: contactOf(user),
        onIdle() {
          if (!isOn(user)) boards.delete(user)
        },
        onSubscribed: who => onSubscribed(user, who),
      },
      { entity: `sip:${user}@${domain}`, displayName, most: group?.most ?? most, locked: false, users: [] },
    )
    boards.set(user, board)
    return board
  }

  return {
    of,
    subscribe: (address, req, res, user) => of(address).subscribe(req, res, user),
    followed: (address, user) => boards.get(address)?.followed(user) ?? [],
    leave(user) {
      boards.get(user)?.close('deactivated')
      boards.delete(user)
    },
    over({ user, group }) {
      const board = boards.get(user)
      if (group === undefined) board?.close('noresource')
      if (group === undefined || board?.subscriptions === 0) boards.delete(user)
    },
    close() {
      for (const board of boards.values()) board.close('deactivated')
      boards.clear()
    },
  }
}
