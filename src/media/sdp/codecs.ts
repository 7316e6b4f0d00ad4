import type { types } from 'mediasoup'
import { type MediaLine, whole } from './description.ts'

// What a phone may mean by a number without an rtpmap (RFC 3551 section 6).
const staticTypes: Record<number, [name: string, clockRate: number]> = {
  0: ['PCMU', 8000],
  3: ['GSM', 8000],
  4: ['G723', 8000],
  8: ['PCMA', 8000],
  9: ['G722', 8000],
  13: ['CN', 8000],
  18: ['G729', 8000],
}

/** The codecs of an m-line in its order, with what rtpmap, fmtp and rtcp-fb say of them (RFC 8866, RFC 4585). */
export function codecsOf(line: MediaLine): types.RtpCodecParameters[] {
  const found = new Map<number, types.RtpCodecParameters>()
  for (const text of (line.payloads ?? '').split(' ')) {
    const payloadType = whole(text, 127)
    if (payloadType === undefined || found.has(payloadType)) continue
    const codec = codecOf(line, payloadType)
    if (codec !== undefined) found.set(payloadType, codec)
  }
  for (const { payload, config } of line.fmtp) {
    const codec = found.get(payload)
    if (codec !== undefined && config !== undefined) Object.assign(codec.parameters!, parametersOf(String(config)))
  }
  for (const { payload, type, subtype } of line.rtcpFb ?? []) {
    const feedback = { type: String(type), parameter: subtype === undefined ? '' : String(subtype) }
    for (const [number, codec] of found) {
      if (payload === '*' || payload === number) codec.rtcpFeedback!.push(feedback)
    }
  }
  return [...found.values()]
}

function codecOf(line: MediaLine, payloadType: number): types.RtpCodecParameters | undefined {
  const map = line.rtp.find(one => one.payload === payloadType)
  const [name, rate] = map === undefined ? (staticTypes[payloadType] ?? []) : [String(map.codec), map.rate]
  const clockRate = whole(rate, 10_000_000)
  if (name === undefined || name === '' || clockRate === undefined || clockRate === 0) return undefined
  const codec: types.RtpCodecParameters = {
    mimeType: `${line.type}/${name}`,
    payloadType,
    clockRate,
    parameters: {},
    rtcpFeedback: [],
  }
  if (line.type === 'audio') codec.channels = whole(map?.encoding, 255) || 1
  return codec
}

// Numbers become numbers, because mediasoup compares `packetization-mode`, `profile-id` and `apt` so; a profile-level-id of
// digits alone stays a text.
function parametersOf(config: string): Record<string, string | number> {
  const parameters: Record<string, string | number> = {}
  for (const part of config.split(';')) {
    const at = part.indexOf('=')
    const key = (at < 0 ? part : part.slice(0, at)).trim()
    if (key === '' || key === '__proto__') continue
    const value = at < 0 ? '' : part.slice(at + 1).trim()
    const number = key === 'profile-level-id' || value.length > 9 ? undefined : whole(value, 999_999_999)
    parameters[key] = number !== undefined && String(number) === value ? number : value
  }
  return parameters
}

/** `key=value;key=value` as after a=fmtp, or an empty text. */
export function formatParameters(parameters: Record<string, unknown> | undefined): string {
  return Object.entries(parameters ?? {})
    .map(([key, value]) => (value === '' || value === undefined ? key : `${key}=${value}`))
    .join(';')
}

/** The encoding name, as SDP writes it. */
export function nameOf(codec: { mimeType: string }): string {
  return codec.mimeType.slice(codec.mimeType.indexOf('/') + 1)
}

/** Whether the codec has this encoding name; case does not count (RFC 8866 section 6.6). */
export function isNamed(codec: { mimeType: string }, name: string): boolean {
  return nameOf(codec).toLowerCase() === name.toLowerCase()
}

// What comes along with a codec and carries no voice or picture of its own.
const companions = new Set(['rtx', 'red', 'ulpfec', 'flexfec-03', 'cn', 'telephone-event'])

/** Whether it carries media by itself. */
export function isMedia(codec: { mimeType: string }): boolean {
  return !companions.has(nameOf(codec).toLowerCase())
}

type Comparable = Pick<types.RtpCodecParameters, 'mimeType' | 'clockRate' | 'channels' | 'parameters'>

/** Whether packets of one codec are packets of the other: name, clock, channels, and what mediasoup tells apart besides. */
export function sameCodec(one: Comparable, other: Comparable): boolean {
  if (one.mimeType.toLowerCase() !== other.mimeType.toLowerCase() || one.clockRate !== other.clockRate) return false
  if ((one.channels ?? 1) !== (other.channels ?? 1)) return false
  const [mine, theirs] = [one.parameters ?? {}, other.parameters ?? {}]
  if (isNamed(one, 'VP9')) return (mine['profile-id'] || 0) === (theirs['profile-id'] || 0)
  if (!isNamed(one, 'H264')) return true
  const sameMode = (mine['packetization-mode'] || 0) === (theirs['packetization-mode'] || 0)
  return sameMode && isConstrainedBaseline(mine) && isConstrainedBaseline(theirs)
}

// RFC 6184 section 8.1, table 5; the only H.264 profile that every browser has.
function isConstrainedBaseline(parameters: Record<string, unknown>): boolean {
  const text = String(parameters['profile-level-id'] ?? '42e01f')
  const [idc, iop] = [Number.parseInt(text.slice(0, 2), 16), Number.parseInt(text.slice(2, 4), 16)]
  if (text.length !== 6 || Number.isNaN(iop) || (iop & 0x0f) !== 0) return false
  return (idc === 0x42 && (iop & 0x40) !== 0) || (idc === 0x4d && (iop & 0x80) !== 0) || (idc === 0x58 && iop >= 0xc0)
}
