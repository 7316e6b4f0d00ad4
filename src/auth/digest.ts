import { hash as oneShot } from 'node:crypto'
import { Refusal } from '../errors.ts'

export type Algorithm = 'SHA-256' | 'MD5'
export type Hash = (algorithm: 'sha256' | 'md5', data: string | Buffer) => string

/** What a phone answered to a challenge (RFC 7616 section 3.4), quotes taken off. `nc` is 0 when it sent no qop. */
export interface DigestAnswer {
  username: string
  realm: string
  nonce: string
  uri: string
  response: string
  /** As sent; MD5 when it names none (RFC 7616 section 3.4). */
  algorithm: string
  qop: '' | 'auth' | 'auth-int'
  nc: number
  /** As sent: it goes into the hash letter by letter. */
  ncText: string
  cnonce: string
}

const mostBytes = 4096
const mostParameters = 32
const malformed = (why: string) => new Refusal('bad-request', `malformed credentials: ${why}`)

/** Reads an Authorization or Proxy-Authorization value; undefined for another scheme; refuses (`bad-request`) nonsense. */
export function parseDigest(value: string): DigestAnswer | undefined {
  if (!/^\s{0,8}digest\s/i.test(value)) return undefined
  const all = readParameters(value)
  const get = (name: string) => all.get(name) ?? ''
  const need = (name: string) => {
    const found = all.get(name)
    if (!found) throw malformed(`no ${name}`)
    return found
  }
  const extended = all.get('username*')
  const qop = get('qop').toLowerCase()
  if (qop !== '' && qop !== 'auth' && qop !== 'auth-int') throw malformed('unknown qop')
  const ncText = qop === '' ? '' : need('nc')
  if (qop !== '' && !/^[0-9a-f]{1,8}$/i.test(ncText)) throw malformed('nc is no hexadecimal number')
  return {
    username: extended === undefined ? need('username') : decodeExtended(extended),
    realm: need('realm'),
    nonce: need('nonce'),
    uri: need('uri'),
    response: need('response').toLowerCase(),
    algorithm: (get('algorithm') || 'MD5').toUpperCase(),
    qop,
    nc: qop === '' ? 0 : Number.parseInt(ncText, 16),
    ncText,
    cnonce: qop === '' ? '' : need('cnonce'),
  }
}

// name=token or name="quoted", separated by commas, in one pass. A quoted value keeps its backslashes: both sides
// hash what stands between the quotes.
function readParameters(value: string): Map<string, string> {
  if (value.length > mostBytes) throw malformed('too long')
  const found = new Map<string, string>()
  const end = value.length
  let at = value.toLowerCase().indexOf('digest') + 6
  while (at < end) {
    while (at < end && isGap(value.charCodeAt(at))) at++
    if (at >= end) break
    const equals = value.indexOf('=', at)
    if (equals < 0) throw malformed('a parameter without a value')
    const name = value.slice(at, equals).trim().toLowerCase()
    at = equals + 1
    while (at < end && isBlank(value.charCodeAt(at))) at++
    const from = at
    if (value[at] === '"') {
      at++
      while (at < end && value[at] !== '"') at += value[at] === '\\' ? 2 : 1
      if (at >= end) throw malformed('a quote without an end')
      add(found, name, value.slice(from + 1, at))
      at++
      while (at < end && isBlank(value.charCodeAt(at))) at++
      if (at < end && value[at] !== ',') throw malformed('text after a quote')
    } else {
      while (at < end && value[at] !== ',') at++
      add(found, name, value.slice(from, at).trim())
    }
  }
  return found
}

function add(found: Map<string, string>, name: string, value: string) {
  if (found.has(name)) throw malformed('a parameter twice')
  if (found.size >= mostParameters) throw malformed('too many parameters')
  found.set(name, value)
}

const isBlank = (code: number) => code === 32 || code === 9 || code === 13 || code === 10
const isGap = (code: number) => code === 44 || isBlank(code)

// RFC 5987: UTF-8''J%C3%A4s%C3%B8n
function decodeExtended(value: string): string {
  const [charset, , text] = value.split("'", 3)
  if (charset?.toUpperCase() !== 'UTF-8' || !text) throw malformed('username* is not UTF-8')
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw new Refusal('bad-request', 'malformed credentials: username* is not UTF-8', { cause })
  }
}

/** The response that the right password gives (RFC 7616 section 3.4.1), in lower-case hex. */
export function computeResponse(
  answer: DigestAnswer,
  request: { method: string; body?: string | Buffer },
  algorithm: Algorithm,
  ha1: string,
  hash: Hash = oneShot,
): string {
  const name = algorithm === 'MD5' ? 'md5' : 'sha256'
  const a2 = `${request.method}:${answer.uri}`
  const ha2 = hash(name, answer.qop === 'auth-int' ? `${a2}:${hash(name, request.body ?? '')}` : a2)
  const middle = answer.qop === '' ? answer.nonce : `${answer.nonce}:${answer.ncText}:${answer.cnonce}:${answer.qop}`
  return hash(name, `${ha1}:${middle}:${ha2}`)
}

/** One WWW-Authenticate or Proxy-Authenticate value. auth-int is understood but not offered: linphone gives up at it. */
export function writeChallenge(c: {
  realm: string
  nonce: string
  opaque: string
  algorithm: Algorithm
  stale: boolean
}): string {
  const stale = c.stale ? ', stale=true' : ''
  return `Digest realm="${c.realm}", nonce="${c.nonce}", opaque="${c.opaque}", algorithm=${c.algorithm}, qop="auth"${stale}`
}

/** Compares without telling by its time how much was right. */
export function sameText(a: string, b: string): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i)
  return difference === 0
}
