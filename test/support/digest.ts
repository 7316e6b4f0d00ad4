import { createHash } from 'node:crypto'
import type { Received } from './sip-peer.ts'

const md5 = (text: string) => createHash('md5').update(text).digest('hex')

/** The header that answers the MD5 challenge of a 401 or 407 (RFC 7616, written for itself). */
export function digestHeader(
  challenged: Received,
  request: { method: string; uri: string },
  who: { user: string; password: string },
): string {
  const proxy = challenged.status === 407
  const challenge = challenged
    .all(proxy ? 'Proxy-Authenticate' : 'WWW-Authenticate')
    .find(value => value.includes('algorithm=MD5'))!
  const [realm, nonce, opaque] = ['realm', 'nonce', 'opaque'].map(
    name => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1] ?? '',
  )
  const { method, uri } = request
  const known = md5(`${who.user}:${realm}:${who.password}`)
  const proof = md5(`${known}:${nonce}:00000001:c:auth:${md5(`${method}:${uri}`)}`)
  return `${proxy ? 'Proxy-' : ''}Authorization: Digest username="${who.user}", realm="${realm}", nonce="${nonce}", uri="${uri}", response="${proof}", algorithm=MD5, cnonce="c", opaque="${opaque}", qop=auth, nc=00000001`
}
