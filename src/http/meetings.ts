import type { FastifyInstance } from 'fastify'
import { array, boolean, closed, integer, nothing, object, type Static, string, word } from '../schema.ts'
import type { HttpDeps } from './deps.ts'

const member = object({
  id: integer(),
  user: string(),
  displayName: string(),
  since: string({ description: 'ISO 8601, UTC.' }),
  profile: string({ description: '`webrtc` or `plain`.' }),
  mesh: boolean({ description: 'It can send to each of the others directly.' }),
  muted: boolean(),
  held: boolean(),
  moderator: boolean(),
})

const meeting = object({
  id: string(),
  address: string(),
  displayName: string(),
  adHoc: boolean(),
  since: string({ description: 'ISO 8601, UTC.' }),
  locked: boolean(),
  recording: boolean(),
  shape: string({ description: '`direct`, `mesh` or `sfu`.' }),
  changing: boolean(),
  members: array(member),
  ringing: array(string(), { description: 'Users that are being rung.' }),
})

const action = word(['lock', 'unlock', 'record', 'stop-recording', 'end'])
const memberAction = word(['mute', 'unmute', 'remove'])
const actionParams = object({ id: string(), action })
const memberParams = object({ id: string(), member: integer(), action: memberAction })
const inviteParams = object({ id: string() })
const invite = object({ user: string({ minLength: 1, maxLength: 64 }) }, closed)

export function addMeetings(app: FastifyInstance, { meetings }: Pick<HttpDeps, 'meetings'>): void {
  const tags = ['meetings']
  const response = { 204: nothing() }
  app.get(
    '/api/meetings',
    { schema: { summary: 'Meetings going on', tags, response: { 200: array(meeting) } } },
    async () => meetings.list(),
  )
  app.post<{ Params: Static<typeof actionParams> }>(
    '/api/meetings/:id/:action',
    { schema: { summary: 'Locks, records or ends', tags, params: actionParams, response } },
    async (request, reply) => {
      await meetings.act(request.params.id, { do: request.params.action })
      return reply.code(204).send()
    },
  )
  app.post<{ Params: Static<typeof inviteParams>; Body: Static<typeof invite> }>(
    '/api/meetings/:id/invite',
    { schema: { summary: 'Rings a person', tags, params: inviteParams, body: invite, response } },
    async (request, reply) => {
      await meetings.act(request.params.id, { do: 'invite', user: request.body.user })
      return reply.code(204).send()
    },
  )
  app.post<{ Params: Static<typeof memberParams> }>(
    '/api/meetings/:id/members/:member/:action',
    { schema: { summary: 'Mutes, unmutes or removes', tags, params: memberParams, response } },
    async (request, reply) => {
      const { id, member, action } = request.params
      await meetings.act(id, { do: action, member })
      return reply.code(204).send()
    },
  )
}
