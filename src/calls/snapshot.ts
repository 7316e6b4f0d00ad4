import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { Profile } from '../media/media.ts'
import type { RecordedLeg } from '../records/records.ts'
import type { DialogState } from '../sip/dialogs.ts'
import type { Party } from './headers.ts'

// What has to be known of an answered call to go on with it on another node, as a text. Version 2 may add to it what
// version 1 can do without: a reader takes its own version and the next one, and leaves out what it does not know.

/** The phone at one end, as far as it helps to find it again when its connection is gone. */
export interface Device {
  /** Contact URI that it gave. */
  contact: string
  /** RFC 5626 section 4.1. */
  instance?: string
  /** Call-ID of its registration. */
  registration?: string
}

/** One of the two dialogs. */
export interface LegSnapshot {
  party: Party
  device: Device
  profile: Profile
  /** Where its signalling came from. */
  address: string
  /** Its media passes the server. */
  anchored: boolean
  /** Methods that it allows; '' when it did not say. */
  allow: string
  /** It takes an INVITE in place of its dialog (RFC 3891). */
  knowsReplaces?: boolean
  /** It is our own web phone, which is told of recordings. */
  isWebPhone?: boolean
  /** What we told it last, and what it told us. */
  localSdp: string
  remoteSdp: string
  dialog: DialogState
}

/** An answered call. Times are in ms since 1970. */
export interface CallSnapshot {
  id: string
  /** AORs of the two. */
  from: string
  to: string
  started: number
  answered: number
  held: boolean
  /** Transfers that were asked for. */
  transfers: number
  /** A part of something that is recorded, such as a meeting. */
  unrecorded: boolean
  /** Its sound is being recorded. */
  recording?: boolean
  legs: [LegSnapshot, LegSnapshot]
  /** All who were rung or have joined, for the record. */
  involved: RecordedLeg[]
}

const version = 1
// Longer ones are deflated: those of two browsers, whose descriptions are long.
const plainChars = 4000
const mostChars = 65_536
const mostInflated = 1_048_576

/** The text of a snapshot; undefined when it would be longer than what may be kept. */
export function encodeSnapshot(call: CallSnapshot): string | undefined {
  // The two of a call that goes directly are told each other's descriptions: each is written once.
  const sdp: string[] = []
  const place = (text: string) => {
    const at = sdp.indexOf(text)
    return at === -1 ? sdp.push(text) - 1 : at
  }
  const legs = call.legs.map(leg => ({
    ...leg,
    localSdp: place(leg.localSdp),
    remoteSdp: place(leg.remoteSdp),
    dialog: { ...leg.dialog, localSdp: leg.dialog.localSdp === undefined ? undefined : place(leg.dialog.localSdp) },
  }))
  return pack({ version, ...call, legs, sdp })
}

/** Reads such a text; undefined when it is damaged or of a version that this one cannot read. */
export function decodeSnapshot(text: string): CallSnapshot | undefined {
  return read(unpack(text))
}

/** An object as a text, deflated when it is long; undefined when it would be longer than what may be kept. */
export function pack(value: object): string | undefined {
  const json = JSON.stringify(value)
  const text = json.length <= plainChars ? json : deflateRawSync(json).toString('base64')
  return text.length <= mostChars ? text : undefined
}

/** What such a text holds; undefined when it is damaged. */
export function unpack(text: string): unknown {
  try {
    const json = text.startsWith('{')
      ? text
      : inflateRawSync(Buffer.from(text, 'base64'), { maxOutputLength: mostInflated }).toString()
    return JSON.parse(json)
  } catch {
    // Cut off or no JSON at all; whoever asked says what it was.
    return undefined
  }
}

/** True for a version that this one can read: its own and the next one. */
export const isReadable = (written: unknown) => written === version || written === version + 1

export type Shape = {
  readonly [key: string]:
    | 'string'
    | 'number'
    | 'boolean'
    | 'list'
    | 'object'
    | `${'string' | 'number' | 'boolean' | 'object'}?`
}

const callShape: Shape = {
  id: 'string', from: 'string', to: 'string', started: 'number', answered: 'number', held: 'boolean',
  transfers: 'number', unrecorded: 'boolean', recording: 'boolean?', legs: 'list', involved: 'list', sdp: 'list',
} // biome-ignore format: one table
const legShape: Shape = {
  party: 'object', device: 'object', profile: 'string', address: 'string', anchored: 'boolean', allow: 'string',
  knowsReplaces: 'boolean?', isWebPhone: 'boolean?', localSdp: 'number', remoteSdp: 'number', dialog: 'object',
} // biome-ignore format: one table
export const dialogShape: Shape = {
  id: 'string', caller: 'boolean', callId: 'string', local: 'string', remote: 'string', localTag: 'string',
  remoteTag: 'string', localSequence: 'number', remoteSequence: 'number?', routes: 'list', target: 'string',
  contact: 'string', localSdp: 'number?', peerTakesUpdate: 'boolean', peerKnowsTimer: 'boolean', source: 'object',
} // biome-ignore format: one table
export const partyShape: Shape = { user: 'string', displayName: 'string' }
export const deviceShape: Shape = { contact: 'string', instance: 'string?', registration: 'string?' }

export type Fields = Record<string, unknown>

/** Whether these fields are there and of these kinds; others are let be. */
export function fits(value: unknown, shape: Shape): value is Fields {
  if (typeof value !== 'object' || value === null) return false
  const fields = value as Fields
  return Object.entries(shape).every(([key, kind]) => {
    const field = fields[key]
    if (kind === 'list') return Array.isArray(field)
    if (kind === 'object') return typeof field === 'object' && field !== null
    if (kind.endsWith('?')) return field === undefined || `${typeof field}?` === kind
    return typeof field === kind
  })
}

function read(value: unknown): CallSnapshot | undefined {
  if (!fits(value, callShape)) return undefined
  const { version: written, legs, sdp, involved } = value as { version: unknown } & Record<string, unknown[]>
  if (!isReadable(written)) return undefined
  if (!sdp!.every(text => typeof text === 'string') || legs!.length !== 2) return undefined
  if (!involved!.every(leg => fits(leg, { aor: 'string' }))) return undefined
  const read = legs!.map(leg => readLeg(leg, sdp as string[]))
  if (read[0] === undefined || read[1] === undefined) return undefined
  const { version: _version, sdp: _sdp, ...call } = value
  return { ...call, legs: [read[0], read[1]] } as CallSnapshot
}

function readLeg(value: unknown, sdp: readonly string[]): LegSnapshot | undefined {
  if (!fits(value, legShape)) return undefined
  const { party, device, dialog, localSdp, remoteSdp, profile } = value
  if (!fits(party, partyShape) || !fits(device, deviceShape) || !fits(dialog, dialogShape)) return undefined
  if (profile !== 'webrtc' && profile !== 'plain') return undefined
  const { localSdp: refreshed, ...state } = dialog
  const texts = [localSdp, remoteSdp, refreshed].map(at => sdp[at as number])
  if (texts[0] === undefined || texts[1] === undefined) return undefined
  return {
    ...value,
    localSdp: texts[0],
    remoteSdp: texts[1],
    dialog: { ...state, ...(texts[2] === undefined ? {} : { localSdp: texts[2] }) },
  } as unknown as LegSnapshot
}
