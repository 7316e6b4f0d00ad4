import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import type { Nodes } from '../cluster/nodes.ts'
import { inWords } from '../media/worker/arrival.ts'
import type { HttpDeps, Info } from './deps.ts'
import { drillSection } from './drill.ts'
import type { Guard } from './guard.ts'
import { html, type Markup } from './markup.ts'
import { unlessAway } from './status.ts'
import { table, time } from './tables.ts'

const folder = join(import.meta.dirname, 'page')
const mostRows = 100
// Wrong one-time codes from one address, a minute.
const mostSignIns = 10

/** The pages that people read beside the phone: `/status`, `/setup/<code>`, and what these load. */
export function addPage(app: FastifyInstance, deps: HttpDeps, guard: Guard): void {
  const schema = { hide: true }
  for (const [file, type] of [
    ['page.css', 'text/css; charset=utf-8'],
    ['page.js', 'text/javascript; charset=utf-8'],
  ] as const) {
    const content = readFileSync(join(folder, file), 'utf8')
    app.get(`/assets/${file}`, { schema }, (_request, reply) =>
      reply.type(type).header('cache-control', 'no-cache').send(content),
    )
  }
  app.get('/status', { schema }, async (request, reply) => {
    const info = await deps.info()
    const body = guard.isAdmin(request) ? await adminBody(deps, info) : guestBody(deps, info)
    return reply.type('text/html; charset=utf-8').send(pageDocument(info.name, body))
  })
  addSetup(app, guard)
  app.get('/ca.pem', { schema }, (_request, reply) => {
    const pem = deps.certificates.caPem()
    if (pem === undefined) return reply.callNotFound()
    return reply
      .type('application/x-x509-ca-cert')
      .header('content-disposition', 'attachment; filename="ca.pem"')
      .send(pem)
  })
}

/**
 * The one-time link. Messengers and mail programs fetch a link to preview it, so that opening it uses nothing up: its
 * page has one button, and only what that sends is an attempt. The code itself is what another site cannot know, so
 * the Origin needs no check; the page's own would be `null`, because the referrer policy hides the code.
 */
function addSetup(app: FastifyInstance, guard: Guard): void {
  const schema = { hide: true }
  const limit = { rateLimit: { max: mostSignIns, timeWindow: 60_000 } }
  app.get('/setup/:code', { schema }, (_request, reply) =>
    reply.type('text/html; charset=utf-8').send(
      pageDocument(
        'Vaartha',
        html`<section>
<h2>Sign in as administrator</h2>
<p>This link signs in one browser, once. The browser stays signed in for 30 days.</p>
<form method="post"><button type="submit" class="first">Sign this browser in</button></form>
</section>`,
      ),
    ),
  )
  app.register(async form => {
    // The button sends an empty form.
    form.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, async () => undefined)
    form.post<{ Params: { code: string } }>('/setup/:code', { schema, config: limit }, (request, reply) => {
      if (guard.signIn(request.params.code, reply)) return reply.redirect('/status', 303)
      const text = 'This link is used up, too old or wrong. Get a fresh one on the server with: vaartha admin link'
      return reply.code(403).type('text/html; charset=utf-8').send(messagePage(text))
    })
  })
}

/** A page with one sentence. */
export function messagePage(text: string): string {
  return pageDocument('Vaartha', html`<section><p>${text}</p><p><a href="/">To the first page</a></p></section>`)
}

/** A whole page; `script` beside the one that keeps the status fresh. */
export function pageDocument(name: string, body: Markup, script = '/assets/page.js'): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${name}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/assets/page.css">
<script src="${script}" defer></script>
</head>
<body>
<header><h1>${name}</h1></header>
<main>
${body}
</main>
</body>
</html>
`.text
}

function guestBody(deps: HttpDeps, info: Info): Markup {
  return html`${state(deps)}
${phoneHelp(deps, info)}
<section>
<h2>Are you the administrator?</h2>
<p>Get a link that signs this browser in, on the machine that runs this server:</p>
<pre><code>vaartha admin link</code></pre>
</section>`
}

async function adminBody(deps: HttpDeps, info: Info): Promise<Markup> {
  const [page, count, records, people] = await Promise.all([
    unlessAway(() => deps.registrations.list(undefined, mostRows)),
    unlessAway(() => deps.registrations.count()),
    unlessAway(() => deps.records.list({ limit: 20 })),
    unlessAway(() => deps.accounts.list(deps.domain)),
  ])
  const calls = deps.calls.list().slice(0, mostRows)
  const registrations = (page?.bindings ?? []).map(b => [
    b.aor,
    b.userAgent,
    `${b.protocol} ${b.source.address}`,
    time(new Date(b.expiresAt).toISOString()),
  ])
  return html`${state(deps)}
