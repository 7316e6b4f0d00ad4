import type { FastifyReply, FastifyRequest } from 'fastify'

/** Sets a cookie that scripts and other sites never see; an empty value with 0 seconds takes it away. */
export function setCookie(reply: FastifyReply, name: string, value: string, seconds: number): void {
  const secure = reply.request.protocol === 'https' ? '; Secure' : ''
  const full = cookieName(reply.request, name)
  reply.header('set-cookie', `${full}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure}`)
}

export function readCookie(request: FastifyRequest, name: string): string | undefined {
  return readPlainCookie(request, cookieName(request, name))
}

/** A cookie by its exact name, for those that the page writes by itself. */
export function readPlainCookie(request: FastifyRequest, name: string): string | undefined {
  const prefix = `${name}=`
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const cookie = part.trim()
    if (cookie.startsWith(prefix)) return cookie.slice(prefix.length)
  }
  return undefined
}

/** A browser sends cookies by itself; another site must not be able to make it do so (CSRF). */
export function isSameOrigin(request: FastifyRequest): boolean {
  const { origin, host } = request.headers
  if (origin === undefined || !URL.canParse(origin)) return false
  const url = new URL(origin)
  return url.host === host && url.protocol === `${request.protocol}:`
}

// A name of its own for HTTPS: a browser would not let plain HTTP replace a Secure cookie of the same name.
function cookieName(request: FastifyRequest, name: string): string {
  return request.protocol === 'https' ? `__Host-${name}` : name
}
