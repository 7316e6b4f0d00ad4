import { isIPv6 } from 'node:net'
import { classes, escapesHold, HOST, isAll, readNumber, skip, TOKEN, URI, USER, utf8 } from './syntax.ts'

/** A SIP, SIPS or tel URI in parts. Text parts are as received (escapes kept); `unescapeUser` shows them to people. */
export interface Uri {
  /** Lower case, without the colon. */
  scheme: string
  /** User part as received, without password; for tel: the number. Undefined when there is none. */
  user: string | undefined
  password: string | undefined
  /** Lower-case host, IPv6 without brackets; '' for tel and unknown schemes. */
  host: string
  port: number | undefined
  /** Parameters in order; names lower case, value undefined for a flag such as lr. */
  params: Map<string, string | undefined>
  /** Text after '?', as received, without it. */
  headers: string
  /** For a scheme that is not sip, sips or tel: everything after the colon. */
  opaque: string
}

/** What bounds a URI; the slice of `sip.limits` that is read here. */
export interface UriLimits {
  readonly uriBytes: number
  readonly parameters: number
}
const ordinary: UriLimits = { uriBytes: 2048, parameters: 64 }

/** Parses one URI (RFC 3261 section 19.1.1, RFC 3966 section 3); undefined when it is no valid URI. */
export function parseUri(text: string, limits: UriLimits = ordinary): Uri | undefined {
  const colon = text.indexOf(':')
  if (colon < 1 || text.length > limits.uriBytes || !isAll(URI, text, colon + 1)) return undefined
  const scheme = text.slice(0, colon).toLowerCase()
  if (scheme === 'sip' || scheme === 'sips') return parseSip(scheme, text, colon + 1, limits)
  if (scheme === 'tel') return parseTel(text, colon + 1, limits)
  if (!/^[a-z][a-z0-9+.-]*$/.test(scheme) || !escapesHold(text)) return undefined
  return bare(scheme, { opaque: text.slice(colon + 1) })
}

function bare(scheme: string, parts: { opaque?: string; user?: string; params?: Uri['params'] }): Uri {
  const { opaque = '', user, params = new Map() } = parts
  return { scheme, user, password: undefined, host: '', port: undefined, params, headers: '', opaque }
}

function parseSip(scheme: string, text: string, start: number, limits: UriLimits): Uri | undefined {
  let user: string | undefined
  let password: string | undefined
  // The user part may hold ';' and '?' (RFC 4475 section 3.1.1.9), so the '@' is looked for before anything else.
  const at = text.indexOf('@', start)
  if (at !== -1) {
    const colon = text.lastIndexOf(':', at)
    const userEnd = colon > start ? colon : at
    if (!isAll(USER, text, start, userEnd)) return undefined
    user = text.slice(start, userEnd)
    if (userEnd < at) {
      password = text.slice(userEnd + 1, at)
      if (password !== '' && !isAll(USER, password)) return undefined
    }
    start = at + 1
  }
  const question = text.indexOf('?', start)
  const end = question === -1 ? text.length : question
  const semicolon = text.indexOf(';', start)
  const hostEnd = semicolon === -1 || semicolon > end ? end : semicolon
  const hostPort = readHostPort(text.slice(start, hostEnd))
  const params = hostEnd === end ? new Map() : readUriParams(text.slice(hostEnd + 1, end), limits.parameters)
  if (hostPort === undefined || params === undefined || !escapesHold(text)) return undefined
  const headers = question === -1 ? '' : text.slice(question + 1)
  return { scheme, user, password, host: hostPort.host, port: hostPort.port, params, headers, opaque: '' }
}

