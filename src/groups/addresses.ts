import { randomInt } from 'node:crypto'
import type { Party } from '../calls/headers.ts'
import { escapeUser } from '../sip/engine/message/uri.ts'
import type { MeetingAddress } from './meeting-deps.ts'

/** The address that makes a new meeting for each who calls it (RFC 4579 section 5.4), and how addresses of those begin. */
export const factory = 'meet'
export const made = /^meet-[a-z0-9]{6}$/
const signs = 'abcdefghijkmnpqrstuvwxyz23456789'

/** The address of a new meeting that somebody makes. */
export function adHoc({ user, displayName }: Party): MeetingAddress {
  const random = Array.from({ length: 6 }, () => signs[randomInt(signs.length)]).join('')
  return { user: `${factory}-${random}`, displayName: `Meeting of ${displayName || user}`, group: undefined }
}

/** The Contact of a focus (RFC 4579). The engine puts our own address for the host, so that requests in the dialog come back the way they went. */
export function contactOf(user: string): string {
  return `<sip:${escapeUser(user)}@localhost>;isfocus`
}

/** Reads `<meeting>;epoch=<n>;from=<id>;to=<id>`. */
export function readPair(
  value: string | undefined,
): { meeting: string; epoch: number; from: number; to: number } | undefined {
  const found = /^([0-9a-f]{1,16});epoch=(\d{1,9});from=(\d{1,6});to=(\d{1,6})$/.exec((value ?? '').trim())
  if (found === null) return undefined
  const [, meeting = '', epoch, from, to] = found
  return { meeting, epoch: Number(epoch), from: Number(from), to: Number(to) }
}
