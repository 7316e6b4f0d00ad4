import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Refusal } from '../errors.ts'
import type { Recording } from '../groups/recorder.ts'
import { array, boolean, closed, integer, nothing, number, object, type Static, string } from '../schema.ts'
import type { HttpDeps } from './deps.ts'
import type { Guard } from './guard.ts'
import type { PhoneSessions } from './phone-sessions.ts'

const recording = object({
  id: string(),
  meeting: string({ description: 'Id of the meeting or call.' }),
  address: string({ description: 'URI of the meeting, or of who was called.' }),
  started: string({ description: 'ISO 8601, UTC.' }),
  ended: string(),
  seconds: number(),
  people: array(string(), { description: 'AORs of all who were in.' }),
  node: string({ description: 'The node that has the files; empty for a node by itself.' }),
  files: array(
    object({
      file: string(),
      speaker: string({ description: 'Empty for the mix.' }),
      seconds: number(),
      bytes: integer(),
    }),
  ),
})
const query = object({ limit: integer({ minimum: 1, maximum: 1000, default: 100 }) }, closed)
const params = object({ id: string() })
const fileParams = object({ id: string(), file: string() })
const ownGroup = object({
  name: string(),
  displayName: string(),
  members: array(string()),
  moderator: boolean(),
  active: boolean({ description: 'A meeting is going on.' }),
})

type Deps = Pick<HttpDeps, 'groups' | 'meetings' | 'recordings' | 'domain'>

/** Recordings, for the administrator and for who was there; and one's own groups. */
export function addRecordings(app: FastifyInstance, deps: Deps, guard: Guard, phones: PhoneSessions): void {
  const { recordings, domain } = deps
  const tags = ['recordings']

  /** The AOR whose recordings may be seen; undefined for the administrator, who may see all. */
  async function reader(request: FastifyRequest): Promise<string | undefined> {
    if (phones.user(request) !== undefined) return `sip:${phones.demand(request)}@${domain}`
    await guard.demandAdmin(request)
    return undefined
  }

  async function find(request: FastifyRequest, id: string): Promise<Recording> {
    const user = await reader(request)
    const found = await recordings.get(id)
    // Who was not there learns nothing, not even that there is one.
    if (found === undefined || (user !== undefined && !found.people.includes(user))) {
      throw new Refusal('not-found', 'there is no such recording')
    }
    return found
  }

  app.get<{ Querystring: Static<typeof query> }>(
    '/api/recordings',
    { schema: { summary: 'Recordings, newest first', tags, querystring: query, response: { 200: array(recording) } } },
    async request => {
      const user = await reader(request)
      return recordings.list({ limit: request.query.limit, ...(user === undefined ? {} : { user }) })
    },
  )
  app.get<{ Params: Static<typeof fileParams> }>(
    '/api/recordings/:id/:file',
    { schema: { summary: 'One file, Ogg Opus', tags, params: fileParams } },
    async (request, reply) => {
      const { id, file } = request.params
      const found = await find(request, id)
      if (!found.files.some(one => one.file === file)) throw new Refusal('not-found', 'there is no such file')
      const path = recordings.path(file)
      const size = await stat(path).catch((cause: unknown) => {
        const where = found.node === '' ? 'the file is gone' : `the file is not here: node ${found.node} recorded it`
        throw new Refusal('not-found', where, { cause })
      })
      return reply
        .type('audio/ogg')
        .header('content-length', size.size)
        .header('content-disposition', `attachment; filename="${file}"`)
        .send(createReadStream(path))
    },
  )
  app.delete<{ Params: Static<typeof params> }>(
    '/api/recordings/:id',
    { onRequest: guard.demandAdmin, schema: { summary: 'Removes one', tags, params, response: { 204: nothing() } } },
    async (request, reply) => {
      await recordings.remove(request.params.id)
      return reply.code(204).send()
    },
  )
  app.get(
    '/api/phone/groups',
    { schema: { summary: 'One’s own groups', tags: ['phone'], response: { 200: array(ownGroup) } } },
    async request => {
      const user = phones.demand(request)
      const mine = (await deps.groups.list(domain)).filter(group => group.members.includes(user))
      const told = mine.map(async ({ name, displayName, members, moderators }) => ({
        name,
        displayName: displayName || name,
        members: [...members],
        moderator: moderators.includes(user),
        active: await deps.meetings.isOn(name),
      }))
      return Promise.all(told)
    },
  )
}
