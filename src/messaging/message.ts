import { hash } from 'node:crypto'
import { mayCallAs, nameAddr, notUnderstood, type Party, tagOf } from '../calls/headers.ts'
import { asBranchStatus, bestOf } from '../calls/outcome.ts'
import type { Headers, Incoming } from '../calls/sip.ts'
import { Refusal } from '../errors.ts'

// A pager-mode message (RFC 3428) on its way to one person, and what of its request stays with it.

/** Plain JSON. */
export interface Message {
  /** Sorts by when it was accepted. */
  readonly id: string
  /** Whom it is for. */
  readonly user: string
  readonly from: Party
  /** The address that it was sent to: the person's, or that of a group. */
  readonly to: string
  /** The device that it is for alone, by its GRUU. */
  readonly gruu?: string
  readonly headers: Headers
  readonly body: string
  /** In ms since 1970: accepted, and of no use any more. */
  readonly at: number
  readonly ends: number
  /** What a repetition of its request is known by. */
  readonly key: string
  readonly cseq: number
  /** Devices that have it. */
  reached: string[]
}

/** What a MESSAGE says, before it is known whom it is for. */
export type Draft = Omit<Message, 'id' | 'user' | 'key' | 'reached'> & {
  readonly callId: string
  /** Worthless to who is not there: `Expires: 0`, and that somebody is typing (RFC 3994). */
  readonly fleeting: boolean
}

export interface MessageRules {
  mostBytes: number
  keepDays: number
}

const day = 86_400_000
// What goes on to the devices. The rest belongs to one leg, or makes a device do something that a stranger wants.
const passing = [
  'Content-Type',
  'Content-Disposition',
  'Content-Language',
  'Content-Encoding',
  'MIME-Version',
  'Subject',
  'Priority',
]
const composing = /^\s*application\/im-iscomposing\+xml\s*(;|$)/i

/** Throws Refusal: too long is 413, another sender 403, an unknown Require 420, what is no text 415, no hops left 483. */
export function readMessage(
  req: Incoming,
  sender: Party,
  to: string,
  rules: MessageRules,
  isOwn: (host: string) => boolean,
  now: number,
): Draft {
  const unknown = notUnderstood(req)
  if (unknown.length > 0)
    throw new Refusal('bad-extension', undefined, { headers: { Unsupported: unknown.join(', ') } })
  const hops = Number.parseInt(req.get('Max-Forwards') ?? '70', 10)
  if (hops <= 0) throw new Refusal('too-many-hops')
  const as = mayCallAs(req, sender.user, isOwn)
  if (as === 'forbidden') throw new Refusal('forbidden', 'Messages are sent only as oneself')
  const body = req.body ?? ''
  const bytes = Buffer.byteLength(body)
  if (bytes > rules.mostBytes) throw new Refusal('too-large', `More than ${rules.mostBytes} bytes`)
  const length = req.get('Content-Length')
  if (length !== undefined && Number(length) !== bytes) throw new Refusal('unsupported-media', 'The body is no UTF-8')
  const headers: Headers = { 'Max-Forwards': String(Math.min(70, hops - 1)) }
  for (const name of passing) {
    const value = req.get(name)
    if (value !== undefined && value !== '') headers[name] = value
  }
  const ends = Math.min(endOf(req, now), now + rules.keepDays * day)
  return {
    from: { user: sender.user, displayName: sender.displayName, hidden: as === 'hidden' },
    ...{ to, headers, body, at: now, ends },
    cseq: Number.parseInt(req.get('CSeq') ?? '0', 10),
    callId: `${req.get('Call-ID') ?? ''} ${tagOf(req.get('From'))}`,
    fleeting: ends <= now || composing.test(headers['Content-Type'] ?? ''),
  }
}

/** RFC 3428 section 7: so many seconds after its Date, or after it came. */
function endOf(req: Incoming, now: number): number {
  const expires = req.get('Expires')?.trim() ?? ''
  if (!/^\d{1,10}$/.test(expires)) return Number.POSITIVE_INFINITY
  const date = Date.parse(req.get('Date')?.slice(0, 64) ?? '')
  // A phone whose clock is ahead gives its message no longer life.
  return Math.min(Number.isNaN(date) ? now : date, now) + Number(expires) * 1000
}

/**
 * The copy for one person. Each repetition of a request gives the same key, and one with the same CSeq the same id but for the
 * time, so that even a device that gets both sees them as one.
 */
export function addressTo(draft: Draft, user: string): Message {
  const { callId, fleeting: _, ...rest } = draft
  const said = [draft.from.user, draft.to, user, callId, draft.headers['Content-Type'] ?? '', draft.body].join('\n')
  const key = hash('sha256', said, 'base64url').slice(0, 22)
  const same = hash('sha256', `${key} ${draft.cseq}`, 'hex').slice(0, 24)
  return { ...rest, user, key, id: `${draft.at.toString(36).padStart(9, '0')}-${same}`, reached: [] }
}

/** Headers of the request to one device: alike for each attempt, whichever node makes it. */
export function headersFor(message: Message, device: string, domain: string): Headers {
  const { id, from, to, headers, at, ends } = message
  const same = id.slice(id.indexOf('-') + 1)
  const sender = from.hidden
    ? '"Anonymous" <sip:anonymous@anonymous.invalid>'
    : nameAddr(from.displayName, from.user, domain)
  return {
    ...headers,
    From: `${sender};tag=${same.slice(0, 12)}`,
    To: `<${to}>`,
    'Call-ID': `${same}.${hash('sha256', device, 'hex').slice(0, 12)}`,
    CSeq: '1 MESSAGE',
    ...(from.hidden ? { Privacy: 'id' } : { 'P-Asserted-Identity': sender }),
    Date: new Date(at).toUTCString(),
    Expires: String(Math.max(0, Math.round((ends - at) / 1000))),
  }
}

/** What so many devices have said: one has it, all refuse it for good (with the status for the sender), or it waits. */
export type Outcome = 'taken' | 'unreachable' | { refused: number }

// Nobody is there, or not now, or a device knows no messages, as web phones do not (405, 501), and another one may come that
// does. All others know what they do not want.
const later = new Set([405, 408, 410, 480, 481, 486, 491, 500, 501, 502, 504, 600])

/** A device that has it already says 482, because the attempt of a node that died is not answered yet (RFC 3261 section 8.2.2.2). */
export const hasTaken = (status: number) => (status >= 200 && status < 300) || status === 482

export function judge(statuses: readonly number[]): Outcome {
  if (statuses.some(hasTaken)) return 'taken'
  const meant = statuses.map(asBranchStatus)
  return meant.length === 0 || meant.some(status => later.has(status)) ? 'unreachable' : { refused: bestOf(meant) }
}