function parseTel(text: string, start: number, limits: UriLimits): Uri | undefined {
  const semicolon = text.indexOf(';', start)
  const user = text.slice(start, semicolon === -1 ? text.length : semicolon)
  const params = semicolon === -1 ? new Map() : readUriParams(text.slice(semicolon + 1), limits.parameters)
  const valid = user.startsWith('+') ? /^\+[-.()]*[0-9][-.()0-9]*$/ : /^[-.()]*[0-9a-fA-F*#][-.()0-9a-fA-F*#]*$/
  if (params === undefined || !valid.test(user) || !escapesHold(text)) return undefined
  return bare('tel', { user, params })
}

function readUriParams(text: string, most: number): Map<string, string | undefined> | undefined {
  const params = new Map<string, string | undefined>()
  for (let from = 0; from <= text.length; ) {
    const semicolon = text.indexOf(';', from)
    const end = semicolon === -1 ? text.length : semicolon
    const equals = text.indexOf('=', from)
    const nameEnd = equals === -1 || equals > end ? end : equals
    const name = text.slice(from, nameEnd).toLowerCase()
    if (name === '' || params.size === most || params.has(name)) return undefined
    params.set(name, nameEnd === end ? undefined : text.slice(nameEnd + 1, end))
    from = end + 1
  }
  return params
}

/**
 * Reads `host [":" port]` (RFC 3261 section 25.1): the host in lower case, IPv6 without brackets. Undefined when the
 * host is no host or the port is above 65535.
 */
export function readHostPort(text: string): { host: string; port: number | undefined } | undefined {
  let host: string
  let rest: number
  if (text.charCodeAt(0) === 0x5b) {
    rest = text.indexOf(']') + 1
    host = text.slice(1, rest - 1)
    if (rest === 0 || !isIPv6(host) || host.includes('%')) return undefined
  } else {
    rest = skip(HOST, text, 0, text.length)
    host = text.slice(0, rest)
    if (host === '') return undefined
  }
  if (rest === text.length) return { host: host.toLowerCase(), port: undefined }
  const port = text.charCodeAt(rest) === 0x3a ? readNumber(text.slice(rest + 1), 65535) : undefined
  return port === undefined ? undefined : { host: host.toLowerCase(), port }
}

/** A host as URIs and Via write it: IPv6 in brackets. */
export function formatHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

/** The text of a URI; `parseUri` of it gives the same parts. */
export function formatUri(uri: Uri): string {
  let text = `${uri.scheme}:`
  if (uri.scheme === 'tel') text += uri.user ?? ''
  else if (uri.host === '') return text + uri.opaque
  else {
    if (uri.user !== undefined) text += uri.password === undefined ? `${uri.user}@` : `${uri.user}:${uri.password}@`
    text += formatHost(uri.host)
    if (uri.port !== undefined) text += `:${uri.port}`
  }
  for (const [name, value] of uri.params) text += value === undefined ? `;${name}` : `;${name}=${value}`
  return uri.headers === '' ? text : `${text}?${uri.headers}`
}

const decisive = ['transport', 'user', 'ttl', 'method', 'maddr']

/** Whether two URIs are equivalent (RFC 3261 section 19.1.4; RFC 3966 section 5 for tel). */
export function sameUri(a: Uri, b: Uri): boolean {
  if (a.scheme !== b.scheme || a.opaque !== b.opaque) return false
  if (a.scheme === 'tel') return sameNumber(a, b)
  if (a.host !== b.host || a.port !== b.port) return false
  if (plain(a.user) !== plain(b.user) || plain(a.password) !== plain(b.password)) return false
  if (decisive.some(name => a.params.has(name) !== b.params.has(name))) return false
  for (const [name, value] of a.params) {
    if (b.params.has(name) && !sameValue(value, b.params.get(name))) return false
  }
  return a.headers === b.headers || sameHeaders(a.headers, b.headers)
}

/** `sameUri` of two URI texts; those that are no URIs are equal only to themselves. */
export function sameUriText(a: string, b: string): boolean {
  if (a === b) return true
  const left = parseUri(a)
  const right = left && parseUri(b)
  return left !== undefined && right !== undefined && sameUri(left, right)
}

function sameNumber(a: Uri, b: Uri): boolean {
  const digits = (uri: Uri) => (uri.user ?? '').replace(/[-.()]/g, '').toLowerCase()
  if (digits(a) !== digits(b) || a.params.size !== b.params.size) return false
  return [...a.params].every(([name, value]) => b.params.has(name) && sameValue(value, b.params.get(name)))
}

function sameValue(a: string | undefined, b: string | undefined): boolean {
  return a === b || plain(a)?.toLowerCase() === plain(b)?.toLowerCase()
}

function sameHeaders(a: string, b: string): boolean {
  const sorted = (headers: string) =>
    headers
      .split('&')
      .map(header => {
        const equals = header.indexOf('=')
        return equals === -1
          ? header.toLowerCase()
          : header.slice(0, equals).toLowerCase() + plain(header.slice(equals))
      })
      .sort()
  const right = sorted(b)
  const left = sorted(a)
  return left.length === right.length && left.every((header, i) => header === right[i])
}

/** Undoes the escapes that need not be: one of a reserved character is not the same as the character. */
function plain(text: string | undefined): string | undefined {
  if (text === undefined || !text.includes('%')) return text
  return text.replace(/%[0-9a-fA-F]{2}/g, code => {
    const character = String.fromCharCode(Number.parseInt(code.slice(1), 16))
    return ';/?:@&=+$,%'.includes(character) ? code.toUpperCase() : character
  })
}

/** Decodes %xx and UTF-8: what a person should read. */
export function unescapeUser(text: string): string {
  if (!text.includes('%')) return utf8(text)
  return utf8(text.replace(/%[0-9a-fA-F]{2}/g, code => String.fromCharCode(Number.parseInt(code.slice(1), 16))))
}

/**
 * What a person wrote → a user part: UTF-8, escaped. `;`, `?` and `,` are escaped although the grammar lets them stand,
 * because foreign parsers take them for the end of the user part.
 */
export function escapeUser(text: string): string {
  if (isAll(TOKEN, text) && !/[%`]/.test(text)) return text
  let escaped = ''
  for (const byte of Buffer.from(text, 'utf8')) {
    const character = String.fromCharCode(byte)
    const stands = byte < 0x80 && (classes[byte]! & USER) !== 0 && !'%#;?,'.includes(character)
    escaped += stands ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return escaped
}
