import { reasonHeader } from '../calls/headers.ts'
import type { LocalDialogs, LocalOptions } from '../calls/local.ts'
import { Refusal } from '../errors.ts'
import type { Meeting } from './meeting.ts'
import type { Person } from './person.ts'

export interface RingingDeps {
  dialogs: Pick<LocalDialogs, 'invite'>
  /** An account by its user name, as it takes part in this meeting; undefined when there is none. */
  person(user: string, meeting: Meeting): Promise<Person | undefined>
  /** What all dialogs of the meeting have in common. */
  options(meeting: Meeting, member: number): LocalOptions
}

// How long each one is rung when they are rung one after the other.
const orderMs = 20_000

export interface Ringing {
  /** Calls one person into the meeting; resolves when the person is in. Throws Refusal: not there, busy, declined, already in. */
  call(meeting: Meeting, user: string, told: CallTold): Promise<void>
  /** Rings the members of the meeting's group who are not in, as the group wishes; never rejects. */
  callMembers(meeting: Meeting, by: string): Promise<void>
}

export interface CallTold {
  /** Display name of who wants this. */
  by: string
  onRinging?: (() => void) | undefined
  ringMs?: number | undefined
}

/** Calls people into meetings. */
export function createRinging({ dialogs, person: find, options }: RingingDeps): Ringing {
  async function call(meeting: Meeting, user: string, { by, onRinging, ringMs }: CallTold): Promise<void> {
    const person = await find(user, meeting)
    if (person === undefined) throw new Refusal('not-found', `there is nobody called ${user}`)
    if (meeting.people.some(one => one.person.user === person.user)) throw new Refusal('busy-here', 'already in')
    const signal = meeting.startRinging(person)
    if (signal === undefined) throw new Refusal('request-pending', 'is being called already')
    try {
      const id = meeting.reserve({ ...person, moderator: true }, true)
      try {
        const { user: address, displayName: name } = meeting.address
        // An ad-hoc meeting has its name from who made it.
        const displayName = by === '' || meeting.adHoc ? name : `${name} (${by})`
        const from = { user: address, displayName }
        const callee = { user: person.user }
        const dialog = await dialogs.invite(callee, { ...options(meeting, id), from, onRinging, signal, ringMs })
        if (meeting.ended) await dialog.bye(reasonHeader(200, 'The meeting is over'))
        else await meeting.join(id, person, dialog, 'dialed-out')
      } finally {
        meeting.arrived(id)
      }
    } finally {
      meeting.stopRinging(person.user)
    }
  }

  async function quietly(meeting: Meeting, user: string, told: CallTold): Promise<boolean> {
    try {
      await call(meeting, user, told)
      return true
    } catch (error) {
      if (error instanceof Refusal) meeting.log.info({ user, code: error.code }, 'member did not come')
      else meeting.log.error({ err: error, user }, 'ringing a member failed')
      return false
    }
  }

  return {
    call,
    async callMembers(meeting, by) {
      const { group } = meeting.address
      if (group === undefined || group.ring === 'nobody') return
      const there = new Set(meeting.people.map(one => one.person.user))
      const missing = group.members.filter(user => !there.has(user))
      if (group.ring === 'all') {
        await Promise.all(missing.map(user => quietly(meeting, user, { by })))
        return
      }
      for (const user of missing) {
        if (meeting.ended || (await quietly(meeting, user, { by, ringMs: orderMs }))) return
      }
    },
  }
}
