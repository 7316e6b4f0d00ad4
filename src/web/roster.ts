// The conference event package (RFC 4575) with our extension (docs/meetings.md), as far as the phone shows it.

export type Shape = 'direct' | 'mesh' | 'sfu'

export interface RosterMember {
  id: number
  /** Address of this very device. */
  entity: string
  aor: string
  name: string
  moderator: boolean
  mesh: boolean
  muted: boolean
  held: boolean
}

export interface Roster {
  version: number
  title: string
  active: boolean
  locked: boolean
  meeting: string
  recording: boolean
  adhoc: boolean
  shape: Shape
  epoch: number
  preparing: boolean
  /** The way that is taken until what is being prepared is there. */
  settled: Shape
  /** Who takes part in a `direct` or `mesh`. */
  meshed: readonly number[]
  speaker: number | undefined
  members: readonly RosterMember[]
  /** Who is being called. */
  ringing: readonly { aor: string; name: string }[]
}

/** What is needed of an XML element; a DOM element is one. */
export interface Xml {
  readonly localName: string
  readonly textContent: string | null
  getAttribute(name: string): string | null
  readonly children: Iterable<Xml>
}

export const emptyRoster: Roster = {
  version: -1,
  title: '',
  active: false,
  locked: false,
  meeting: '',
  recording: false,
  adhoc: false,
  shape: 'sfu',
  epoch: 0,
  preparing: false,
  settled: 'sfu',
  meshed: [],
  speaker: undefined,
  members: [],
  ringing: [],
}

/** The roster after a document; undefined when a version was missed and a full one must be asked for. */
export function applyDocument(before: Roster, document: Xml): Roster | undefined {
  const version = Number(document.getAttribute('version') ?? 0)
  const full = document.getAttribute('state') !== 'partial'
  if (!full && version <= before.version) return before
  if (!full && version !== before.version + 1) return undefined
  const state = child(document, 'conference-state')
  const description = child(document, 'conference-description')
  const meeting = child(document, 'meeting')
  const topology = child(document, 'topology')
  const speaker = child(document, 'speaker')
  const base = full ? emptyRoster : before
  return {
    ...base,
    ...(description && { title: text(child(description, 'display-text')) }),
    ...(state && { active: text(child(state, 'active')) !== 'false', locked: text(child(state, 'locked')) === 'true' }),
    ...(meeting && {
      meeting: meeting.getAttribute('id') ?? '',
      recording: meeting.getAttribute('recording') === 'true',
      adhoc: meeting.getAttribute('adhoc') === 'true',
    }),
    ...(topology && readTopology(topology, before)),
    ...(speaker && { speaker: number(speaker.getAttribute('member')) }),
    ...readUsers(base, child(document, 'users')),
    version,
  }
}

function readTopology(
  topology: Xml,
  before: Roster,
): Pick<Roster, 'shape' | 'epoch' | 'preparing' | 'settled' | 'meshed'> {
  const told = topology.getAttribute('shape')
  const shape = told === 'direct' || told === 'mesh' ? told : 'sfu'
  const members = topology.getAttribute('members') ?? ''
  const preparing = topology.getAttribute('state') === 'preparing'
  return {
    shape,
    epoch: Number(topology.getAttribute('epoch') ?? 0),
    preparing,
    settled: preparing ? before.settled : shape,
    meshed: members.split(' ').filter(Boolean).map(Number),
  }
}

/** Each user stands whole in a document: it replaces the one of that address, or takes it away. */
function readUsers(base: Roster, users: Xml | undefined): Pick<Roster, 'members' | 'ringing'> {
  const whole = users !== undefined && users.getAttribute('state') === 'full'
  let members = whole ? [] : [...base.members]
  let ringing = whole ? [] : [...base.ringing]
  for (const user of users === undefined ? [] : children(users, 'user')) {
    const aor = user.getAttribute('entity') ?? ''
    members = members.filter(one => one.aor !== aor)
    ringing = ringing.filter(one => one.aor !== aor)
    if (user.getAttribute('state') === 'deleted') continue
    const name = text(child(user, 'display-text')) || aor.replace(/^sips?:/, '').replace(/@.*$/, '')
    const moderator = [...children(child(user, 'roles'), 'entry')].some(role => text(role) === 'moderator')
    for (const endpoint of children(user, 'endpoint')) {
      const status = text(child(endpoint, 'status'))
      const member = child(endpoint, 'member')
      const id = number(member?.getAttribute('id') ?? null)
      if (member === undefined || id === undefined) {
        if (status === 'alerting') ringing.push({ aor, name })
        continue
      }
      members.push({
        id,
        entity: endpoint.getAttribute('entity') ?? '',
        aor,
        name,
        moderator,
        mesh: member.getAttribute('mesh') === 'true',
        muted: member.getAttribute('muted') === 'true',
        held: status === 'on-hold',
      })
    }
  }
  return { members: members.sort((one, other) => one.id - other.id), ringing }
}

function child(parent: Xml | undefined, name: string): Xml | undefined {
  return children(parent, name)[0]
}

function children(parent: Xml | undefined, name: string): Xml[] {
  return parent === undefined ? [] : [...parent.children].filter(one => one.localName === name)
}

function text(element: Xml | undefined): string {
  return element?.textContent?.trim() ?? ''
}

function number(value: string | null): number | undefined {
  return value !== null && /^\d+$/.test(value) ? Number(value) : undefined
}
