import { hash, randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SessionTable } from '../cluster/sessions.ts'
import { Refusal } from '../errors.ts'
import { isSameOrigin, readCookie, setCookie } from './cookies.ts'

const cookie = 'vaartha-phone'
const sessionMs = 12 * 3_600_000
const mostSessions = 10_000

/**
 * Who uses the web phone in which browser. Kept in memory, and that of other nodes: after a restart of all the phone
 * proves itself anew with what it registers with, and nobody notices.
 */
export interface PhoneSessions {
  open(user: string, reply: FastifyReply): void
  /** The person behind a request; undefined when nobody has signed in. */
  user(request: FastifyRequest): string | undefined
  /** The same, or refuses `unauthorized`, and `forbidden` a change that another site asks for. */
  demand(request: FastifyRequest): string
  close(request: FastifyRequest, reply: FastifyReply): void
}

/** `sessions` are by SHA-256 of the cookie, so that the time of a look-up tells nothing; the oldest come first. */
export function createPhoneSessions(sessions: SessionTable = new Map(), now: () => number = Date.now): PhoneSessions {
  function user(request: FastifyRequest): string | undefined {
    const id = readCookie(request, cookie)
    const session = id === undefined ? undefined : sessions.get(hash('sha256', id))
    return session !== undefined && session.ends > now() ? session.user : undefined
  }

  return {
    open(user, reply) {
      for (const [key, { ends }] of sessions) {
        if (ends > now() && sessions.size < mostSessions) break
        sessions.delete(key)
      }
      const id = randomBytes(24).toString('base64url')
      sessions.set(hash('sha256', id), { user, ends: now() + sessionMs })
      setCookie(reply, cookie, id, sessionMs / 1000)
    },
    user,
    demand(request) {
      const found = user(request)
      if (found === undefined) throw new Refusal('unauthorized', 'sign in first')
      if (request.method !== 'GET' && request.method !== 'HEAD' && !isSameOrigin(request))
        throw new Refusal('forbidden', 'this request comes from another site')
      return found
    },
    close(request, reply) {
      const id = readCookie(request, cookie)
      if (id !== undefined) sessions.delete(hash('sha256', id))
      setCookie(reply, cookie, '', 0)
    },
  }
}
