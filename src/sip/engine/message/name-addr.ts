import { classes, formatParams, quote, quotedEnd, readParams, SPACE, skip, TOKEN, trimEnd, unquote } from './syntax.ts'
import { parseUri, type Uri, type UriLimits } from './uri.ts'

/** A name-addr or addr-spec with its header parameters (RFC 3261 section 20.10): From, To, Contact, Route … */
export interface NameAddr {
  /** Display name, unquoted and unescaped, still latin1 byte text; undefined when absent. */
  display: string | undefined
  /** URI text as received. */
  uriText: string
  /** Parsed on first use; undefined when invalid. */
  readonly uri: Uri | undefined
  /** Header parameters (after '>'): names lower case, values as received (`unquote` takes quotes off). */
  params: Map<string, string | undefined>
}

class Address implements NameAddr {
  display: string | undefined
  uriText: string
  params: Map<string, string | undefined>
  readonly #limits: UriLimits
  #parsed: { text: string; uri: Uri | undefined } | undefined

  constructor(display: string | undefined, uriText: string, params: NameAddr['params'], limits: UriLimits) {
    this.display = display
    this.uriText = uriText
    this.params = params
    this.#limits = limits
  }

  get uri(): Uri | undefined {
    if (this.#parsed?.text !== this.uriText) {
      this.#parsed = { text: this.uriText, uri: parseUri(this.uriText, this.#limits) }
    }
    return this.#parsed.uri
  }
}

/** Reads one value; undefined when it is malformed. The URI itself is looked at only when `uri` is asked for. */
export function readNameAddr(text: string, limits: UriLimits): NameAddr | undefined {
  const start = skip(SPACE, text, 0, text.length)
  let display: string | undefined
  let open = text.indexOf('<', start)
  if (text.charCodeAt(start) === 0x22) {
    const end = quotedEnd(text, start)
    if (end === -1) return undefined
    open = skip(SPACE, text, end, text.length)
    if (text.charCodeAt(open) !== 0x3c) return undefined
    display = unquote(text.slice(start, end))
  } else {
    const semicolon = text.indexOf(';', start)
    // A '<' behind the first ';' belongs to a parameter such as +sip.instance="<urn:…>".
    if (open === -1 || (semicolon !== -1 && semicolon < open)) return readAddrSpec(text, start, semicolon, limits)
    const end = trimEnd(text, start, open)
    if (!isDisplay(text, start, end)) return undefined
    if (end > start) display = text.slice(start, end)
  }
  const close = text.indexOf('>', open)
  if (close <= open + 1) return undefined
  const params = readParams(text, close + 1, limits.parameters)
  return params && new Address(display, text.slice(open + 1, close), params, limits)
}

/** Without angle brackets, what follows a ';' is the header's and '?' and ',' must not be there (section 20). */
function readAddrSpec(text: string, start: number, semicolon: number, limits: UriLimits): NameAddr | undefined {
  const end = trimEnd(text, start, semicolon === -1 ? text.length : semicolon)
  const uriText = text.slice(start, end)
  if (uriText === '' || /[?,]/.test(uriText)) return undefined
  const params = readParams(text, end, limits.parameters)
  return params && new Address(undefined, uriText, params, limits)
}

/** Tokens and white space; bytes above ASCII too, which should be quoted and often are not. */
function isDisplay(text: string, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x80 && (classes[code]! & (TOKEN | SPACE)) === 0) return false
  }
  return true
}

/** The text of a value, always with angle brackets and a quoted display name. */
export function formatNameAddr(value: {
  display?: string | undefined
  uriText: string
  params?: ReadonlyMap<string, string | undefined>
}): string {
  const address = value.display === undefined ? `<${value.uriText}>` : `${quote(value.display)} <${value.uriText}>`
  return value.params === undefined ? address : address + formatParams(value.params)
}
