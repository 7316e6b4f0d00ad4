import type { FastifyInstance } from 'fastify'
import type { Drills, DrillView } from '../drill/drills.ts'
import type { Logger } from '../log.ts'
import { array, boolean, closed, integer, nullable, object, optional, type Static, string, word } from '../schema.ts'
import { html, type Markup } from './markup.ts'
import { table, time } from './tables.ts'

const how = word(['kill', 'drain'], { description: 'SIGKILL, or told to give its work away.' })
const by = word(['administrator', 'schedule'])
const ms = nullable(integer(), { description: 'Milliseconds from the break; null: it never came.' })
const call = object({
  media: word(['direct', 'relay']),
  takenMs: ms,
  gapMs: integer({ description: 'Sound that the worse end has missed.' }),
  kept: boolean({ description: 'It could be hung up and the other end heard of it.' }),
})
const report = object({
  ...{ id: string(), how, by, target: string(), conductor: string(), began: string(), seconds: integer() },
  result: word(['passed', 'failed', 'broken', 'skipped']),
  why: string(),
  calls: array(call),
  noRelay: string({ description: 'Why no call with its sound through the node was tried.' }),
  ...{ deadMs: ms, registerMs: ms, newCallMs: ms, returnedMs: ms, failBackMs: ms },
  records: object({ wanted: integer(), here: integer(), there: nullable(integer()) }),
  verdict: array(object({ what: string(), found: string(), aim: string(), passed: boolean() })),
})
const step = object({ at: integer({ description: 'Seconds after its beginning.' }), text: string() })
const running = object({
  ...{ id: string(), how, by, target: string(), conductor: string(), began: string() },
  steps: array(step),
})
const view = object({
  running: nullable(running),
  reports: array(report, { description: 'Newest first.' }),
  next: nullable(string(), { description: 'When the calendar wants the next one.' }),
})
const wish = object(
  {
    how,
    target: optional(string({ maxLength: 100, description: 'The active node when left out.' })),
    force: optional(boolean({ description: 'Also where calls of people would be lost.' })),
    waitSeconds: optional(integer({ minimum: 1, maximum: 3600, description: 'For a killed node to be there again.' })),
  },
  closed,
)
const ordered = object({ id: string(), target: string(), conductor: string() })

/** `/api/drill`, for the administrator. */
export function addDrill(
  app: FastifyInstance,
  { drills, log }: { drills: Pick<Drills, 'order' | 'view'>; log: Logger },
) {
  const tags = ['nodes']
  app.get(
    '/api/drill',
    { schema: { summary: 'The drill that goes on, and reports of the last ones', tags, response: { 200: view } } },
    async () => drills.view(),
  )
  app.post<{ Body: Static<typeof wish> }>(
    '/api/drill',
    {
      schema: {
        summary: 'Kills or drains a node, and measures with test calls what that does',
        ...{ tags, body: wish, response: { 202: ordered } },
      },
    },
    async (request, reply) => {
      const begun = await drills.order({ ...request.body, by: 'administrator' })
      log.warn({ ...begun, ...request.body, source: request.ip }, 'an administrator has ordered a drill')
      return reply.code(202).send(begun)
    },
  )
}

const mostReports = 5

/** What the status page shows of drills, with the buttons. */
export function drillSection({ running: now, reports, next }: DrillView): Markup {
  const rows = reports
    .slice(0, mostReports)
    .map(one => [
      time(one.began),
      one.target === '' ? '' : `${one.how} ${one.target}`,
      one.result,
      one.verdict.map(({ what, found }) => `${what}: ${found}`).join(' · '),
      one.why,
    ])
  const state =
    now === null
      ? html`<p><button type="button" data-drill="drain">Drain the active node</button>
<button type="button" data-drill="kill">Kill the active node</button> <span role="status" data-drill-said></span></p>`
      : html`<p role="status">A drill goes on: ${now.how} ${now.target}, conducted by ${now.conductor}.</p>
<ol>${now.steps.map(({ at, text }) => html`<li>${at} s: ${text}</li>`)}</ol>`
  const calendar = next === null ? html`` : html`<p>The calendar wants the next one at ${time(next)}.</p>`
  const more = html`${state}${calendar}`
  const head = ['Began', 'What', 'Result', 'Measured', 'Not as aimed at']
  return table('drill', 'Drills', head, rows, 'None has been done yet.', more)
}
