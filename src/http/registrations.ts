import type { FastifyInstance } from 'fastify'
import { Refusal } from '../errors.ts'
import { array, closed, integer, number, object, optional, type Static, string } from '../schema.ts'
import type { HttpDeps } from './deps.ts'

const binding = object({
  aor: string(),
  contact: string(),
  callId: string(),
  cseq: number(),
  q: number(),
  expiresAt: number({ description: 'When it ends, in ms since 1970.' }),
  path: array(string()),
  instance: optional(string()),
  regId: optional(number()),
  flow: string(),
  protocol: string(),
  source: object({ address: string(), port: number() }),
  userAgent: string(),
  registeredAt: number(),
  updatedAt: number(),
  node: string(),
})

const page = object({
  bindings: array(binding),
  cursor: optional(string({ description: 'Opens the next page; absent on the last.' })),
})

const listQuery = object(
  {
    limit: integer({ minimum: 1, maximum: 1000, default: 100 }),
    cursor: optional(string({ maxLength: 1000 })),
  },
  closed,
)
const removeQuery = object(
  { contact: optional(string({ maxLength: 2000, description: 'Only this contact; all when left out.' })) },
  closed,
)
const removeParams = object({ aor: string({ description: '`sip:user@domain`' }) })

export function addRegistrations(app: FastifyInstance, { registrations }: Pick<HttpDeps, 'registrations'>): void {
  const tags = ['registrations']
  app.get<{ Querystring: Static<typeof listQuery> }>(
    '/api/registrations',
    { schema: { summary: 'Registered phones, by pages', tags, querystring: listQuery, response: { 200: page } } },
    async request => registrations.list(request.query.cursor, request.query.limit),
  )
  app.delete<{ Querystring: Static<typeof removeQuery>; Params: Static<typeof removeParams> }>(
    '/api/registrations/:aor',
    {
      schema: {
        summary: 'Takes registrations of an address away',
        tags,
        params: removeParams,
        querystring: removeQuery,
        response: { 200: object({ removed: integer() }) },
      },
    },
    async request => {
      const removed = await registrations.remove(request.params.aor, request.query.contact)
      if (removed === 0) throw new Refusal('not-found', 'there is no such registration')
      return { removed }
    },
  )
}
