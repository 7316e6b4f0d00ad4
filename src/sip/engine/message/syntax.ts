// The lowest words of SIP's grammar (RFC 3261 section 25.1), over text in which one character is one byte of the wire.

/** Bits of `classes`: what a byte may be part of. */
export const TOKEN = 1
export const DIGIT = 2
export const HEX = 4
/** User and password of a SIP URI. More than section 25.1 allows: `#` and bytes above ASCII, which phones send. */
export const USER = 8
/** URI parameters and headers, and URIs of foreign schemes: all that can not end a URI. */
export const URI = 16
export const HOST = 32
/** Value of a header parameter outside quotes: all that can not end it. */
export const VALUE = 64
export const SPACE = 128

export const classes = new Uint8Array(256)

function mark(bit: number, characters: string) {
  for (let i = 0; i < characters.length; i++) classes[characters.charCodeAt(i)]! |= bit
}
const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
const digits = '0123456789'
const unreserved = `${letters}${digits}-_.!~*'()`
mark(TOKEN, `${letters}${digits}-.!%*_+\`'~`)
mark(DIGIT, digits)
mark(HEX, `${digits}abcdefABCDEF`)
mark(USER, `${unreserved}%&=+$,;?/#`)
mark(HOST, `${letters}${digits}-._`)
mark(SPACE, ' \t')
for (let byte = 0x21; byte < 0x100; byte++) {
  if (byte === 0x7f) continue
  const character = String.fromCharCode(byte)
  if (byte >= 0x80) mark(USER, character)
  if (!'<>"'.includes(character)) mark(URI, character)
  if (!'<>";,'.includes(character)) mark(VALUE, character)
}

/** Whether all characters of a non-empty stretch are of the class. */
export function isAll(bit: number, text: string, start = 0, end = text.length): boolean {
  for (let i = start; i < end; i++) if ((classes[text.charCodeAt(i)]! & bit) === 0) return false
  return start < end
}

/** Index of the first character from `at` on that is not of the class, or `end`. */
export function skip(bit: number, text: string, at: number, end: number): number {
  while (at < end && (classes[text.charCodeAt(at)]! & bit) !== 0) at++
  return at
}

/** Index behind the last character before `end` that is no white space, or `start`. */
export function trimEnd(text: string, start: number, end: number): number {
  while (end > start && (classes[text.charCodeAt(end - 1)]! & SPACE) !== 0) end--
  return end
}

/** Whether every `%` begins an escape of two hexadecimal digits (RFC 3261 section 25.1, escaped). */
export function escapesHold(text: string): boolean {
  for (let at = text.indexOf('%'); at !== -1; at = text.indexOf('%', at + 3)) {
    if (at + 3 > text.length || !isAll(HEX, text, at + 1, at + 3)) return false
  }
  return true
}

/** Reads 1*DIGIT no larger than `most`; undefined for anything else. Leading zeros are counted out, not refused. */
export function readNumber(text: string, most: number): number | undefined {
  let value = 0
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48
    if (!(digit >= 0 && digit <= 9)) return undefined
    value = value * 10 + digit
    if (value > most) return undefined
  }
  return text.length > 0 ? value : undefined
}

/** Index behind the closing quote of the quoted string that opens at `at`; -1 when it never closes. */
export function quotedEnd(text: string, at: number, end = text.length): number {
  for (let i = at + 1; i < end; i++) {
    const code = text.charCodeAt(i)
    if (code === 0x22) return i + 1
    if (code === 0x5c) i++
  }
  return -1
}

/** The text inside a quoted string, escapes undone; any other text as it is. */
export function unquote(text: string): string {
  if (text.length < 2 || !text.startsWith('"') || !text.endsWith('"')) return text
  const inner = text.slice(1, -1)
  return inner.includes('\\') ? inner.replace(/\\(.)/gs, '$1') : inner
}

/** A quoted string that holds the text. */
export function quote(text: string): string {
  return `"${/["\\]/.test(text) ? text.replace(/["\\]/g, '\\$&') : text}"`
}

/** Byte text → what a person reads: its bytes taken as UTF-8. */
export function utf8(text: string): string {
  return /[\x80-\xff]/.test(text) ? Buffer.from(text, 'latin1').toString('utf8') : text
}

/** What a person writes → byte text: one character for each byte of its UTF-8. */
export function bytes(text: string): string {
  return /[^\x00-\x7f]/.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text
}

/**
 * Index of the comma that ends the list element at `from`, or the text's length. Commas inside quoted strings and angle
 * brackets end nothing (RFC 3261 section 7.3.1); what stays open reaches to the end.
 */
export function elementEnd(text: string, from: number): number {
  const comma = text.indexOf(',', from)
  if (comma === -1) return text.length
  for (let i = from; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === 0x2c) return i
    if (code === 0x22) {
      i = quotedEnd(text, i) - 1
      if (i < 0) return text.length
    } else if (code === 0x3c) {
      i = text.indexOf('>', i)
      if (i === -1) return text.length
    }
  }
  return text.length
}

/** Elements of a comma-separated list, trimmed, empty ones included. */
export function splitList(text: string): string[] {
  const elements: string[] = []
  let from = 0
  for (;;) {
    const end = elementEnd(text, from)
    elements.push(text.slice(skip(SPACE, text, from, end), trimEnd(text, from, end)))
    if (end === text.length) return elements
    from = end + 1
  }
}

/**
 * Reads `;name=value` pairs from `at` to the end: names in lower case, values as received, quotes included, undefined for
 * a flag. Undefined when the text is anything else, names a parameter twice (RFC 3261 section 7.3.1) or more than `most`.
 */
export function readParams(text: string, at: number, most: number): Map<string, string | undefined> | undefined {
  const params = new Map<string, string | undefined>()
  const end = text.length
  for (at = skip(SPACE, text, at, end); at < end; at = skip(SPACE, text, at, end)) {
    if (text.charCodeAt(at) !== 0x3b) return undefined
    const from = skip(SPACE, text, at + 1, end)
    at = skip(TOKEN, text, from, end)
    if (at === from || params.size === most) return undefined
    const name = text.slice(from, at).toLowerCase()
    if (params.has(name)) return undefined
    at = skip(SPACE, text, at, end)
    if (text.charCodeAt(at) !== 0x3d) {
      params.set(name, undefined)
      continue
    }
    const begin = skip(SPACE, text, at + 1, end)
    at = text.charCodeAt(begin) === 0x22 ? quotedEnd(text, begin) : skip(VALUE, text, begin, end)
    if (at <= begin) return undefined
    params.set(name, text.slice(begin, at))
  }
  return params
}

/** `;name=value` of each parameter in order. */
export function formatParams(params: ReadonlyMap<string, string | undefined>): string {
  let text = ''
  for (const [name, value] of params) text += value === undefined ? `;${name}` : `;${name}=${value}`
  return text
}
