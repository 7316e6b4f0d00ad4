import { hash, randomBytes } from 'node:crypto'
import { createRequest, createResponse, ParseFailure, type SipMessage } from '../message/message.ts'
import type { Flow } from '../transport/transport.ts'

/** The Via value for a request of ours over `flow`, asking for rport (RFC 3581). */
export function viaFor(flow: Flow, branch: string): string {
  const { host, port } = flow.advertised
  const name = host.includes(':') ? `[${host}]` : host
  return `SIP/2.0/${flow.protocol.toUpperCase()} ${name}:${port};branch=${branch};rport`
}

const tagKey = randomBytes(16).toString('hex')

// The same for each copy of a request, as RFC 3261 section 8.2.7 asks of who keeps no state, and for an INVITE and its CANCEL.
function tagFor(request: SipMessage): string {
  const { via, callId, cseq, fromTag } = request
  return hash('sha1', `${tagKey} ${via.branch ?? ''} ${callId} ${cseq.number} ${fromTag ?? ''}`, 'hex').slice(0, 16)
}

/** A response with a To tag, for those that no layer above makes. */
export function answer(request: SipMessage, status: number, reason?: string): SipMessage {
  const response = createResponse(request, status, reason)
  if (status > 100 && response.toTag === undefined) {
    response.set('To', `${response.get('To') ?? ''};tag=${tagFor(request)}`)
  }
  return response
}

/** The same for a request whose To, CSeq or the like may be unreadable: they are given back as they came. */
export function refusal(request: SipMessage, status: number, reason: string): SipMessage {
  try {
    return answer(request, status, reason)
  } catch (error) {
    if (!(error instanceof ParseFailure)) throw error
    return createResponse(request, status, reason)
  }
}

function followUp(method: string, request: SipMessage): SipMessage {
  const built = createRequest(method, request.uri)
  built.set('Via', request.getAll('Via')[0] ?? '')
  const routes = request.getAll('Route')
  if (routes.length > 0) built.set('Route', routes)
  built.set('Max-Forwards', '70')
  built.set('From', request.get('From') ?? '')
  built.set('To', request.get('To') ?? '')
  built.set('Call-ID', request.callId)
  built.set('CSeq', `${request.cseq.number} ${method}`)
  return built
}

/** The ACK for a non-2xx final response (RFC 3261 section 17.1.1.3). */
export function buildAck(request: SipMessage, response: SipMessage): SipMessage {
  const ack = followUp('ACK', request)
  ack.set('To', response.get('To') ?? '')
  return ack
}

/** The CANCEL for an INVITE (section 9.1). */
export function buildCancel(request: SipMessage, headers: [name: string, value: string][]): SipMessage {
  const cancel = followUp('CANCEL', request)
  for (const [name, value] of headers) cancel.append(name, value)
  return cancel
}
