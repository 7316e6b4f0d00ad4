import type { FastifyInstance } from 'fastify'
import { integer, object } from '../schema.ts'
import type { HttpDeps } from './deps.ts'

const kept = object({
  kept: integer({ description: 'Messages that wait, on all nodes.' }),
  people: integer({ description: 'For so many people.' }),
})

/** `/api/messages/kept`, for the administrator: counts alone, what people write is nobody else's business. */
export function addMessages(app: FastifyInstance, { messages }: Pick<HttpDeps, 'messages'>): void {
  app.get(
    '/api/messages/kept',
    { schema: { summary: 'How many messages wait for their people', tags: ['messages'], response: { 200: kept } } },
    async () => messages(),
  )
}
