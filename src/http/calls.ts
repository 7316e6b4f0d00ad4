import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Refusal } from '../errors.ts'
import { array, boolean, closed, integer, nothing, number, object, optional, type Static, string } from '../schema.ts'
import type { HttpDeps } from './deps.ts'
import type { Guard } from './guard.ts'
import type { PhoneSessions } from './phone-sessions.ts'

const leg = object({
  aor: string(),
  contact: optional(string()),
  userAgent: optional(string()),
  status: optional(number()),
})

const call = object({
  id: string(),
  from: string(),
  to: string(),
  state: string(),
  since: string({ description: 'ISO 8601, UTC.' }),
  answered: optional(string()),
  recording: boolean(),
  legs: array(leg),
})

const record = object({
  id: string(),
  from: string(),
  to: string(),
  started: string({ description: 'ISO 8601, UTC.' }),
  answered: optional(string()),
  ended: string(),
  seconds: number({ description: 'From answer to end.' }),
  result: string(),
  status: number(),
  reason: string(),
  legs: array(leg),
})

const historyQuery = object(
  {
    limit: integer({ minimum: 1, maximum: 1000, default: 50 }),
    before: optional(string({ maxLength: 40, description: 'Only calls that started before; ISO 8601.' })),
    user: optional(string({ maxLength: 300, description: 'Only calls of `sip:user@domain`.' })),
  },
  closed,
)
const params = object({ id: string() })
const recordingState = object({ id: string(), recording: boolean() })

export function addCalls(app: FastifyInstance, { calls, records }: Pick<HttpDeps, 'calls' | 'records'>): void {
  const tags = ['calls']
  app.get('/api/calls', { schema: { summary: 'Calls going on', tags, response: { 200: array(call) } } }, async () =>
    calls.list(),
  )
  app.delete<{ Params: Static<typeof params> }>(
    '/api/calls/:id',
    { schema: { summary: 'Hangs up', tags, params, response: { 204: nothing() } } },
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
        response: { 200: array(record) },
      },
    },
    async request => records.list(request.query),
  )
}

/** Recording of a call, for the administrator, and for a signed-in party of it that may (`calls.record`). */
export function addCallRecording(
  app: FastifyInstance,
  { calls }: Pick<HttpDeps, 'calls'>,
  guard: Guard,
  phones: PhoneSessions,
): void {
  /** The party whose permission counts; undefined for the administrator. */
  async function asker(request: FastifyRequest): Promise<string | undefined> {
    const byCookie = request.headers.authorization === undefined
    if (byCookie && !guard.isAdmin(request) && phones.user(request) !== undefined) return phones.demand(request)
    await guard.demandAdmin(request)
    return undefined
  }

  const routes = [
    { method: 'POST', on: true, summary: 'Records a call, after a tone that both hear' },
    { method: 'DELETE', on: false, summary: 'Ends the recording and keeps it' },
  ] as const
  for (const { method, on, summary } of routes) {
    app.route<{ Params: Static<typeof params> }>({
      method,
      url: '/api/calls/:id/recording',
      schema: { summary, tags: ['calls', 'recordings'], params, response: { 200: recordingState } },
      async handler(request) {
        const { id } = request.params
        await calls.record(id, on, await asker(request))
        return { id, recording: on }
      },
    })
  }
}
