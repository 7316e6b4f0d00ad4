import rateLimit from '@fastify/rate-limit'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify'
import { projectVersion } from '../config/load.ts'
import { Refusal } from '../errors.ts'
import { nothing, object, string } from '../schema.ts'
import { addAccounts } from './accounts.ts'
import { addCallRecording, addCalls } from './calls.ts'
import type { HttpDeps } from './deps.ts'
import { addDrill } from './drill.ts'
import { addGroups } from './groups.ts'
import type { Guard } from './guard.ts'
import { addInvitations, addRedeem, isLoopback } from './invitations.ts'
import { addLive, type Live } from './live.ts'
import { addMedia } from './media.ts'
import { addMeetings } from './meetings.ts'
import { addMessages } from './messages.ts'
import type { Metrics } from './metrics.ts'
import { addNodes } from './nodes.ts'
import { addPage, messagePage } from './page.ts'
import { addPhone } from './phone.ts'
import type { PhoneSessions } from './phone-sessions.ts'
import { addRecordings } from './recordings.ts'
import { addRegistrations } from './registrations.ts'
import { addHealth, addStatus } from './status.ts'
import { addTrust } from './trust.ts'
import { addWeb } from './web.ts'

export interface AppParts {
  guard: Guard
  live: Live
  metrics: Metrics
  phones: PhoneSessions
  points(): { secure: boolean; port: number }[]
  /** Where a browser reaches this server; undefined while HTTP listens nowhere. */
  base(): string | undefined
  /** A fresh one-time link; undefined while HTTP listens nowhere. */
  link(): string | undefined
}

const bodyBytes = 64 * 1024
// Requests a minute from one address.
const mostRequests = 1200

const csp =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
// The API page sets styles by attribute.
const docsCsp = csp.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'; font-src 'self' data:")

/** All routes, the error boundary and the headers; it does not listen itself. */
export async function createApp(deps: HttpDeps, parts: AppParts): Promise<FastifyInstance> {
  const app = fastify({
    loggerInstance: deps.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: bodyBytes,
    routerOptions: { maxParamLength: 512 },
    // A key that nobody knows is an error of the caller, not something to drop in silence.
    ajv: { customOptions: { removeAdditional: false } },
  })
  app.addHook('onSend', addHeaders)
  app.setErrorHandler<FastifyError>(answerFailure)
  await app.register(rateLimit, { max: mostRequests, timeWindow: 60_000 })
  app.setNotFoundHandler({ preHandler: app.rateLimit() }, (request, reply) =>
    refuse(request, reply, 404, 'not-found', 'There is nothing at this address.'),
  )
  await addDocs(app, parts.guard)
  addHealth(app, deps)
  addMetrics(app, deps, parts)
  addPage(app, deps, parts.guard)
  addTrust(app, deps, parts.points)
  addPhone(app, deps, parts.phones, parts.points)
  addRedeem(app, deps)
  addRecordings(app, deps, parts.guard, parts.phones)
  addCallRecording(app, deps, parts.guard, parts.phones)
  await addWeb(app, deps.web, deps.otherPlaces)
  await app.register(async api => {
    api.addHook('onRequest', parts.guard.demandAdmin)
    addStatus(api, deps)
    addRegistrations(api, deps)
    addCalls(api, deps)
    addAccounts(api, deps)
    addGroups(api, deps)
    addMedia(api, deps)
    addMeetings(api, deps)
    addMessages(api, deps)
    if (deps.nodes !== undefined) addNodes(api, deps.nodes)
    addDrill(api, deps)
    addInvitations(api, deps, parts.base)
    addLive(api, parts.live)
    addAdmin(api, parts)
    api.get('/api/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  })
  await app.ready()
  return app
}

async function addDocs(app: FastifyInstance, guard: Guard): Promise<void> {
  await app.register(swagger, {
    openapi: {
      info: { title: 'Vaartha', description: 'The API of this server.', version: projectVersion() },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
  })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    uiHooks: { onRequest: guard.demandAdmin },
    uiConfig: { validatorUrl: null },
  })
}

function addMetrics(app: FastifyInstance, deps: HttpDeps, { guard, metrics }: AppParts): void {
  const who = deps.config.metrics
  app.get('/metrics', { schema: { summary: 'Figures for Prometheus', tags: ['health'] } }, async (request, reply) => {
    const may =
      who === 'lan' || (who === 'loopback' && isLoopback(request.ip)) || (who !== 'off' && guard.isAdmin(request))
    if (!may) throw new Refusal('forbidden', `http.metrics is '${who}'`)
    return reply.type(metrics.contentType).send(await metrics.text())
  })
}

function addAdmin(app: FastifyInstance, { guard, link }: AppParts): void {
  const tags = ['administrator']
  app.post(
    '/api/admin/link',
    { schema: { summary: 'A fresh one-time link', tags, response: { 200: object({ link: string() }) } } },
    async () => {
      const fresh = link()
      if (fresh === undefined) throw new Refusal('not-found', 'HTTP listens on no address, so no link leads here')
      return { link: fresh }
    },
  )
  app.delete(
    '/api/admin/session',
    { schema: { summary: 'Signs this browser out', tags, response: { 204: nothing() } } },
    async (request, reply) => {
      guard.signOut(request, reply)
      return reply.code(204).send()
    },
  )
}

async function addHeaders(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  if (!reply.hasHeader('content-security-policy'))
    reply.header('content-security-policy', request.url.startsWith('/docs') ? docsCsp : csp)
  reply.header('x-content-type-options', 'nosniff')
  reply.header('x-frame-options', 'DENY')
  reply.header('referrer-policy', 'no-referrer')
  reply.header('cross-origin-resource-policy', 'same-origin')
  if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
}

/** The one boundary: a Refusal is an answer, what fastify found wrong in the request too, anything else is a bug. */
function answerFailure(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error instanceof Refusal) {
    if (error.httpStatus === 401) reply.header('www-authenticate', 'Bearer')
    return refuse(request, reply, error.httpStatus, error.code, error.message)
  }
  const status = error.statusCode ?? 500
  if (status === 429) return refuse(request, reply, 429, 'too-many-requests', 'too many requests; wait a minute')
  if (status >= 400 && status < 500) return refuse(request, reply, status, 'bad-request', error.message)
  // The route and not the URL: a URL may hold a one-time code.
  request.log.error({ err: error, method: request.method, route: request.routeOptions.url }, 'request failed')
  return refuse(request, reply, 500, 'server-error', `something went wrong; the log tells more under ${request.id}`)
}

function refuse(request: FastifyRequest, reply: FastifyReply, status: number, error: string, message: string) {
  reply.code(status)
  if (/^\/(api|health|metrics)\b/.test(request.url))
    return reply.type('application/json').send(JSON.stringify({ error, message }))
  return reply.type('text/html; charset=utf-8').send(messagePage(message))
}
