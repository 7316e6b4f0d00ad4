import type { FastifyInstance } from 'fastify'
import { Refusal } from '../errors.ts'
import { replications, rings } from '../groups/store.ts'
import { array, boolean, closed, integer, nothing, object, optional, type Static, string, word } from '../schema.ts'
import type { HttpDeps } from './deps.ts'

const ring = word(rings, { description: 'Whom the first caller rings: all, one after the other, or nobody.' })
const replication = word(
  replications.filter(one => one !== 'configured'),
  { description: 'What is kept of its meetings for other nodes, where it is not as configured.' },
)
const group = object({
  name: string(),
  domain: string(),
  displayName: string(),
  members: array(string(), { description: 'User names, in the order of ringing.' }),
  moderators: array(string()),
  ring,
  record: boolean({ description: 'Each meeting is recorded, after a tone that says so.' }),
  announce: boolean({ description: 'A tone is heard when somebody comes or goes.' }),
  pin: boolean({ description: 'Others than members must type a PIN.' }),
  most: optional(integer({ description: 'Most people at once, where it is not as configured.' })),
  replication: optional(replication),
  created: string({ description: 'ISO 8601, UTC.' }),
})

const users = optional(array(string({ maxLength: 64 })))
const wishes = {
  displayName: optional(string({ maxLength: 200 })),
  members: users,
  moderators: users,
  ring: optional(ring),
  record: optional(boolean()),
  announce: optional(boolean()),
  pin: optional(string({ maxLength: 12, description: '4 to 12 digits; empty takes it away.' })),
  most: optional(integer({ minimum: 0, maximum: 10_000, description: '0: as configured.' })),
  replication: optional(word(replications, { description: '`configured`: as `cluster.replication` says.' })),
}
const newGroup = object({ name: string({ minLength: 1, maxLength: 64 }), ...wishes }, closed)
const change = object(wishes, closed)
const params = object({ name: string() })

export function addGroups(app: FastifyInstance, { groups, domain }: Pick<HttpDeps, 'groups' | 'domain'>): void {
  const tags = ['groups']
  app.get('/api/groups', { schema: { summary: 'Groups', tags, response: { 200: array(group) } } }, async () =>
    groups.list(domain),
  )
  app.get<{ Params: Static<typeof params> }>(
    '/api/groups/:name',
    { schema: { summary: 'One group', tags, params, response: { 200: group } } },
    async request => {
      const found = await groups.get(request.params.name, domain)
      if (found === undefined) throw new Refusal('not-found', `there is no group ${request.params.name}`)
      return found
    },
  )
  app.post<{ Body: Static<typeof newGroup> }>(
    '/api/groups',
    { schema: { summary: 'Adds a group', tags, body: newGroup, response: { 201: group } } },
    async (request, reply) => reply.code(201).send(await groups.add({ ...request.body, domain })),
  )
  app.patch<{ Params: Static<typeof params>; Body: Static<typeof change> }>(
    '/api/groups/:name',
    { schema: { summary: 'Changes a group', tags, params, body: change, response: { 200: group } } },
    async request => groups.change(request.params.name, domain, request.body),
  )
  app.delete<{ Params: Static<typeof params> }>(
    '/api/groups/:name',
    { schema: { summary: 'Removes a group', tags, params, response: { 204: nothing() } } },
    async (request, reply) => {
      await groups.remove(request.params.name, domain)
      return reply.code(204).send()
    },
  )
}
