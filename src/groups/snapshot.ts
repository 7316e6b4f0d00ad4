import {
  deviceShape,
  dialogShape,
  type Fields,
  fits,
  isReadable,
  type LegSnapshot,
  pack,
  partyShape,
  type Shape,
  unpack,
} from '../calls/snapshot.ts'
import type { Topology } from '../events.ts'
import type { Stream } from '../media/media.ts'
import type { DialogState } from '../sip/dialogs.ts'
import type { Followed } from './board.ts'
import type { Person } from './person.ts'
import type { Group } from './store.ts'
import type { ShapeChoice } from './topology.ts'

// What has to be known of a meeting to go on with it on another node: one text for the meeting, which says who is in it,
// and one for each member. A hundred browsers' descriptions would not fit into one. As with calls, a reader takes its own
// version and the next one, and leaves out what it does not know.

/** How media flowed before any change that was under way. */
export interface ShapeSnapshot {
  settled: Topology
  meshed: readonly number[]
  epoch: number
  /** What was chosen, why and since when, and when what has failed may be tried again. Times are in ms since 1970. */
  tried?: Tried | undefined
}

export interface Tried {
  choice: ShapeChoice
  notBefore: number
  retryMs: number
  brokenUntil: number
}

/** Times are in ms since 1970. */
export interface MeetingSnapshot {
  id: string
  /** User of its address. */
  user: string
  displayName: string
  /** Undefined for an ad-hoc meeting. */
  group: Group | undefined
  began: number
  locked: boolean
  recording: boolean
  /** The last member id that was given. */
  lastId: number
  peak: number
  /** AORs of all who were ever in. */
  were: readonly string[]
  members: readonly number[]
  shape: ShapeSnapshot
}

/** One device in a meeting, and its dialog with the focus. */
export interface MemberSnapshot {
  meeting: string
  id: number
  person: Person
  joining: 'dialed-in' | 'dialed-out'
  /** ISO 8601, UTC. */
  since: string
  muted: boolean
  held: boolean
  aware: boolean
  wantsMesh: boolean
  mesh: boolean
  /** URI of its Contact, by which the roster names it. */
  contact: string
  /** m-lines of its leg, as we would write them; of one that was put to rest those that it had before. */
  streams: readonly Stream[]
  leg: LegSnapshot
  /** How its user follows the roster; of one who is in with several devices the first one has them all. */
  follows?: readonly FollowSnapshot[] | undefined
}

export interface FollowSnapshot extends Followed {
  dialog: DialogState
}

/** By these the replication finds what is kept of a meeting. No dialog's name has spaces. */
export const meetingName = (meeting: string) => `meeting ${meeting}`
export const memberName = (meeting: string, id: number) => `meeting ${meeting} ${id}`
/** The id under which a member is kept; a meeting has its own. */
export const memberItem = (meeting: string, id: number) => `${meeting}.${id}`
/** The meeting and, of a member, its id. */
export function readItem(item: string): { meeting: string; member: number | undefined } {
  const [meeting = '', member] = item.split('.')
  return { meeting, member: member === undefined ? undefined : Number(member) }
}

const version = 1

/** The text of a meeting; undefined when it would be longer than what may be kept. */
export function encodeMeeting(meeting: MeetingSnapshot): string | undefined {
  return pack({ version, ...meeting })
}

/** The text of a member; undefined when it would be longer than what may be kept. */
export function encodeMember(member: MemberSnapshot): string | undefined {
  const { dialog, ...leg } = member.leg
  // What the engine repeats for session refreshes is what we said last.
  const { localSdp, ...state } = dialog
  return pack({ version, ...member, leg: { ...leg, dialog: state, refreshes: localSdp !== undefined } })
}

const meetingShape: Shape = {
  id: 'string', user: 'string', displayName: 'string', group: 'object?', began: 'number', locked: 'boolean',
  recording: 'boolean', lastId: 'number', peak: 'number', were: 'list', members: 'list', shape: 'object',
} // biome-ignore format: one table
const shapeShape: Shape = { settled: 'string', meshed: 'list', epoch: 'number', tried: 'object?' }
const triedShape: Shape = { choice: 'object', notBefore: 'number', retryMs: 'number', brokenUntil: 'number' }
const choiceShape: Shape = { shape: 'string', since: 'number', why: 'string', fewSince: 'number?' }
const groupShape: Shape = { name: 'string', members: 'list', moderators: 'list', ring: 'string' }
const memberShape: Shape = {
  meeting: 'string', id: 'number', person: 'object', joining: 'string', since: 'string', muted: 'boolean',
  held: 'boolean', aware: 'boolean', wantsMesh: 'boolean', mesh: 'boolean', contact: 'string', streams: 'list', leg: 'object',
} // biome-ignore format: one table
const followShape: Shape = { id: 'string', event: 'string', endsAt: 'number', dialog: 'object' }
const personShape: Shape = { user: 'string', displayName: 'string', moderator: 'boolean' }
const legShape: Shape = {
  party: 'object', device: 'object', profile: 'string', address: 'string', allow: 'string', localSdp: 'string',
  remoteSdp: 'string', dialog: 'object', refreshes: 'boolean',
} // biome-ignore format: one table

const areAll = (list: unknown, kind: 'string' | 'number') => (list as unknown[]).every(one => typeof one === kind)
const topologies: readonly unknown[] = ['direct', 'mesh', 'sfu'] satisfies Topology[]

/** Reads the text of a meeting; undefined when it is damaged or of a version that this one cannot read. */
export function decodeMeeting(text: string): MeetingSnapshot | undefined {
  const value = unpack(text)
  if (!fits(value, meetingShape) || !isReadable(value['version'])) return undefined
  const { shape, group, members, were } = value
  if (!fits(shape, shapeShape) || !topologies.includes(shape['settled'])) return undefined
  const { tried } = shape
  if (tried !== undefined && !(fits(tried, triedShape) && fits(tried['choice'], choiceShape))) return undefined
  if (group !== undefined && !fits(group, groupShape)) return undefined
  if (!areAll(members, 'number') || !areAll(were, 'string') || !areAll(shape['meshed'], 'number')) return undefined
  return without(value) as unknown as MeetingSnapshot
}

/** Reads the text of a member; undefined when it is damaged or of a version that this one cannot read. */
export function decodeMember(text: string): MemberSnapshot | undefined {
  const value = unpack(text)
  if (!fits(value, memberShape) || !isReadable(value['version'])) return undefined
  const { person, joining, leg, follows = [] } = value
  if (!Array.isArray(follows) || !follows.every(one => fits(one, followShape))) return undefined
  if (!fits(person, personShape) || (joining !== 'dialed-in' && joining !== 'dialed-out')) return undefined
  if (!fits(leg, legShape) || !fits(leg['dialog'], dialogShape)) return undefined
  if (!fits(leg['party'], partyShape) || !fits(leg['device'], deviceShape)) return undefined
  const { dialog, refreshes, localSdp, ...rest } = leg
  const state = { ...(dialog as Fields), ...(refreshes ? { localSdp } : {}) }
  return { ...without(value), leg: { ...rest, localSdp, dialog: state } } as unknown as MemberSnapshot
}

function without({ version: _version, ...rest }: Fields): Fields {
  return rest
}