<p class="live" role="status" data-live-state>Not live.</p>
${table(
  'calls',
  `Calls: ${deps.calls.list().length}`,
  ['From', 'To', 'State', 'Since'],
  calls.map(c => [c.from, c.to, c.state, time(c.since)]),
  'Nobody is in a call.',
)}
${deps.nodes === undefined ? '' : nodesTable(deps.nodes)}
${deps.nodes === undefined ? '' : drillSection(deps.drills.view())}
${table('registrations', `Registered phones: ${count ?? 'unknown'}`, ['Address', 'Phone', 'From', 'Until'], registrations, page === undefined ? 'The store does not answer.' : 'No phone is registered.')}
${table(
  'people',
  `People: ${people?.length ?? 'unknown'}`,
  ['Name', 'Shown as', 'State'],
  (people ?? []).slice(0, mostRows).map(a => [a.user, a.displayName, a.enabled ? 'enabled' : 'disabled']),
  'Nobody yet. Add somebody with: vaartha user add <name>',
)}
${table(
  'history',
  'Last calls',
  ['Started', 'From', 'To', 'Result', 'Seconds'],
  (records ?? []).map(r => [time(r.started), r.from, r.to, r.result, String(r.seconds)]),
  'No call has ended yet.',
)}
${table(
  'parts',
  'Parts',
  ['Part', 'State', 'Why'],
  Object.entries(deps.health().parts).map(([part, { on, why }]) => [part, on ? 'on' : 'off', why]),
  '',
)}
${phoneHelp(deps, info)}
<section>
<h2>Administrator</h2>
<p><a href="/docs">API</a> · version ${info.version}</p>
<p><button type="button" data-sign-out>Sign out</button></p>
</section>`
}

function state(deps: HttpDeps): Markup {
  const { ready, degraded, reasons, media } = deps.health()
  const waiting =
    media.sfu === 'ready'
      ? undefined
      : html`<p>Browsers cannot talk to phones or meet yet: the media worker ${inWords(media)}.</p>`
  return html`<section id="state" data-live class="${ready && !degraded ? 'good' : 'bad'}">
<p><strong>${!ready ? 'It runs, but it is not ready.' : degraded ? 'It runs, but not all is well.' : 'It runs and is ready.'}</strong></p>
${reasons.map(reason => html`<p>${reason}</p>`)}
${waiting}
</section>`
}

function phoneHelp(deps: HttpDeps, info: Info): Markup {
  const ways = info.points.map(point => point.split(' ')).filter(([protocol]) => !protocol?.startsWith('http'))
  const authority =
    deps.certificates.caPem() === undefined
      ? undefined
      : html`<p>For TLS a phone must trust this server’s <a href="/ca.pem">certificate authority</a>.</p>`
  return html`<section>
<h2>Point a phone here</h2>
<dl>
<dt>Domain</dt><dd>${info.domain}</dd>
<dt>User and password</dt><dd>from whoever runs this server: <code>vaartha user add &lt;name&gt;</code></dd>
<dt>Server or proxy</dt><dd>${info.name}, or one of these addresses:</dd>
</dl>
<ul>${ways.map(([protocol, place]) => html`<li>${(protocol ?? '').toUpperCase()} <code>${place}</code></li>`)}</ul>
${authority}
</section>`
}

function nodesTable(nodes: Nodes): Markup {
  const rows = nodes.list().map(one => [
    one.load['leads'] === 1 && one.state !== 'down' ? `${one.node} (leads)` : one.node,
    one.state,
    String(one.priority),
    time(new Date(one.since).toISOString()),
    time(new Date(one.seen).toISOString()),
    Object.entries(one.load).filter(([what]) => what !== 'leads').map(([what, value]) => `${what} ${value}`).join(', '), // biome-ignore format: one line
  ])
  return table('nodes', 'Nodes', ['Node', 'State', 'Priority', 'Up since', 'Last heard of', 'Load'], rows, '')
}
