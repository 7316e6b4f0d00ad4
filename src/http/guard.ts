import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { createGuard as createFailureGuard } from '../auth/guard.ts'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import { isSameOrigin, readCookie, setCookie } from './cookies.ts'
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

const cookie = 'vaartha'

/** Tells the administrator by `Authorization: Bearer <token>` or by the session cookie. */
export function createGuard(deps: { adminToken: string; sessions: Sessions; events: Events }): Guard {
  const { sessions } = deps
  const wanted = digest(deps.adminToken)
  const failures = createFailureGuard({ config: tokenLimits, events: deps.events, now: Date.now })

  function isAdmin(request: FastifyRequest): boolean {
    const { authorization } = request.headers
    if (authorization === undefined) return sessions.knows(readCookie(request, cookie))
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
      const byCookie = request.headers.authorization === undefined
      if (byCookie && request.method !== 'GET' && request.method !== 'HEAD' && !isSameOrigin(request)) {
        throw new Refusal('forbidden', 'this request comes from another site')
      }
    },
    signIn(code, reply) {
      const session = sessions.signIn(code)
      if (session === undefined) return false
      setCookie(reply, cookie, session.id, session.seconds)
      return true
    },
    signOut(request, reply) {
      sessions.signOut(readCookie(request, cookie))
      setCookie(reply, cookie, '', 0)
    },
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
