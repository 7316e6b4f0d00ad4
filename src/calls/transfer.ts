import { Refusal } from '../errors.ts'
import { bytes, parseNameAddr } from '../sip/engine/message/message.ts'
import { splitList } from '../sip/engine/message/syntax.ts'
import { unescapeUser } from '../sip/engine/message/uri.ts'
import { names } from './headers.ts'
import type { Message } from './sip.ts'

/** The dialog that a Replaces header names (RFC 3891 section 6.1), seen from whoever receives it. */
export interface Replaces {
  callId: string
  toTag: string
  fromTag: string
  earlyOnly: boolean
}

/** What a REFER asks for: to ring a person, or to connect with the far end of another dialog. */
export interface Wish {
  /** Undefined only when there is `replaces`: that dialog is found by itself. */
  user: string | undefined
  replaces: Replaces | undefined
  /** No NOTIFY is wanted (RFC 4488). */
  silent: boolean
}

/** Reads a Replaces value; undefined when it is malformed. */
export function readReplaces(value: string): Replaces | undefined {
  const [callId = '', ...params] = value.split(';', 16).map(part => part.trim())
  const found = new Map(params.map(param => splitOnce(param, '=')))
  const [toTag, fromTag] = [found.get('to-tag'), found.get('from-tag')]
  if (callId === '' || value.includes(',') || !toTag || !fromTag) return undefined
  return { callId, toTag, fromTag, earlyOnly: found.has('early-only') }
}

/**
 * Reads a REFER (RFC 3515 section 2.4). Throws Refusal: not exactly one readable Refer-To is 400, a person of another
 * domain or another method than INVITE 403: nobody is transferred to where nobody could call.
 */
export function readRefer(request: Message, isOwn: (host: string) => boolean): Wish {
  const values = splitList(request.get('Refer-To') ?? '')
  const uri = values.length === 1 ? readUri(values[0]!) : undefined
  if (uri === undefined) throw new Refusal('bad-request', 'One Refer-To is needed')
  const silent = (request.get('Refer-Sub') ?? '').trim().toLowerCase().startsWith('false')
  if ((uri.params.get('method') ?? 'INVITE').toUpperCase() !== 'INVITE') throw new Refusal('forbidden')
  const headers = new Map(uri.headers.split('&').map(header => splitOnce(header, '=')))
  const wanted = headers.get('replaces')
  const replaces = wanted === undefined ? undefined : readReplaces(unescapeUser(wanted))
  if (wanted !== undefined && replaces === undefined) throw new Refusal('bad-request', 'Replaces is malformed')
  const user = uri.user === undefined ? undefined : unescapeUser(uri.user)
  if (replaces) return { user, replaces, silent }
  if (user === undefined) throw new Refusal('not-found')
  if (uri.scheme !== 'tel' && !isOwn(uri.host)) throw new Refusal('forbidden', 'Calls to other domains are not relayed')
  return { user, replaces, silent }
}

/**
 * Whether `user` may take the place of a leg of `owner`'s (RFC 3891 section 3 leaves that to policy): only another device
 * of the same account. Who is merely told the ids of a dialog gets no call by that.
 */
export function mayReplace(user: string, owner: string): boolean {
  return user === owner
}

/** Whether the dialog of a leg is the one meant. Some phones swap the tags, and no dialog has both. */
export function isMeant(wanted: Replaces, callId: string, one: string, other: string): boolean {
  if (wanted.callId !== callId) return false
  const { toTag, fromTag } = wanted
  return (toTag === one && fromTag === other) || (toTag === other && fromTag === one)
}

/** True when an INVITE is meant to take the place of a dialog. */
export function hasReplaces(request: Message): boolean {
  return request.has('Replaces')
}

/** A sender that wants no subscription must be told that there is none (RFC 4488 section 4). */
export function referAnswer(wish: Wish, request: Message): Record<string, string> {
  if (wish.silent) return { 'Refer-Sub': 'false' }
  return names(request, 'Supported', 'norefersub') ? { 'Refer-Sub': 'true' } : {}
}

function readUri(value: string) {
  try {
    // Baresip leaves the angle brackets out where RFC 3261 section 20 wants them, before a question mark.
    const { uri } = parseNameAddr(bytes(value.includes('<') ? value : `<${value}>`))
    return uri && ['sip', 'sips', 'tel'].includes(uri.scheme) ? uri : undefined
  } catch {
    // A malformed value names nobody; the caller of this refuses it.
    return undefined
  }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at === -1
    ? [text.trim().toLowerCase(), '']
    : [text.slice(0, at).trim().toLowerCase(), text.slice(at + 1).trim()]
}
