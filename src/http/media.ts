import type { FastifyInstance } from 'fastify'
import { array, integer, number, object } from '../schema.ts'
import type { HttpDeps } from './deps.ts'

const load = object({
  workers: array(object({ pid: integer(), legs: integer(), cpuSeconds: number() }), { description: 'SFU workers.' }),
  ports: integer({ description: 'Ports of plain phones.' }),
  rooms: integer(),
  audioCpuSeconds: number({ description: 'CPU seconds of the audio thread since it began.' }),
  packets: object(
    { in: integer(), out: integer(), dropped: integer() },
    { description: 'Of the audio thread. What goes directly between two clients is not among them.' },
  ),
})

/** `/api/media`, for the administrator: what the media room carries now. */
export function addMedia(app: FastifyInstance, { mediaLoad }: Pick<HttpDeps, 'mediaLoad'>): void {
  app.get(
    '/api/media',
    { schema: { summary: 'What voice and video go through this server', tags: ['media'], response: { 200: load } } },
    async () => mediaLoad(),
  )
}
