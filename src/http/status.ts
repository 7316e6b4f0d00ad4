import type { FastifyInstance } from 'fastify'
import { Refusal } from '../errors.ts'
import type { MaybePromise } from '../location/store.ts'
import { array, boolean, integer, nullable, number, object, optional, record, string, word } from '../schema.ts'
import type { HttpDeps } from './deps.ts'

const media = object({
  sfu: word(['ready', 'preparing', 'unavailable'], {
    description: 'The media worker, which browsers need for talking to phones and for meetings.',
  }),
  why: string(),
  progress: optional(number({ description: 'From 0 to 1, while it is being built.' })),
  mixer: optional(
    object(
      { on: boolean(), why: string() },
      { description: 'The FreeSWITCH that mixes meetings, where one is configured.' },
    ),
  ),
})
const health = object({ status: string(), media })
const degraded = boolean({ description: 'It serves, but something that it stands on does not.' })
const ready = object({ ready: boolean(), degraded, reasons: array(string()) })
const status = object({
  name: string(),
  domain: string(),
  version: string(),
  uptime: integer({ description: 'Seconds.' }),
  ready: boolean(),
  degraded,
  reasons: array(string({ description: 'Why it is not ready, or degraded.' })),
  registrations: nullable(integer(), {
    description: 'Null while the store does not answer.',
  }),
  calls: integer(),
  accounts: integer(),
  points: array(string({ description: 'Protocol, address and port.' })),
  parts: record(object({ on: boolean(), why: string() })),
  media,
})

/** `/health` and `/health/ready`, for everybody. */
export function addHealth(app: FastifyInstance, deps: Pick<HttpDeps, 'health'>): void {
  const tags = ['health']
  app.get('/health', { schema: { summary: 'It runs', tags, response: { 200: health } } }, async () => ({
    status: 'ok',
    media: deps.health().media,
  }))
  app.get(
    '/health/ready',
    { schema: { summary: 'It can serve calls', tags, response: { 200: ready, 503: ready } } },
    async (_request, reply) => {
      const now = deps.health()
      return reply.code(now.ready ? 200 : 503).send(now)
    },
  )
}

/** `/api/status`, for the administrator. */
export function addStatus(app: FastifyInstance, deps: HttpDeps): void {
  app.get(
    '/api/status',
    { schema: { summary: 'What the server is and does', tags: ['status'], response: { 200: status } } },
    async () => ({
      ...(await deps.info()),
      ...deps.health(),
      uptime: Math.floor((Date.now() - deps.began) / 1000),
      registrations: (await unlessAway(() => deps.registrations.count())) ?? null,
      calls: deps.calls.list().length,
    }),
  )
}

/** Undefined while a store does not answer, where the rest of an answer is wanted all the more. */
export async function unlessAway<T>(read: () => MaybePromise<T>): Promise<T | undefined> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof Refusal && error.code === 'store-unavailable') return undefined
    throw error
  }
}
