import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { createGuard as createFailureGuard } from '../auth/guard.ts'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Sessions } from './sessions.ts'

export interface Guard {
  /** Refuses `too-many-requests` where too many wrong tokens came from. */
  isAdmin(request: FastifyRequest): boolean
  /** Refuses `unauthorized`, `forbidden` and `too-many-requests`; an onRequest hook. */
  demandAdmin(request: FastifyRequest): Promise<void>
  /** Exchanges a one-time code for a session cookie; false for a code that is no good. */
  signIn(code: string, reply: FastifyReply): boolean
  signOut(request: FastifyRequest, reply: FastifyReply): void
}

// Programs that hold an old token are forgiven; whoever guesses waits most of the time.
const tokenLimits = { failures: 20, failureSeconds: 60, banSeconds: 60 }

/** Tells the administrator by `Authorization: Bearer <token>` or by the session cookie. */
export function createGuard(deps: { adminToken: string; sessions: Sessions; events: Events }): Guard {
  const { sessions } = deps
  const wanted = digest(deps.adminToken)
  const failures = createFailureGuard({ config: tokenLimits, events: deps.events, now: Date.now })

  function isAdmin(request: FastifyRequest): boolean {
    const { authorization } = request.headers
    if (authorization === undefined) return sessions.knows(readCookie(request))
    const token = /^bearer /i.test(authorization) ? authorization.slice(7) : ''
    if (failures.banned(request.ip)) throw new Refusal('too-many-requests', 'too many wrong tokens; wait a minute')
    const right = timingSafeEqual(digest(token), wanted)
    if (!right) failures.failed(request.ip)
    return right
  }

  return {
    isAdmin,
    async demandAdmin(request) {
      if (!isAdmin(request)) throw new Refusal('unauthorized', 'only the administrator may see this')
      // A browser sends the cookie by itself; another site must not be able to make it do so (CSRF).
      const byCookie = request.headers.authorization === undefined
      if (byCookie && request.method !== 'GET' && request.method !== 'HEAD' && !isSameOrigin(request)) {
        throw new Refusal('forbidden', 'this request comes from another site')
      }
    },
    signIn(code, reply) {
      const session = sessions.signIn(code)
      if (session === undefined) return false
      setCookie(reply, session.id, session.seconds)
      return true
    },
    signOut(request, reply) {
      sessions.signOut(readCookie(request))
      setCookie(reply, '', 0)
    },
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

// A name of its own for HTTPS: a browser would not let plain HTTP replace a Secure cookie of the same name.
function cookieName(request: FastifyRequest): string {
  return request.protocol === 'https' ? '__Host-vaartha' : 'vaartha'
}

function setCookie(reply: FastifyReply, value: string, seconds: number): void {
  const secure = reply.request.protocol === 'https' ? '; Secure' : ''
  const name = cookieName(reply.request)
  reply.header('set-cookie', `${name}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure}`)
}

function readCookie(request: FastifyRequest): string | undefined {
  const prefix = `${cookieName(request)}=`
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const cookie = part.trim()
    if (cookie.startsWith(prefix)) return cookie.slice(prefix.length)
  }
  return undefined
}

function isSameOrigin(request: FastifyRequest): boolean {
  const { origin, host } = request.headers
  if (origin === undefined || !URL.canParse(origin)) return false
  const url = new URL(origin)
  return url.host === host && url.protocol === `${request.protocol}:`
}
