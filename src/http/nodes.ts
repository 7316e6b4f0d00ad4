import type { FastifyInstance } from 'fastify'
import type { Nodes } from '../cluster/nodes.ts'
import { array, integer, number, object, record, string, word } from '../schema.ts'

const node = object({
  node: string(),
  life: string({ description: 'One start of its program; what it holds belongs to that.' }),
  state: word(['joining', 'up', 'draining', 'suspect', 'down']),
  roles: array(string()),
  priority: integer({ description: 'The lowest of those that are up is the active one.' }),
  sip: string(),
  http: string(),
  link: string(),
  version: string(),
  since: integer({ description: 'When this life began, in ms since 1970.' }),
  seen: integer({ description: 'When it was last heard of, in ms since 1970.' }),
  load: record(number()),
  weight: number({ description: 'From 0 to 1: how much of its share of new work it takes.' }),
})

/** `/api/nodes`, for the administrator. */
export function addNodes(app: FastifyInstance, nodes: Nodes): void {
  const tags = ['nodes']
  app.get(
    '/api/nodes',
    { schema: { summary: 'The nodes of this cluster', tags, response: { 200: array(node) } } },
    async () => nodes.list(),
  )
  const response = { 200: object({ node: string(), state: string() }) }
  app.post<{ Params: { node: string } }>(
    '/api/nodes/:node/drain',
    { schema: { summary: 'Lets a node take nothing new, and give away what it can', tags, response } },
    async ({ params }) => {
      await nodes.drain(params.node)
      return { node: params.node, state: 'draining' }
    },
  )
  app.delete<{ Params: { node: string } }>(
    '/api/nodes/:node/drain',
    { schema: { summary: 'Lets a node that drains take new work again', tags, response } },
    async ({ params }) => {
      await nodes.undrain(params.node)
      return { node: params.node, state: 'up' }
    },
  )
}
