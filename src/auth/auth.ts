import { createHmac, hash as oneShot } from 'node:crypto'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import type { Events, Facts } from '../events.ts'
import { createChoice } from './choice.ts'
import {
  type Algorithm,
  computeResponse,
  type DigestAnswer,
  type Hash,
  parseDigest,
  sameText,
  writeChallenge,
} from './digest.ts'
import { createGuard } from './guard.ts'
import { createNonces } from './nonce.ts'

/** What is known of an account: H(user:realm:password) per algorithm in lower-case hex, and the same for `user@domain`. */
export interface Proof {
  readonly user: string
  readonly enabled: boolean
  readonly ha1: Readonly<Record<Algorithm, string>>
  readonly ha1WithDomain: Readonly<Record<Algorithm, string>>
}

export type FindProof = (user: string, domain: string) => Proof | undefined | Promise<Proof | undefined>

/** A request as far as digest needs it; `authorization` holds the values of Authorization or Proxy-Authorization, `source` is an IP address. */
export interface CheckedRequest {
  method: string
  uri: string
  authorization: readonly string[]
  body?: Buffer | string
  source: string
  callId?: string
  userAgent?: string
}

export interface Proven {
  ok: true
  user: string
  domain: string
  algorithm: Algorithm
}

export interface Auth {
  /**
   * Proves who sent a request (RFC 3261 section 22). Refuses with `unauthorized` or `proxy-authentication-required` and
   * fresh challenges, `forbidden` when the address is banned, `bad-request` when the header makes no sense. The stored
   * hashes are of the name in lower case, so a phone that is set up as `Mum` answers wrongly (RFC 7616 section 3.4.2
   * hashes what the phone sends): its user name has to be written `mum`.
   */
  check(request: CheckedRequest, kind: 'www' | 'proxy'): Promise<Proven>
}

// An unknown user is compared with this, which no password gives, so that it takes the same work as a known one.
const nobody: Record<Algorithm, string> = { 'SHA-256': '0'.repeat(64), MD5: '0'.repeat(32) }

