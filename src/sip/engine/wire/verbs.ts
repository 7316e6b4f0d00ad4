import type { Answer, AppMessage, Meta } from '../dialog/app.ts'

// Leaders of the admin protocol by name: what applications say, and how answers and messages are put.

export type Command =
  | { verb: 'authenticate'; id: string; secret: string; tags: string[] }
  | { verb: 'route' | 'remove_route'; id: string; name: string }
  | { verb: 'ping'; id: string }
  | { verb: 'sip'; id: string; transaction: string; dialog: string; nextHop: string; sip: AppMessage }
  | { verb: 'proxy'; id: string; transaction: string; options: ProxyFields; sip: AppMessage }
  | { verb: 'dialog_read' | 'dialog_forget'; id: string; dialog: string }
  | { verb: 'dialog_install'; id: string; nextHop: string; state: string }

export interface ProxyFields {
  recordRoute: boolean
  fullResponse: boolean
  followRedirects: boolean
  forking: 'serial' | 'simultaneous'
  provisionalTimeoutMs: number | undefined
  finalTimeoutMs: number | undefined
  targets: string[]
}

/** A frame that is none: answered `NO`, and the connection is closed. */
export class VerbError extends Error {
  override readonly name = 'VerbError'
  readonly id: string

  constructor(id: string, text: string) {
    super(text)
    this.id = id
  }
}

/**
 * What the answer to `authenticate` names as the version: srf reads drachtio-server's numbers in it, and what follows says
 * that this engine knows the verbs `dialog_…`, which no drachtio-server does.
 */
export const engineVersion = 'v0.9.10+dialogs'

/** Reads one payload. Throws VerbError. */
export function parseCommand(payload: Buffer): Command {
  const cr = payload.indexOf('\r\n')
  const leader = payload.toString('utf8', 0, cr < 0 ? payload.length : cr)
  const fields = leader.split('|')
  const [id = '', verb = '', first = '', second = '', third = ''] = fields
  if (fields.length < 2 || id === '') throw new VerbError(id, 'invalid message')
  switch (verb) {
    case 'authenticate':
      return { verb, id, secret: first, tags: second.split(',').filter(tag => tag !== '') }
    case 'route':
    case 'remove_route':
      return { verb, id, name: first.toLowerCase() }
    case 'ping':
      return { verb, id }
    case 'sip':
      return { verb, id, transaction: first, dialog: second, nextHop: third, sip: cutMessage(id, payload, cr) }
    case 'proxy':
      return { verb, id, transaction: first, options: proxyFields(fields), sip: cutMessage(id, payload, cr) }
    case 'dialog_read':
    case 'dialog_forget':
      return { verb, id, dialog: first }
    case 'dialog_install':
      return { verb, id, nextHop: first, state: cr < 0 ? '' : payload.toString('utf8', cr + 2) }
    default:
      throw new VerbError(id, `unknown verb ${verb.slice(0, 32)}`)
  }
}

function proxyFields(fields: string[]): ProxyFields {
  return {
    recordRoute: fields[3] === 'remainInDialog',
    fullResponse: fields[4] === 'fullResponse',
    followRedirects: fields[5] === 'followRedirects',
    forking: fields[6] === 'simultaneous' ? 'simultaneous' : 'serial',
    provisionalTimeoutMs: parseDuration(fields[7] ?? ''),
    finalTimeoutMs: parseDuration(fields[8] ?? ''),
    targets: fields.slice(9).filter(target => target !== ''),
  }
}

/** `2s`, `700ms`, or a bare number of seconds, in milliseconds. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9})(ms|s)?$/.exec(text)
  if (!match) return undefined
  return Number(match[1]) * (match[2] === 'ms' ? 1 : 1000)
}

// The body is everything after the empty line: drachtio-srf counts Content-Length in UTF-16 units, so it is not asked.
function cutMessage(id: string, payload: Buffer, cr: number): AppMessage {
  if (cr < 0) throw new VerbError(id, 'missing sip message')
  const start = cr + 2
  const end = payload.indexOf('\r\n\r\n', start)
  const head = payload.toString('latin1', start, end < 0 ? payload.length : end)
  const body = end < 0 ? Buffer.alloc(0) : Buffer.from(payload.subarray(end + 4))
  const [startLine = '', ...lines] = head.split('\r\n')
  const headers: [string, string][] = []
  for (const line of lines) {
    const last = headers[headers.length - 1]
    if (last && (line.startsWith(' ') || line.startsWith('\t'))) last[1] += ` ${line.trim()}`
    const colon = line.indexOf(':')
    if (colon > 0) headers.push([line.slice(0, colon).trim(), line.slice(colon + 1).trim()])
  }
  return { startLine, headers, body }
}

let second = -1
let secondText = ''

/** Time of day in UTC as the protocol writes it. Each frame has one, so that of a second is kept. */
export function stackTime(now: Date): string {
  const ms = now.getTime()
  const current = Math.floor(ms / 1000)
  if (current !== second) {
    second = current
    secondText = now.toISOString().slice(11, 20)
  }
  return `${secondText}${String(ms - current * 1000).padStart(3, '0')}000`
}

/** Leader of a request or response that an application is shown. */
export function showLeader(id: string, meta: Meta, time: string): string {
  const port = meta.protocol === '' && meta.address === '' ? 0 : meta.port
  const base = `${id}|sip|${meta.source}|${meta.bytes}|${meta.protocol}|${meta.address}|${port}|${time}|${meta.transaction}|${meta.dialog}|`
  if (!meta.received) return base
  return `${base}${meta.received.address}|${meta.received.port}|${meta.flow ?? ''}|`
}

/** Leader of the answer to a `sip` frame; the layouts for requests and responses differ (sections 8 and 9). */
export function answerLeader(id: string, to: string, answer: Answer, time: string): string {
  if (!answer.ok) return `${id}|response|${to}|NOK|${answer.text}`
  const { meta } = answer
  const base = `${id}|response|${to}|OK|application|${meta.bytes}|${meta.protocol}|${meta.address}|${meta.port}|${time}|${meta.transaction}|`
  return answer.kind === 'request' ? `${base}Msg sent:|` : `${base}${meta.dialog}||Msg sent:|`
}

/** Leader of one final answer of a proxied request; `continue` must be field 12. */
export function continueLeader(id: string, to: string, meta: Meta, time: string): string {
  return `${id}|response|${to}|OK|network|${meta.bytes}|${meta.protocol}|${meta.address}|${meta.port}|${time}|||continue`
}
