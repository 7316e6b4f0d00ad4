import type { Topology } from '../events.ts'
import type { Direction, Kind } from '../media/media.ts'
import { element, text, type Xml } from './xml.ts'

// The conference event package (RFC 4575) as a pure function of who is in a meeting. What it has no words for stands in
// elements of our own namespace, at the places where its schema allows them; docs/meetings.md tells what they mean.

export const conferenceType = 'application/conference-info+xml'
const namespace = 'urn:ietf:params:xml:ns:conference-info'
const ownNamespace = 'urn:vaartha:conference'

export interface RosterEndpoint {
  /** The Contact of the dialog; the AOR of somebody who is being rung. */
  entity: string
  status: 'connected' | 'on-hold' | 'muted-via-focus' | 'alerting'
  joining: 'dialed-in' | 'dialed-out'
  /** ISO 8601, UTC; absent while alerting. */
  since?: string | undefined
  media: readonly { id: string; kind: Kind; direction: Direction }[]
  member?: { id: number; mesh: boolean; muted: boolean } | undefined
}

export interface RosterUser {
  /** AOR. */
  entity: string
  displayName: string
  moderator: boolean
  endpoints: readonly RosterEndpoint[]
}

export interface RosterTopology {
  shape: Topology
  epoch: number
  state: 'preparing' | 'settled'
  members: readonly number[]
}

export interface RosterState {
  /** URI of the meeting. */
  entity: string
  displayName: string
  most: number
  /** Absent while no meeting is going on. */
  meeting?: { id: string; recording: boolean; adHoc: boolean } | undefined
  locked: boolean
  users: readonly RosterUser[]
  topology?: RosterTopology | undefined
  speaker?: number | undefined
}

/** The parts of a document, to be compared with the next one's. */
export interface RosterParts {
  entity: string
  description: Xml
  state: Xml
  users: ReadonlyMap<string, Xml>
  meeting: Xml
  topology: Xml
  speaker: Xml
}

export function renderRoster(roster: RosterState): RosterParts {
  const { entity, displayName, meeting, topology, users, speaker } = roster
  const present = users.filter(user => user.endpoints.some(endpoint => endpoint.status !== 'alerting'))
  return {
    entity,
    description: element(
      'conference-description',
      {},
      element('display-text', {}, text(displayName)),
      element(
        'conf-uris',
        {},
        element('entry', {}, element('uri', {}, text(entity)), element('purpose', {}, 'participation')),
      ),
      element('maximum-user-count', {}, String(roster.most)),
    ),
    state: element(
      'conference-state',
      {},
      element('user-count', {}, String(present.length)),
      element('active', {}, String(meeting !== undefined)),
      element('locked', {}, String(roster.locked)),
    ),
    users: new Map(users.map(user => [user.entity, renderUser(user)])),
    meeting: meeting
      ? element('v:meeting', { id: meeting.id, recording: meeting.recording, adhoc: meeting.adHoc })
      : element('v:meeting', {}),
    topology: topology ? element('v:topology', { ...topology, members: topology.members.join(' ') }) : '',
    speaker: element('v:speaker', { member: speaker }),
  }
}

function renderUser({ entity, displayName, moderator, endpoints }: RosterUser): Xml {
  return element(
    'user',
    { entity, state: 'full' },
    element('display-text', {}, text(displayName)),
    ...(moderator ? [element('roles', {}, element('entry', {}, 'moderator'))] : []),
    ...endpoints.map(renderEndpoint),
  )
}

function renderEndpoint({ entity, status, joining, since, media, member }: RosterEndpoint): Xml {
  return element(
    'endpoint',
    { entity, state: 'full' },
    element('status', {}, status),
    element('joining-method', {}, joining),
    ...(since === undefined ? [] : [element('joining-info', {}, element('when', {}, since))]),
    ...media.map(({ id, kind, direction }) =>
      element('media', { id }, element('type', {}, kind), element('status', {}, direction)),
    ),
    ...(member ? [element('v:member', member)] : []),
  )
}

/** The whole roster (RFC 4575 section 4.1). */
export function fullDocument(parts: RosterParts, version: number): string {
  return document(parts.entity, 'full', version, [
    parts.description,
    parts.state,
    element('users', { state: 'full' }, ...parts.users.values()),
    parts.meeting,
    parts.topology,
    parts.speaker,
  ])
}

/** What differs from `before` (RFC 4575 section 4.4); undefined when nothing does. */
export function partialDocument(before: RosterParts, after: RosterParts, version: number): string | undefined {
  const users: Xml[] = []
  for (const [entity, user] of after.users) if (before.users.get(entity) !== user) users.push(user)
  for (const entity of before.users.keys()) {
    if (!after.users.has(entity)) users.push(element('user', { entity, state: 'deleted' }))
  }
  const changed = (part: 'description' | 'state' | 'meeting' | 'topology' | 'speaker') =>
    before[part] === after[part] ? '' : after[part]
  const body = [
    changed('description'),
    changed('state'),
    users.length === 0 ? '' : element('users', { state: 'partial' }, ...users),
    changed('meeting'),
    changed('topology'),
    changed('speaker'),
  ]
  return body.every(part => part === '') ? undefined : document(after.entity, 'partial', version, body)
}

function document(entity: string, state: 'full' | 'partial', version: number, body: readonly Xml[]): string {
  const attributes = { xmlns: namespace, 'xmlns:v': ownNamespace, entity, state, version }
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element('conference-info', attributes, ...body)}\n`
}
