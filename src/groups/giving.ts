import { heirOf } from '../calls/heir.ts'
import { waitFor } from '../calls/survival.ts'
import type { Bus, Json } from '../cluster/bus.ts'
import type { Members } from '../cluster/members.ts'
import type { Replication } from '../cluster/replication.ts'
import { Refusal } from '../errors.ts'
import type { Adoption } from './adoption.ts'
import { guarded } from './guarded.ts'
import type { MeetingKeeping } from './keeping.ts'
import type { Meeting } from './meeting.ts'
import { meetingName, memberItem, memberName } from './snapshot.ts'

export interface GivingDeps {
  replication: Replication
  members: Pick<Members, 'self' | 'list'>
  bus: Pick<Bus, 'ask' | 'answer'>
  keeping: MeetingKeeping
  adoption: Adoption
}

export interface Giving {
  /**
   * Gives a meeting to another node. Its media goes on here until its members are there, which is when this resolves, but
   * for those that cannot be reached yet. False: nobody takes it, and it goes on here.
   */
  give(meeting: Meeting): Promise<boolean>
  close(): void
}

/** A node by itself has nobody to give to. */
export const keepsAll: Giving = { give: async () => false, close: () => undefined }

const verb = 'meetings.take'
const arriveMs = 6000
const askMs = 12_000

/** Gives the meetings of a node that goes to another one, and takes those that others give. */
export function createGiving({ replication, members, bus, keeping, adoption }: GivingDeps): Giving {
  async function take(id: Json): Promise<Json> {
    if (typeof id !== 'string') throw new Refusal('bad-request')
    const meeting = await adoption.bring(id)
    if (meeting === undefined) return false
    await waitFor(() => meeting.ended || meeting.people.every(one => !one.away), arriveMs)
    return true
  }

  async function ask(to: string, meeting: Meeting): Promise<boolean> {
    try {
      return (await bus.ask(to, verb, meeting.id, askMs)) === true
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      meeting.log.warn({ to, why: error.message }, 'the other node does not take the meeting')
      return false
    }
  }

  /** What was given up and nobody has taken is ours again. False: another node has it. */
  async function keepOn({ id }: Meeting, people: readonly number[]): Promise<boolean> {
    if (!replication.owns('meeting', id)) {
      const taken = await replication.takeOver(meetingName(id))
      if (taken === undefined || !('snapshot' in taken)) return false
    }
    await Promise.all(people.map(member => replication.takeOver(memberName(id, member))))
    return true
  }

  const stop = bus.answer(verb, take)
  return {
    async give(meeting) {
      const to = heirOf(members)
      if (to === undefined || meeting.ended) return false
      const people = await keeping.flush(meeting)
      // Whoever has the meeting takes its members, so these are free before.
      await Promise.all(people.map(member => replication.release('meeting', memberItem(meeting.id, member))))
      const given = (await replication.release('meeting', meeting.id)) && (await ask(to, meeting))
      if (!given && (await keepOn(meeting, people))) return false
      meeting.log.info({ to }, 'meeting given away')
      adoption.letGo(meeting)
      return true
    },
    close: stop,
  }
}

/** Gives away all meetings, those too that begin meanwhile, and waits while it `goes` until none is left; how many are. */
export async function giveAll(
  giving: Giving,
  meetings: ReadonlyMap<string, Meeting>,
  goes: () => boolean,
  limitMs: number,
): Promise<number> {
  const tried = new Set<Meeting>()
  const isDone = () => {
    if (!goes()) return true
    for (const meeting of meetings.values()) {
      if (!tried.has(meeting)) void guarded(meeting.log, giving.give(meeting))
      tried.add(meeting)
    }
    return meetings.size === 0
  }
  await waitFor(isDone, limitMs)
  return meetings.size
}
