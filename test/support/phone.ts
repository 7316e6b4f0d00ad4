import { digestHeader } from './digest.ts'
import { type Peer, type Received, sipResponse, tagIn, unique } from './sip-peer.ts'

// A phone that knows its password, on any peer; a test says what it does.

export interface Phone {
  readonly peer: Peer
  readonly user: string
  /** Its Contact URI. */
  readonly contact: string
  /** Registers with digest and gives the final response. */
  register(expires?: number, ms?: number): Promise<Received>
  /** Sends an INVITE, answers the challenge, and gives the first response that is neither 100 nor 407. */
  call(user: string): Promise<Received>
  /** Waits for an INVITE, answers it with 200, a 180 just before it where it `rings`, and takes the ACK. */
  answer(rings?: boolean): Promise<Received>
  /** Waits for a BYE and answers it. */
  takeBye(ms?: number): Promise<Received>
  /** Hangs up the call made or answered last. */
  hangUp(): Promise<Received>
}

export interface PhoneOptions {
  peer: Peer
  user: string
  domain: string
  password: string
  transport?: 'UDP' | 'TCP' | 'WSS'
  /** What tells the device from others (RFC 5626), `urn:uuid:…`. */
  device?: string
  /** Where its RTP comes from and goes to; PCMU. */
  rtpPort?: number
}

export function createPhone({
  peer,
  user,
  domain,
  password,
  transport = 'UDP',
  device,
  rtpPort = peer.port,
}: PhoneOptions): Phone {
  const aor = `sip:${user}@${domain}`
  const instance = unique()
  // A browser has no address that it could name (RFC 7118 section 5).
  const host = transport === 'WSS' ? `${instance}.invalid` : `${peer.address}:${peer.port}`
  const contact = `sip:${user}@${host}${transport === 'UDP' ? '' : `;transport=${transport === 'WSS' ? 'ws' : 'tcp'}`}`
  const registration = unique()
  const describe = (port: number) => (transport === 'WSS' ? browserSdp(port) : phoneSdp(port, peer.address))
  let sequence = 0
  let dialog = { callId: '', from: '', to: '', target: '' }

  function write(method: string, uri: string, about: typeof dialog, headers: string[], body = '', number = sequence) {
    peer.send(
      [
        `${method} ${uri} SIP/2.0`,
        `Via: SIP/2.0/${transport} ${host};branch=z9hG4bK${unique()};rport`,
        'Max-Forwards: 70',
        `From: ${about.from}`,
        `To: ${about.to}`,
        `Call-ID: ${about.callId}`,
        `CSeq: ${number} ${method}`,
        `Contact: <${contact}>${device === undefined ? '' : `;+sip.instance="<${device}>"`}`,
        ...headers,
        ...(body === '' ? [] : ['Content-Type: application/sdp']),
        `Content-Length: ${Buffer.byteLength(body)}`,
        '',
        body,
      ].join('\r\n'),
    )
  }

  const prove = (method: string, uri: string, response: Received) =>
    digestHeader(response, { method, uri }, { user, password })

  const final = (callId: string, ms?: number) =>
    peer.wait(m => m.status >= 200 && m.header('Call-ID') === callId && m.header('CSeq') === `${sequence} REGISTER`, ms)

  return {
    peer,
    user,
    contact,
    async register(expires = 600, ms) {
      const about = { callId: registration, from: `<${aor}>;tag=${unique()}`, to: `<${aor}>`, target: '' }
      const uri = `sip:${domain}`
      const headers = [`Expires: ${expires}`]
      sequence++
      write('REGISTER', uri, about, headers)
      const first = await final(registration, ms)
      if (first.status !== 401) return first
      const proof = prove('REGISTER', uri, first)
      sequence++
      write('REGISTER', uri, about, [...headers, proof])
      return final(registration, ms)
    },
    async call(other) {
      const uri = `sip:${other}@${domain}`
      dialog = { callId: unique(), from: `<${aor}>;tag=${unique()}`, to: `<${uri}>`, target: uri }
      const next = () =>
        peer.wait(
          m => m.status > 100 && m.header('Call-ID') === dialog.callId && m.header('CSeq') === `${sequence} INVITE`,
        )
      const body = describe(rtpPort)
      sequence++
      write('INVITE', uri, dialog, [], body)
      let response = await next()
      if (response.status === 407) {
        const ack = { ...dialog, to: response.header('To') }
        write('ACK', uri, ack, [])
        const proof = prove('INVITE', uri, response)
        sequence++
        write('INVITE', uri, dialog, [proof], body)
        response = await next()
      }
      while (response.status < 200) response = await next()
      dialog.to = response.header('To')
      dialog.target = /<([^>]*)>/.exec(response.header('Contact'))?.[1] ?? uri
      write('ACK', dialog.target, dialog, [])
      return response
    },
    async answer(rings = false) {
      const invite = await peer.request('INVITE')
      const tag = unique()
      if (rings) peer.send(sipResponse(invite, 180, { tag, headers: [`Contact: <${contact}>`] }))
      const ok = sipResponse(invite, 200, { tag, headers: [`Contact: <${contact}>`], body: describe(rtpPort) })
      peer.send(ok)
      dialog = {
        callId: invite.header('Call-ID'),
        from: `${invite.header('To')};tag=${tag}`,
        to: invite.header('From'),
        target: /<([^>]*)>/.exec(invite.header('Contact'))?.[1] ?? '',
      }
      await peer.request('ACK')
      return invite
    },
    async takeBye(ms) {
      const bye = await peer.request('BYE', ms)
      if (tagIn(bye.header('To')) === '') throw new Error('a BYE without a To tag')
      peer.send(sipResponse(bye, 200))
      return bye
    },
    async hangUp() {
      sequence++
      write('BYE', dialog.target, dialog, [])
      return peer.wait(m => m.status >= 200 && m.header('CSeq').endsWith('BYE'))
    },
  }
}

/** What such a phone says of its media. */
export const phoneSdp = (port: number, address = '127.0.0.1') =>
  `v=0\r\no=- 1 1 IN IP4 ${address}\r\ns=-\r\nc=IN IP4 ${address}\r\nt=0 0\r\nm=audio ${port} RTP/AVP 0\r\n`

/** What a browser would say; nothing is behind it, so it fits calls that pass it on untouched. */
const browserSdp = (port: number) =>
  phoneSdp(port).replace('RTP/AVP', 'UDP/TLS/RTP/SAVPF') +
  `a=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 ${Array(32).fill('5A').join(':')}\r\na=setup:actpass\r\n`
