import { bytes, parseNameAddr } from '../sip/engine/message/message.ts'
import { escapeUser, unescapeUser } from '../sip/engine/message/uri.ts'
import type { Headers, Message } from './sip.ts'

// What crosses from one leg to the other: only what stands here. Via, Record-Route, Contact, User-Agent, credentials and
// P- headers belong to one leg. Alert-Info and Call-Info stay out because they make phones answer by themselves or
// fetch what a stranger names.
const content = ['Content-Type', 'Content-Disposition', 'Content-Language', 'Content-Encoding', 'MIME-Version']
const inviteHeaders = [...content, 'Subject', 'Date', 'Accept', 'Accept-Language', 'Priority']
const midCallHeaders = [...content, 'Accept', 'Subject', 'Event', 'Subscription-State', 'Info-Package', 'Recv-Info']
const answerHeaders = [...content, 'Accept', 'Retry-After', 'Warning', 'Unsupported']

/** What this server understands (RFC 3261 section 20.5). */
export const allow = 'INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, MESSAGE, NOTIFY'
const understood = new Set(['timer', '100rel', 'replaces', 'gruu', 'outbound', 'path', 'norefersub'])

function pick(message: Message, names: readonly string[]): Headers {
  const picked: Headers = {}
  for (const name of names) {
    const value = message.get(name)
    if (value !== undefined && value !== '') picked[name] = value
  }
  return picked
}

export const fromInvite = (message: Message): Headers => pick(message, inviteHeaders)
export const fromMidCall = (message: Message): Headers => pick(message, midCallHeaders)
export const fromAnswer = (message: Message): Headers => pick(message, answerHeaders)

/** True when a list header (Supported, Require, Allow) names `option`. */
export function names(message: Message, header: string, option: string): boolean {
  const wanted = option.toLowerCase()
  return (message.get(header) ?? '').split(',').some(word => word.trim().toLowerCase() === wanted)
}

/** Option tags of Require that nobody here understands: the answer is 420 with Unsupported (RFC 3261 section 8.2.2.3). */
export function notUnderstood(message: Message): string[] {
  return (message.get('Require') ?? '')
    .split(',')
    .map(option => option.trim().toLowerCase())
    .filter(option => option !== '' && !understood.has(option))
}

/** `"Name" <sip:user@host>`, the name quoted and without control characters. */
export function nameAddr(displayName: string, user: string, host: string): string {
  const uri = `<sip:${escapeUser(user)}@${host}>`
  const clean = displayName.replace(/[\u0000-\u001f\u007f]/g, ' ').trim()
  return clean === '' ? uri : `"${clean.replace(/["\\]/g, '\\$&')}" ${uri}`
}

export interface Party {
  user: string
  displayName: string
  /** Set when this party wants its name hidden from the other. */
  hidden?: boolean
}

/** Who calls, for the callee: from the account, never from what the caller claims (RFC 3325, RFC 3323 section 4.1). */
export function identity(caller: Party, domain: string): Headers {
  if (caller.hidden) return { From: '"Anonymous" <sip:anonymous@anonymous.invalid>', Privacy: 'id' }
  const address = nameAddr(caller.displayName, caller.user, domain)
  return { From: address, 'P-Asserted-Identity': address }
}

/** Whether a caller who proved to be `user` may send this From: as itself, or with its name hidden. */
export function mayCallAs(
  request: Message,
  user: string,
  isOwn: (host: string) => boolean,
): 'itself' | 'hidden' | 'forbidden' {
  const from = readAddress(request.get('From'))
  if (from === undefined) return 'forbidden'
  if (from.host === 'anonymous.invalid') return 'hidden'
  if (from.user.toLowerCase() !== user.toLowerCase() || !isOwn(from.host)) return 'forbidden'
  return wantsPrivacy(request.get('Privacy')) ? 'hidden' : 'itself'
}

/** RFC 3323 section 4.2 and RFC 3325 section 9.3: any of these hides who calls. */
function wantsPrivacy(value: string | undefined): boolean {
  return /(^|[\s;,])(id|user|header)($|[\s;,])/i.test((value ?? '').slice(0, 256))
}

/** User and host of a From, To or Refer-To value; undefined when it is malformed or has no user. */
export function readAddress(
  value: string | undefined,
): { user: string; host: string; uriText: string; headers: string } | undefined {
  if (value === undefined) return undefined
  try {
    const { uri, uriText } = parseNameAddr(bytes(value))
    if (uri?.user === undefined) return undefined
    return { user: unescapeUser(uri.user), host: uri.host, uriText, headers: uri.headers }
  } catch {
    // A malformed value is one that names nobody; the caller answers for it.
    return undefined
  }
}

/** The device that a Contact names, also by its public GRUU (RFC 5627 section 3.1); nothing where there is none. */
export function readDevice(message: Message): { contact?: string; instance?: string } {
  const value = message.get('Contact') ?? ''
  const contact = /<([^>]*)>/.exec(value)?.[1]
  if (contact === undefined) return {}
  const instance = /;\s*\+sip\.instance="<([^">]*)>"/i.exec(value)?.[1] ?? /;gr=(urn:[^;?]*)/i.exec(contact)?.[1]
  return { contact, ...(instance === undefined ? {} : { instance }) }
}

/** The tag of a From or To value; '' when it has none. */
export function tagOf(value: string | undefined): string {
  return /;\s*tag=([^;\s>]+)/i.exec(value ?? '')?.[1] ?? ''
}

/** Headers of an INVITE that opens a leg: what we can, and our own session timer (RFC 4028 section 7.1). */
export function opening(config: { sessionExpires: number; minSe: number }, reliable: boolean): Headers {
  return {
    Allow: allow,
    Supported: reliable ? 'timer, replaces, 100rel' : 'timer, replaces',
    'Session-Expires': String(Math.max(config.sessionExpires, config.minSe)),
    'Min-SE': String(config.minSe),
  }
}

/**
 * Session-Expires of our 2xx: the shorter of both wishes. We refresh unless the caller asked for that duty (the engine
 * knows and adds `Require: timer`, RFC 4028 section 9).
 */
export function accepting(request: Message, config: { sessionExpires: number; minSe: number }): Headers {
  const asked = Number.parseInt(request.get('Session-Expires') ?? '', 10)
  const wish = asked > 0 ? Math.min(asked, config.sessionExpires) : config.sessionExpires
  const refresher = /refresher\s*=\s*uac/i.test(request.get('Session-Expires') ?? '') ? 'uac' : 'uas'
  return {
    Allow: allow,
    Supported: 'timer, replaces',
    'Session-Expires': `${Math.max(wish, config.minSe)};refresher=${refresher}`,
  }
}

/** Who a party now talks with, for requests and answers that tell (RFC 3325). */
export function asserted(party: Party, domain: string): Headers {
  return party.hidden ? {} : { 'P-Asserted-Identity': nameAddr(party.displayName, party.user, domain) }
}

/** A Reason header (RFC 3326) with its text quoted. */
export function reasonHeader(status: number, text: string): Headers {
  return { Reason: `SIP;cause=${status};text="${text.replace(/["\\\r\n]/g, ' ')}"` }
}

/** Headers of a Refusal as drachtio-srf takes them. */
export function flat(headers: Readonly<Record<string, string | string[]>>): Headers {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}

/** The body of a message as an option of our own one, with its type where that is not plain SDP. */
export function bodyOf(message: Message): { body?: string; headers?: Headers } {
  if (!message.body) return {}
  const type = message.get('Content-Type')
  return { body: message.body, ...(type ? { headers: { 'Content-Type': type } } : {}) }
}
