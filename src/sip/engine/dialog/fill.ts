import { randomFillSync } from 'node:crypto'
import { formatNameAddr, parseNameAddr, type SipMessage } from '../message/message.ts'
import { formatUri } from '../message/uri.ts'
import type { Flow } from '../transport/transport.ts'

// What the engine adds to an application's text, and what it takes away (WIRE-PROTOCOL 8, 9 and 14).

type Advertised = { host: string; port: number }

// One call for many random numbers: each call by itself costs more than all else that makes a tag.
const pool = Buffer.alloc(4096)
let used = pool.length

function draw(count: number): Buffer {
  if (used + count > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += count
  return pool.subarray(used - count, used)
}

export const newTag = () => draw(8).toString('hex')
export const newCallId = () => draw(12).toString('hex')
/** A first CSeq number that leaves room to count (RFC 3261 section 8.1.1.5). */
export const newSequence = () => draw(3).readUIntBE(0, 3) + 1

export function hostPort({ host, port }: Advertised): string {
  return `${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`
}

const transportParam = (flow: Flow) => (flow.protocol === 'udp' ? '' : `;transport=${flow.protocol}`)

/** Our Contact over a flow. */
export function contactFor(flow: Flow): string {
  return `<sip:${hostPort(flow.advertised)}${transportParam(flow)}>`
}

/** Another node's Contact as ours over a flow: user part and parameters such as `isfocus` stay, the address is replaced. */
export function contactOver(contact: string, flow: Flow): string {
  if (contact === '') return contactFor(flow)
  const address = parseNameAddr(contact)
  const { uri } = address
  if (uri === undefined) return contactFor(flow)
  const params = new Map(uri.params)
  params.delete('maddr')
  params.delete('transport')
  if (flow.protocol !== 'udp') params.set('transport', flow.protocol)
  const { host, port } = flow.advertised
  return formatNameAddr({ ...address, params: address.params, uriText: formatUri({ ...uri, host, port, params }) })
}

const special: Record<string, string> = {
  'call-id': 'Call-ID',
  cseq: 'CSeq',
  'www-authenticate': 'WWW-Authenticate',
  'mime-version': 'MIME-Version',
  rack: 'RAck',
  rseq: 'RSeq',
  'sip-etag': 'SIP-ETag',
  'sip-if-match': 'SIP-If-Match',
  'min-se': 'Min-SE',
}
const spellings = new Map<string, string>()

/** Header name as people write it; names of private headers stay as they are. */
export function spell(name: string): string {
  if (name[1] === '-' && (name[0] === 'X' || name[0] === 'x')) return name
  const known = spellings.get(name)
  if (known !== undefined) return known
  const lower = name.toLowerCase()
  const spelled = special[lower] ?? lower.replace(/(^|-)[a-z]/g, letter => letter.toUpperCase())
  if (spellings.size < 500) spellings.set(name, spelled)
  return spelled
}

const token = /^[A-Za-z0-9\-.!%*_+`'~]+$/
const never = new Set(['via', 'route', 'record-route', 'rseq', 'content-length'])
const ownIdentity = new Set(['from', 'to', 'contact', 'p-asserted-identity'])
const challenges = new Set(['www-authenticate', 'proxy-authenticate'])

/** Replaces the host `localhost` by the flow's advertised address; a Contact over a connection names its transport. */
export function replaceLocalhost(name: string, value: string, flow: Flow): string {
  const at = value.search(/[@:]localhost(?=$|[;>:\s?])/)
  if (at < 0) return value
  const rest = value.slice(at + 1 + 'localhost'.length)
  const withPort = rest.startsWith(':') ? hostPort(flow.advertised).replace(/:\d+$/, '') : hostPort(flow.advertised)
  const replaced = value.slice(0, at + 1) + withPort
  if (name !== 'contact' || rest.includes('transport=')) return replaced + rest
  const [, port = '', tail = ''] = /^(:\d+)?(.*)$/.exec(rest) ?? []
  return replaced + port + transportParam(flow) + tail
}

/**
 * Copies an application's headers into a message, without those that are the engine's (`skip` names more).
 * Challenges that drachtio-srf has joined by commas are parted: RFC 3261 section 7.3.1 forbids joining them.
 */
export function copyHeaders(
  message: SipMessage,
  headers: readonly (readonly [name: string, value: string])[],
  flow: Flow,
  skip: ReadonlySet<string>,
): void {
  for (const [given, value] of headers) {
    const name = given.toLowerCase()
    if (never.has(name) || skip.has(name) || !token.test(given)) continue
    if (ownIdentity.has(name)) message.append(spell(given), replaceLocalhost(name, value, flow))
    else if (challenges.has(name)) for (const one of partChallenges(value)) message.append(spell(given), one)
    else message.append(spell(given), value)
  }
}

/** Parts `Digest a="b", …,Digest c="d", …` before each scheme name outside quotes. */
export function partChallenges(value: string): string[] {
  const parts: string[] = []
  let start = 0
  let quoted = false
  for (let at = 0; at < value.length; at++) {
    const char = value[at]
    if (quoted && char === '\\') at++
    else if (char === '"') quoted = !quoted
    else if (!quoted && char === ',' && /^,\s{0,8}[A-Za-z]{1,16} +[^\s=]/.test(value.slice(at, at + 32))) {
      parts.push(value.slice(start, at).trim())
      start = at + 1
    }
  }
  parts.push(value.slice(start).trim())
  return parts.filter(part => part !== '')
}

/** Sets the body; its type is guessed for SDP only. False when a type is missing. */
export function setBody(message: SipMessage, body: Buffer): boolean {
  message.body = body
  if (body.length === 0 || message.has('Content-Type')) return true
  if (body.toString('latin1', 0, 3) !== 'v=0') return false
  message.append('Content-Type', 'application/sdp')
  return true
}

/** Value of the first of an application's headers of that name. */
export function headerOf(headers: readonly (readonly [string, string])[], name: string): string | undefined {
  return headers.find(([given]) => given.toLowerCase() === name)?.[1]
}

/** The tag of a From or To value; what a name or a URI holds is none. */
export function tagOf(value: string | undefined): string | undefined {
  return value === undefined ? undefined : /;\s*tag=([^\s;>,]+)/i.exec(value.slice(value.lastIndexOf('>') + 1))?.[1]
}
