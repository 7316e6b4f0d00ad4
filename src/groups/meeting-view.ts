import type { Topology } from '../events.ts'
import type { Profile, Stream } from '../media/media.ts'
import type { Participant } from './participant.ts'
import type { Person } from './person.ts'
import type { RosterState, RosterTopology, RosterUser } from './roster.ts'

/** What an operator sees of a meeting. */
export interface MeetingView {
  id: string
  address: string
  displayName: string
  adHoc: boolean
  /** ISO 8601, UTC. */
  since: string
  locked: boolean
  recording: boolean
  shape: Topology
  changing: boolean
  members: MemberView[]
  /** Users that are being rung. */
  ringing: string[]
}

export interface MemberView {
  id: number
  user: string
  displayName: string
  since: string
  profile: Profile
  mesh: boolean
  muted: boolean
  held: boolean
  moderator: boolean
}

/** What a view is made of: a Meeting. */
export interface Seen {
  readonly id: string
  readonly address: { user: string; displayName: string }
  /** URI of the address. */
  readonly uri: string
  readonly adHoc: boolean
  readonly began: number
  readonly most: number
  readonly locked: boolean
  readonly recording: boolean
  readonly ended: boolean
  readonly speaker: number | undefined
  readonly shape: { readonly topology: RosterTopology }
  readonly people: readonly Participant[]
  readonly ringing: readonly Person[]
}

export function viewOf(meeting: Seen): MeetingView {
  const { shape, state } = meeting.shape.topology
  return {
    id: meeting.id,
    address: meeting.uri,
    displayName: meeting.address.displayName,
    adHoc: meeting.adHoc,
    since: new Date(meeting.began).toISOString(),
    locked: meeting.locked,
    recording: meeting.recording,
    shape,
    changing: state === 'preparing',
    members: meeting.people.map(memberOf),
    ringing: meeting.ringing.map(({ user }) => user),
  }
}

function memberOf({ id, person, since, profile, mesh, muted, held }: Participant): MemberView {
  return { id, ...person, since, profile, mesh, muted, held }
}

/** What participants see of it. `streams` tells what a media leg carries. */
export function rosterOf(meeting: Seen, domain: string, streams: (leg: string) => readonly Stream[]): RosterState {
  const { uri: entity, most, locked } = meeting
  const { displayName } = meeting.address
  if (meeting.ended) return { entity, displayName, most, locked: false, users: [] }
  const users = new Map<string, RosterUser>()
  const add = (
    { user, displayName, moderator }: Person,
    endpoint: (aor: string) => RosterUser['endpoints'][number],
  ) => {
    const aor = `sip:${user}@${domain}`
    const before = users.get(aor)?.endpoints ?? []
    users.set(aor, { entity: aor, displayName, moderator, endpoints: [...before, endpoint(aor)] })
  }
  for (const one of meeting.people) {
    add(one.person, aor => one.endpoint(aor, one.lines ?? one.resting ?? streams(one.dialog.leg)))
  }
  for (const person of meeting.ringing) {
    add(person, entity => ({ entity, status: 'alerting', joining: 'dialed-out', media: [] }))
  }
  return {
    entity,
    displayName,
    most,
    meeting: { id: meeting.id, recording: meeting.recording, adHoc: meeting.adHoc },
    locked,
    users: [...users.values()],
    topology: meeting.shape.topology,
    speaker: meeting.speaker,
  }
}
