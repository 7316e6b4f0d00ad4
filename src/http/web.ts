import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { readPlainCookie } from './cookies.ts'
import { html } from './markup.ts'
import { pageDocument } from './page.ts'
import type { WebPhone } from './web-build.ts'

const year = 31_536_000

/** The web phone at `/`: its page, its hashed files (kept for ever by browsers) and what has to be asked for each time. */
export async function addWeb(
  app: FastifyInstance,
  web: WebPhone,
  others: () => readonly string[] = () => [],
): Promise<void> {
  const schema = { hide: true }
  await app.register(fastifyStatic, { root: web.folder, serve: false, cacheControl: false, etag: true })
  const page = (request: FastifyRequest, reply: FastifyReply) => {
    if (web.state() === 'preparing' || web.state() === 'failed') return reply.code(503).send(waiting(web, reply))
    reply.header('content-security-policy', policy(request, others())).header('cache-control', 'no-cache')
    return reply.sendFile('index.html')
  }
  for (const path of ['/', '/join']) app.get(path, { schema }, page)
  for (const name of ['sw.js', 'manifest.webmanifest', 'icon-192.png', 'icon-512.png'])
    app.get(`/${name}`, { schema }, (_request, reply) => reply.header('cache-control', 'no-cache').sendFile(name))
  app.get<{ Params: { file: string } }>('/web/:file', { schema }, (request, reply) => {
    const { file } = request.params
    // Only names that the build has made: nothing of a path that a stranger writes reaches the file system.
    if (web.state() === 'preparing' || !readdirSync(join(web.folder, 'web')).includes(file)) return reply.callNotFound()
    return reply.header('cache-control', `public, max-age=${year}, immutable`).sendFile(`web/${file}`)
  })
}

function waiting(web: WebPhone, reply: FastifyReply): string {
  reply.type('text/html; charset=utf-8')
  if (web.state() === 'failed')
    return pageDocument(
      'Vaartha',
      html`<section><p>The web phone could not be built; the log says why. Other phones work.</p>
<p><a href="/status">To the status page</a></p></section>`,
    )
  reply.header('refresh', '2')
  return pageDocument(
    'Vaartha',
    html`<section><p role="status">The web phone is being prepared. This page opens it by itself.</p></section>`,
  )
}

// host or host:port, as the profiles of the phone name other servers.
const server = /^(?:[a-z0-9.-]{1,253}|\[[0-9a-f:]{2,45}\])(?::\d{1,5})?$/
const mostServers = 16

/**
 * The page may load nothing from anywhere else, and connect only to this server and to those that its user has entered
 * as a profile: the page names them in a cookie. The other nodes are what it goes on with when this one dies. Older Safari does not count WebSockets as `'self'`.
 */
function policy(request: FastifyRequest, others: readonly string[]): string {
  const named = (readPlainCookie(request, 'vaartha-servers') ?? '').split('~').slice(0, mostServers)
  const own = request.headers.host?.toLowerCase() ?? ''
  const places = [
    ...(server.test(own) ? [`ws://${own}`, `wss://${own}`] : []),
    ...[...named, ...others].filter(name => server.test(name)).map(name => `wss://${name}`),
  ]
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "media-src 'self' blob:",
    `connect-src 'self' ${places.join(' ')}`.trim(),
    "manifest-src 'self'",
    "worker-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}
