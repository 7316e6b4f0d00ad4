import { legSnapshot, nameOf } from '../calls/keeping.ts'
import type { Replication, Strategy } from '../cluster/replication.ts'
import type { Logger } from '../log.ts'
import type { Stream } from '../media/media.ts'
import type { EngineDialogs } from '../sip/dialogs.ts'
import type { Followed } from './board.ts'
import type { Meeting } from './meeting.ts'
import type { Participant } from './participant.ts'
import { encodeMeeting, encodeMember, type FollowSnapshot, meetingName, memberItem, memberName } from './snapshot.ts'

export interface MeetingKeeping {
  /** Keeps a meeting, and one of its members, as they are at the end of this turn of the event loop. */
  touch(meeting: Meeting, one?: Participant): void
  /** It has ended here for good. */
  end(meeting: Meeting): void
  owns(meeting: string): boolean
  /** Keeps all of it as it is now; the ids of the members that are kept. Never rejects. */
  flush(meeting: Meeting): Promise<number[]>
}

/** Nothing is kept: one node by itself. */
export const keepsNothing: MeetingKeeping = {
  touch: () => undefined,
  end: () => undefined,
  owns: () => true,
  flush: async () => [],
}

export interface MeetingKeepingDeps {
  replication: Replication
  dialogs: Pick<EngineDialogs, 'read'>
  /** What a media leg carries. */
  streams(leg: string): Stream[]
  /** How a user follows the roster of an address. */
  followed(address: string, user: string): Followed[]
  log: Logger
}

/** What of a meeting the replication has. */
interface Known {
  text: string | undefined
  members: Set<number>
  /** Writes of one meeting follow each other. */
  turn: Promise<unknown>
}

/** Keeps meetings through the replication: one text for each, and one for each of its members. */
export function createMeetingKeeping(deps: MeetingKeepingDeps): MeetingKeeping {
  const { replication, dialogs, log } = deps
  const changed = new Map<Meeting, Set<Participant>>()
  const known = new WeakMap<Meeting, Known>()

  function knownOf(meeting: Meeting): Known {
    const found = known.get(meeting) ?? { text: undefined, members: new Set(), turn: Promise.resolve() }
    known.set(meeting, found)
    return found
  }

  function inTurn(meeting: Meeting, work: (is: Known) => Promise<void>): void {
    const is = knownOf(meeting)
    is.turn = is.turn
      .then(() => work(is))
      .catch((error: unknown) => log.error({ err: error, meeting: meeting.id }, 'a meeting could not be kept'))
  }

  async function keepMember(meeting: Meeting, one: Participant, is: Known): Promise<void> {
    const { dialog } = one
    const state = await dialogs.read(dialog.dialog.id)
    if (state === undefined || dialog.ended || one.dialog !== dialog || one.away || meeting.ended) return
    const follows =
      meeting.people.find(({ person }) => person.user === one.person.user) === one ? await followsOf(meeting, one) : []
    const { id, person, joining, since, muted, held, aware, wantsMesh, mesh } = one
    const snapshot = encodeMember({
      ...{ meeting: meeting.id, id, person, joining, since, muted, held, aware, wantsMesh, mesh },
      contact: dialog.remoteContact,
      streams: one.resting ?? deps.streams(dialog.leg),
      leg: legSnapshot(dialog.dialog, state),
      ...(follows.length === 0 ? {} : { follows }),
    })
    if (snapshot === undefined) return log.warn({ meeting: meeting.id, member: id }, 'a member is too long to be kept')
    is.members.add(id)
    const names = [nameOf(state), memberName(meeting.id, id)]
    const item = memberItem(meeting.id, id)
    await replication.save({ kind: 'meeting', id: item, dialogs: names, snapshot }, howOf(meeting))
  }

  async function followsOf({ address }: Meeting, { person }: Participant): Promise<FollowSnapshot[]> {
    const all = deps.followed(address.user, person.user).map(async one => {
      const dialog = await dialogs.read(one.id)
      return dialog && { ...one, dialog }
    })
    return (await Promise.all(all)).filter(one => one !== undefined)
  }

  async function keep(meeting: Meeting, people: Iterable<Participant>, is: Known): Promise<void> {
    await Promise.all(Array.from(people, one => keepMember(meeting, one, is)))
    if (meeting.ended) return
    const text = encodeMeeting(meeting.snapshot())
    if (text === undefined) return log.warn({ meeting: meeting.id }, 'the meeting is too long to be kept')
    if (text !== is.text) {
      is.text = text
      const kept = { kind: 'meeting', id: meeting.id, dialogs: [meetingName(meeting.id)], snapshot: text } as const
      await replication.save(kept, howOf(meeting))
    }
    const left = [...is.members].filter(id => meeting.member(id) === undefined)
    await Promise.all(left.map(id => forget(meeting, id, is)))
  }

  async function forget(meeting: Meeting, id: number, is: Known): Promise<void> {
    is.members.delete(id)
    await replication.end('meeting', memberItem(meeting.id, id))
  }

  function keepChanged(): void {
    for (const [meeting, people] of changed) inTurn(meeting, is => keep(meeting, people, is))
    changed.clear()
  }

  return {
    touch(meeting, one) {
      if (meeting.ended) return
      if (changed.size === 0) setImmediate(keepChanged)
      const people = changed.get(meeting) ?? new Set()
      changed.set(meeting, people)
      if (one === undefined) return
      people.add(one)
      // Also one of another node that leaves before it has come has to be forgotten.
      if (one.away) knownOf(meeting).members.add(one.id)
    },
    end(meeting) {
      inTurn(meeting, async is => {
        await replication.end('meeting', meeting.id)
        await Promise.all([...is.members].map(id => forget(meeting, id, is)))
      })
    },
    owns: meeting => replication.owns('meeting', meeting),
    async flush(meeting) {
      changed.delete(meeting)
      inTurn(meeting, is => keep(meeting, meeting.people, is))
      const is = knownOf(meeting)
      await is.turn
      return [...is.members]
    },
  }
}

/** A group may want its meetings kept in another way than everything else. */
function howOf({ address }: Meeting): { strategy?: Strategy } {
  const strategy = address.group?.replication
  return strategy === undefined ? {} : { strategy }
}
