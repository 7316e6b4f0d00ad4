import type { Command } from 'commander'
import type { CallView } from '../calls/calls.ts'
import type { Binding } from '../location/store.ts'
import type { CallRecord } from '../records/records.ts'
import { ask } from './ask.ts'
import type { Load } from './load.ts'
import { duration, qrCode, remark, say, sayJson, table } from './print.ts'

interface Status {
  name: string
  version: string
  uptime: number
  ready: boolean
  degraded: boolean
  reasons: string[]
  /** Null while the store does not answer. */
  registrations: number | null
  calls: number
  points: string[]
  parts: Record<string, { on: boolean; why: string }>
}

interface CallsOptions {
  history?: boolean
  limit: string
  user?: string
  record?: string
  stopRecording?: string
  json?: boolean
}

/** Commands that ask the running server. */
export function addStatus(program: Command, load: Load): void {
  program
    .command('status')
    .description('is the server ready, where is it reached, what is on and off')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      const status = await ask<Status>(load().config, '/api/status')
      if (options.json) return sayJson(status)
      say(
        `${status.name}, version ${status.version}, up ${duration(status.uptime)}: ${!status.ready ? 'NOT READY' : status.degraded ? 'ready, but DEGRADED' : 'ready'}`,
      )
      for (const reason of status.reasons) say(`  ${reason}`)
      say(`${status.registrations ?? 'unknown'} registrations, ${status.calls} calls`)
      say(
        table(
          ['part', '', 'why'],
          Object.entries(status.parts).map(([part, { on, why }]) => [part, on ? 'on' : 'off', why]),
          '',
        ),
      )
      say(status.points.join('\n'))
    })

  program
    .command('registrations')
    .description('which phones are registered, and from where')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      const list = await allRegistrations(load)
      if (options.json) return sayJson(list)
      const rows = list.map(b => [
        b.aor,
        b.contact,
        b.protocol,
        `${b.source.address}:${b.source.port}`,
        duration((b.expiresAt - Date.now()) / 1000),
        b.userAgent,
      ])
      say(table(['address', 'contact', 'over', 'from', 'ends in', 'phone'], rows, 'No phone is registered.'))
    })

  program
    .command('calls')
    .description('calls going on; with --history, ended ones')
    .option('--history', 'ended calls, newest first')
    .option('-n, --limit <number>', 'how many ended calls', '50')
    .option('-u, --user <name>', 'only calls of this person')
    .option('--record <id>', 'record this call, after a tone that both hear')
    .option('--stop-recording <id>', 'end its recording and keep it')
    .option('--json', 'print JSON')
    .action(async (options: CallsOptions) => {
      const { config } = load()
      const tape = options.record ?? options.stopRecording
      if (tape !== undefined) {
        const method = options.record === undefined ? 'DELETE' : 'POST'
        const state = await ask<object>(config, `/api/calls/${encodeURIComponent(tape)}/recording`, method)
        if (options.json) return sayJson(state)
        return say(method === 'POST' ? 'Both hear a tone, and then the call is recorded.' : 'It is recorded no more.')
      }
      if (!options.history) return printCalls(await ask<CallView[]>(config, '/api/calls'), options.json)
      const query = new URLSearchParams({ limit: options.limit })
      if (options.user !== undefined)
        query.set('user', options.user.includes('@') ? options.user : `sip:${options.user}@${config.domain}`)
      printHistory(await ask<CallRecord[]>(config, `/api/history?${query}`), options.json)
    })

  program
    .command('admin')
    .description('the administrator')
    .command('link')
    .description('print a fresh one-time link that signs a browser in as administrator')
    .action(async () => {
      const { link } = await ask<{ link: string }>(load().config, '/api/admin/link', 'POST')
      say(link)
      remark(qrCode(link))
    })
}

async function allRegistrations(load: Load): Promise<Binding[]> {
  const { config } = load()
  const all: Binding[] = []
  let cursor = ''
  do {
    const page: { bindings: Binding[]; cursor?: string } = await ask(config, `/api/registrations?limit=500${cursor}`)
    all.push(...page.bindings)
    cursor = page.cursor === undefined ? '' : `&cursor=${encodeURIComponent(page.cursor)}`
  } while (cursor !== '')
  return all
}

function printCalls(calls: CallView[], json: boolean | undefined): void {
  if (json) return sayJson(calls)
  const rows = calls.map(c => [
    c.from,
    c.to,
    c.recording ? `${c.state}, recorded` : c.state,
    duration((Date.now() - Date.parse(c.since)) / 1000),
    c.id,
  ])
  say(table(['from', 'to', 'state', 'for', 'id'], rows, 'Nobody is in a call.'))
}

function printHistory(records: CallRecord[], json: boolean | undefined): void {
  if (json) return sayJson(records)
  const rows = records.map(r => [r.started, r.from, r.to, r.result, duration(r.seconds), r.reason])
  say(table(['started', 'from', 'to', 'result', 'talked', 'why it ended'], rows, 'No call has ended yet.'))
}
