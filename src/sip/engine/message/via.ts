import { classes, formatParams, readParams, SPACE, skip, TOKEN, trimEnd } from './syntax.ts'
import { formatHost, readHostPort } from './uri.ts'

/** One Via value (RFC 3261 section 20.42). */
export interface Via {
  /** 'UDP', 'TCP', 'TLS', 'WS', 'WSS' as received, upper case. */
  transport: string
  /** Sent-by host in lower case, IPv6 without brackets. */
  host: string
  port: number | undefined
  params: Map<string, string | undefined>
  readonly branch: string | undefined
}

class ViaValue implements Via {
  transport: string
  host: string
  port: number | undefined
  params: Map<string, string | undefined>

  constructor(transport: string, host: string, port: number | undefined, params: Via['params']) {
    this.transport = transport
    this.host = host
    this.port = port
    this.params = params
  }

  get branch(): string | undefined {
    return this.params.get('branch')
  }
}

/** Reads one value, white space allowed around '/' and ':' (section 25.1); undefined when it is malformed. */
export function readVia(text: string, most: number): Via | undefined {
  const end = text.length
  let at = 0
  let from = 0
  for (let part = 0; part < 3; part++) {
    from = skip(SPACE, text, at, end)
    at = skip(TOKEN, text, from, end)
    if (at === from) return undefined
    if (part === 2) break
    const slash = skip(SPACE, text, at, end)
    if (text.charCodeAt(slash) !== 0x2f) return undefined
    at = slash + 1
  }
  const transport = text.slice(from, at).toUpperCase()
  const hostStart = skip(SPACE, text, at, end)
  if (hostStart === at) return undefined
  const semicolon = text.indexOf(';', hostStart)
  const hostPort = readSentBy(text, hostStart, trimEnd(text, hostStart, semicolon === -1 ? end : semicolon))
  const params = readParams(text, semicolon === -1 ? end : semicolon, most)
  return hostPort && params && new ViaValue(transport, hostPort.host, hostPort.port, params)
}

function readSentBy(text: string, start: number, end: number) {
  const colon = text.lastIndexOf(':', end - 1)
  const hostEnd = trimEnd(text, start, colon)
  // Only a colon with white space around it needs the longer way; inside an IPv6 reference there is none.
  if (colon <= start || (hostEnd === colon && (classes[text.charCodeAt(colon + 1)]! & SPACE) === 0)) {
    return readHostPort(text.slice(start, end))
  }
  return readHostPort(`${text.slice(start, hostEnd)}:${text.slice(skip(SPACE, text, colon + 1, end), end)}`)
}

/** The text of a value, as SIP/2.0. */
export function formatVia(via: Omit<Via, 'branch'>): string {
  const port = via.port === undefined ? '' : `:${via.port}`
  return `SIP/2.0/${via.transport} ${formatHost(via.host)}${port}${formatParams(via.params)}`
}
