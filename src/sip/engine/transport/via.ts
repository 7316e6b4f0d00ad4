import type { SipMessage, Via } from '../message/message.ts'
import { ParseFailure } from '../message/message.ts'

/**
 * Writes into the top Via of a request where it really came from: `received` when the host differs or `rport` is
 * there, and the source port when the client asked for it with an empty `rport` (RFC 3261 section 18.2.1, RFC 3581
 * section 4). A `received` that the client put in itself is a lie and is replaced. A Via that does not parse is left
 * for the check of the whole message.
 */
export function recordSource(request: SipMessage, source: { address: string; port: number }): void {
  const via = topVia(request)
  if (!via) return
  const { params } = via
  const asked = params.has('rport')
  if (!asked && !params.has('received') && plainHost(via.host) === source.address) return
  const written = new Map(params)
  if (asked && !params.get('rport')) written.set('rport', String(source.port))
  written.set('received', source.address)
  request.replaceFirst('Via', formatVia(via, written))
}

function topVia(request: SipMessage): Via | undefined {
  try {
    return request.via
  } catch (error) {
    if (error instanceof ParseFailure) return undefined
    throw error
  }
}

function plainHost(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1).toLowerCase() : host
}

function formatVia(via: Via, params: ReadonlyMap<string, string | undefined>): string {
  const host = via.host.includes(':') && !via.host.startsWith('[') ? `[${via.host}]` : via.host
  let text = `SIP/2.0/${via.transport} ${host}${via.port === undefined ? '' : `:${via.port}`}`
  for (const [name, value] of params) text += value === undefined ? `;${name}` : `;${name}=${value}`
  return text
}
