import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import { Refusal } from '../errors.ts'
import type { HttpDeps } from './deps.ts'

const binding = Type.Object({
  aor: Type.String(),
  contact: Type.String(),
  callId: Type.String(),
  cseq: Type.Number(),
  q: Type.Number(),
  expiresAt: Type.Number({ description: 'When it ends, in ms since 1970.' }),
  path: Type.Array(Type.String()),
  instance: Type.Optional(Type.String()),
  regId: Type.Optional(Type.Number()),
  flow: Type.String(),
  protocol: Type.String(),
  source: Type.Object({ address: Type.String(), port: Type.Number() }),
  userAgent: Type.String(),
  registeredAt: Type.Number(),
  updatedAt: Type.Number(),
  node: Type.String(),
})

const page = Type.Object({
  bindings: Type.Array(binding),
  cursor: Type.Optional(Type.String({ description: 'Opens the next page; absent on the last.' })),
})

const listQuery = Type.Object(
  {
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 }),
    cursor: Type.Optional(Type.String({ maxLength: 1000 })),
  },
  { additionalProperties: false },
)
const removeQuery = Type.Object(
  { contact: Type.Optional(Type.String({ maxLength: 2000, description: 'Only this contact; all when left out.' })) },
  { additionalProperties: false },
)
const removeParams = Type.Object({ aor: Type.String({ description: '`sip:user@domain`' }) })

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
        response: { 200: Type.Object({ removed: Type.Integer() }) },
      },
    },
    async request => {
      const removed = await registrations.remove(request.params.aor, request.query.contact)
      if (removed === 0) throw new Refusal('not-found', 'there is no such registration')
      return { removed }
    },
  )
}
