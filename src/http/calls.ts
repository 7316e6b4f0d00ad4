import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import { Refusal } from '../errors.ts'
import type { HttpDeps } from './deps.ts'

const leg = Type.Object({
  aor: Type.String(),
  contact: Type.Optional(Type.String()),
  userAgent: Type.Optional(Type.String()),
  status: Type.Optional(Type.Number()),
})

const call = Type.Object({
  id: Type.String(),
  from: Type.String(),
  to: Type.String(),
  state: Type.String(),
  since: Type.String({ description: 'ISO 8601, UTC.' }),
  answered: Type.Optional(Type.String()),
  legs: Type.Array(leg),
})

const record = Type.Object({
  id: Type.String(),
  from: Type.String(),
  to: Type.String(),
  started: Type.String({ description: 'ISO 8601, UTC.' }),
  answered: Type.Optional(Type.String()),
  ended: Type.String(),
  seconds: Type.Number({ description: 'From answer to end.' }),
  result: Type.String(),
  status: Type.Number(),
  reason: Type.String(),
  legs: Type.Array(leg),
})

const historyQuery = Type.Object(
  {
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 50 }),
    before: Type.Optional(Type.String({ maxLength: 40, description: 'Only calls that started before; ISO 8601.' })),
    user: Type.Optional(Type.String({ maxLength: 300, description: 'Only calls of `sip:user@domain`.' })),
  },
  { additionalProperties: false },
)
const params = Type.Object({ id: Type.String() })

export function addCalls(app: FastifyInstance, { calls, records }: Pick<HttpDeps, 'calls' | 'records'>): void {
  const tags = ['calls']
  app.get(
    '/api/calls',
    { schema: { summary: 'Calls going on', tags, response: { 200: Type.Array(call) } } },
    async () => calls.list(),
  )
  app.delete<{ Params: Static<typeof params> }>(
    '/api/calls/:id',
    { schema: { summary: 'Hangs up', tags, params, response: { 204: Type.Null() } } },
    async (request, reply) => {
      if (!calls.hangUp(request.params.id)) throw new Refusal('no-such-call', 'there is no such call')
      return reply.code(204).send()
    },
  )
  app.get<{ Querystring: Static<typeof historyQuery> }>(
    '/api/history',
    {
      schema: {
        summary: 'Ended calls, newest first',
        tags,
        querystring: historyQuery,
        response: { 200: Type.Array(record) },
      },
    },
    async request => records.list(request.query),
  )
}
