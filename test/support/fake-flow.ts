import type { Protocol } from '../../src/events.ts'
import type { SipMessage } from '../../src/sip/engine/message/message.ts'
import { parseMessage } from '../../src/sip/engine/message/parser.ts'
import type { Flow } from '../../src/sip/engine/transport/transport.ts'
import { limits } from './limits.ts'

/** A flow without a socket, which keeps what is sent. */
export interface FakeFlow extends Flow {
  closed: boolean
  readonly sent: SipMessage[]
  /** The start lines of what was sent, and forgets them. */
  take(): string[]
  /** When set, each send fails with it. */
  broken: Error | undefined
}

let counter = 0

export function createFakeFlow(
  options: { protocol?: Protocol; remote?: string; port?: number; advertised?: { host: string; port: number } } = {},
): FakeFlow {
  const { protocol = 'udp', remote = '192.0.2.9', port = 5060 } = options
  const sent: SipMessage[] = []
  return {
    id: `f${++counter}`,
    protocol,
    local: { address: '192.0.2.1', port: 5060 },
    remote: { address: remote, port },
    reliable: protocol !== 'udp',
    advertised: options.advertised ?? { host: '192.0.2.1', port: 5060 },
    closed: false,
    broken: undefined,
    sent,
    take: () => sent.splice(0).map(message => (message.isRequest ? message.method : String(message.status))),
    send(bytes, failed) {
      const { broken } = this
      // The worst that a flow may do: it fails within the call.
      if (broken) failed?.(broken)
      else sent.push(readSip(bytes))
    },
    close() {
      this.closed = true
    },
  }
}

export function readSip(text: string | Buffer): SipMessage {
  return parseMessage(Buffer.from(text), limits)
}

/** A request as text, complete; `more` are header lines. */
export function requestText(
  method: string,
  options: {
    branch?: string
    callId?: string
    uri?: string
    sequence?: number
    fromTag?: string
    toTag?: string
    via?: string
    more?: string[]
    cseqMethod?: string
  } = {},
): string {
  const { branch = 'z9hG4bK1', callId = 'c1', uri = 'sip:b@192.0.2.1', sequence = 1, fromTag = 'a' } = options
  const lines = [
    `${method} ${uri} SIP/2.0`,
    options.via ?? `Via: SIP/2.0/UDP 192.0.2.9:5060;branch=${branch}`,
    `From: <sip:a@example.org>;tag=${fromTag}`,
    `To: <sip:b@example.org>${options.toTag === undefined ? '' : `;tag=${options.toTag}`}`,
    `Call-ID: ${callId}`,
    `CSeq: ${sequence} ${method}`,
    ...(options.more ?? []),
    'Content-Length: 0',
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}
