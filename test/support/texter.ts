import { digestHeader } from './digest.ts'
import { type Peer, type Received, sipResponse, unique } from './sip-peer.ts'

// Messages of a phone (RFC 3428), as phones send and take them.

export interface Texter {
  /** Sends a message, answers the challenge, and gives the final response. */
  text(to: string, body: string, more?: TextOptions): Promise<Received>
  /** Waits for a message and answers it. */
  take(status?: number, ms?: number): Promise<Received>
}

export interface TextOptions {
  /** That of an earlier one, for a repetition. */
  callId?: string
  headers?: readonly string[]
  type?: string
  from?: string
  domain?: string
  ms?: number
}

export interface TexterOptions {
  peer: Peer
  user: string
  domain: string
  password: string
  transport?: 'UDP' | 'TCP'
}

export function createTexter({ peer, user, domain, password, transport = 'UDP' }: TexterOptions): Texter {
  let sequence = 0

  return {
    async text(to, body, more = {}) {
      const { callId = unique(), headers = [], type = 'text/plain', from = user, ms = 30_000 } = more
      const uri = `sip:${to}@${more.domain ?? domain}`
      const tag = callId.slice(0, 8)
      const send = (proof: readonly string[]) => {
        sequence++
        peer.send(
          [
            `MESSAGE ${uri} SIP/2.0`,
            `Via: SIP/2.0/${transport} ${peer.address}:${peer.port};branch=z9hG4bK${unique()};rport`,
            'Max-Forwards: 70',
            `From: <sip:${from}@${domain}>;tag=${tag}`,
            `To: <${uri}>`,
            `Call-ID: ${callId}`,
            `CSeq: ${sequence} MESSAGE`,
            `Content-Type: ${type}`,
            ...headers,
            ...proof,
            `Content-Length: ${Buffer.byteLength(body)}`,
            '',
            body,
          ].join('\r\n'),
        )
        const cseq = `${sequence} MESSAGE`
        return peer.wait(m => m.status >= 200 && m.header('Call-ID') === callId && m.header('CSeq') === cseq, ms)
      }
      const first = await send([])
      if (first.status !== 407) return first
      return send([digestHeader(first, { method: 'MESSAGE', uri }, { user, password })])
    },
    async take(status = 200, ms = 30_000) {
      const message = await peer.request('MESSAGE', ms)
      peer.send(sipResponse(message, status))
      return message
    },
  }
}