/** Digest for the accounts of `domains`, whose first one is the realm where the request names none of them. */
export function createAuth(deps: {
  config: Config['auth']
  domains: readonly string[]
  /** True for other names and addresses of this server. */
  isOwn?(host: string): boolean
  find: FindProof
  secret: Buffer
  events: Events
  /** Told once of each account that proved itself with MD5; told again later when it rejects. */
  onMd5?(user: string, domain: string): Promise<void>
  now?: () => number
  hash?: Hash
}): Auth {
  const { config, domains, isOwn = () => false, find, secret, events, onMd5, now = Date.now, hash = oneShot } = deps
  const nonces = createNonces({ secret, seconds: config.nonceSeconds, now })
  const guard = createGuard({ config, events, now })
  const choice = createChoice({ config })
  const opaque = createHmac('sha256', secret).update('opaque').digest('hex').slice(0, 16)

  function challenge(request: CheckedRequest, kind: 'www' | 'proxy', stale: boolean): Refusal {
    const host = hostOf(request.uri)
    const realm = domains.includes(host) ? host : (domains[0] ?? host)
    const nonce = nonces.make(request.source)
    const values = choice.offer(request).map(algorithm => writeChallenge({ realm, nonce, opaque, algorithm, stale }))
    return kind === 'www'
      ? new Refusal('unauthorized', undefined, { headers: { 'WWW-Authenticate': values } })
      : new Refusal('proxy-authentication-required', undefined, { headers: { 'Proxy-Authenticate': values } })
  }

  function fact(request: CheckedRequest, user: string, why: Facts['authFailed']['why']) {
    events.emit('authFailed', { source: request.source, user: user.slice(0, 128), why })
  }

  // Of several answers, the one for a realm of ours is meant for us (RFC 3261 section 22.3).
  function choose(request: CheckedRequest): DigestAnswer | undefined {
    for (const value of request.authorization.slice(0, 8)) {
      const answer = parseDigest(value)
      if (answer && domains.includes(answer.realm)) return answer
    }
    return undefined
  }

  // Some phones put their registrar there instead of the Request-URI; the host being ours shows that no answer
  // for another server is used here.
  function fits(uri: string, requestUri: string): boolean {
    if (uri === requestUri) return true
    const host = hostOf(uri)
    return host === hostOf(requestUri) || domains.includes(host) || isOwn(host)
  }

  function read(request: CheckedRequest): DigestAnswer | undefined {
    try {
      const answer = choose(request)
      if (answer && !fits(answer.uri, request.uri))
        throw new Refusal('bad-request', 'the credentials are for another URI')
      return answer
    } catch (error) {
      if (error instanceof Refusal) fact(request, '', 'malformed')
      throw error
    }
  }

  function refuseBanned(): Refusal {
    return new Refusal('forbidden', 'too many wrong passwords from this address')
  }

  async function check(request: CheckedRequest, kind: 'www' | 'proxy'): Promise<Proven> {
    const banned = guard.banned(request.source)
    if (banned && !guard.knows(request.source)) throw refuseBanned()
    const answer = read(request)
    if (banned && answer && !guard.knows(request.source, nameOf(answer))) throw refuseBanned()
    const algorithm = choice.accepted.find(one => one === answer?.algorithm)
    if (!answer || !algorithm) throw challenge(request, kind, false)
    // Also after a restart with a new secret: without `stale` phones would ask their people for the password.
    if (!nonces.valid(answer.nonce, request.source)) throw challenge(request, kind, true)

    const { user, withDomain } = splitName(answer.username, answer.realm)
    const found = find(user, answer.realm)
    const proof = found instanceof Promise ? await found : found
    const ha1 = (withDomain ? proof?.ha1WithDomain : proof?.ha1) ?? nobody
    const right = sameText(computeResponse(answer, request, algorithm, ha1[algorithm], hash), answer.response)
    if (!proof || !right || !proof.enabled) {
      fact(request, answer.username, !proof ? 'unknown-user' : right ? 'disabled' : 'wrong-password')
      guard.failed(request.source, user.toLowerCase())
      throw challenge(request, kind, false)
    }
    // A phone without qop cannot count, so each nonce serves it once. Replays are not counted towards a ban: they
    // are no guesses, and phones exist that never raise nc.
    if (!nonces.use(answer.nonce, answer.nc)) {
      fact(request, answer.username, 'replay')
      throw challenge(request, kind, true)
    }
    guard.proved(request.source, proof.user)
    if (algorithm === 'MD5') noteMd5(proof.user, answer.realm)
    return { ok: true, user: proof.user, domain: answer.realm, algorithm }
  }

  // At most as many names as there are accounts.
  const usesMd5 = new Set<string>()
  function noteMd5(user: string, domain: string) {
    const name = `${user}@${domain}`
    if (!onMd5 || usesMd5.has(name)) return
    usesMd5.add(name)
    // The store has told of its failure itself; the note is made at a later request.
    onMd5(user, domain).catch(() => usesMd5.delete(name))
  }

  return { check }
}

function splitName(username: string, realm: string) {
  const at = username.lastIndexOf('@')
  const withDomain = at > 0 && username.slice(at + 1).toLowerCase() === realm
  return { user: withDomain ? username.slice(0, at) : username, withDomain }
}

function nameOf(answer: DigestAnswer): string {
  return splitName(answer.username, answer.realm).user.toLowerCase()
}

/** Host of a SIP URI in lower case; an empty text where there is none. */
function hostOf(uri: string): string {
  const start = Math.max(uri.indexOf('@'), uri.indexOf(':')) + 1
  let end = start
  if (uri[start] === '[') end = uri.indexOf(']', start) + 1
  else while (end < uri.length && !':;?>'.includes(uri[end] ?? '')) end++
  return uri.slice(start, end).toLowerCase()
}
