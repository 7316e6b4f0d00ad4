import { hash, randomBytes } from 'node:crypto'
import { type Algorithm, computeResponse } from '../auth/digest.ts'
import { Refusal } from '../errors.ts'
import type { SipMessage } from '../sip/engine/message/message.ts'

/** The header that answers a 401 or 407 to `request` (RFC 7616, RFC 8760: the best algorithm that is offered). */
export function prove(
  challenged: SipMessage,
  request: SipMessage,
  who: { user: string; password: string },
): [name: string, value: string] {
  const proxy = challenged.status === 407
  const offered = challenged.getAll(proxy ? 'Proxy-Authenticate' : 'WWW-Authenticate')
  const [challenge, algorithm] = choose(offered)
  const read = (name: string) => new RegExp(`[ ,]${name}="([^"]*)"`).exec(challenge)?.[1] ?? ''
  const [realm, nonce, opaque] = [read('realm'), read('nonce'), read('opaque')]
  const ha1 = hash(algorithm === 'MD5' ? 'md5' : 'sha256', `${who.user}:${realm}:${who.password}`)
  const answer = {
    username: who.user,
    ...{ realm, nonce, uri: request.uri, response: '', algorithm },
    ...{ qop: 'auth' as const, nc: 1, ncText: '00000001', cnonce: randomBytes(8).toString('hex') },
  }
  const response = computeResponse(answer, { method: request.method }, algorithm, ha1)
  return [
    proxy ? 'Proxy-Authorization' : 'Authorization',
    `Digest username="${who.user}", realm="${realm}", nonce="${nonce}", uri="${request.uri}", response="${response}", ` +
      `algorithm=${algorithm}, cnonce="${answer.cnonce}", opaque="${opaque}", qop=auth, nc=${answer.ncText}`,
  ]
}

function choose(offered: readonly string[]): [challenge: string, algorithm: Algorithm] {
  for (const algorithm of ['SHA-256', 'MD5'] as const) {
    const found = offered.find(one => one.includes(`algorithm=${algorithm}`))
    if (found !== undefined) return [found, algorithm]
  }
  throw new Refusal('unauthorized', 'the node offers no way to prove a password that is known here')
}
