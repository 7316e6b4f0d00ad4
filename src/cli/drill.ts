import { setTimeout as wait } from 'node:timers/promises'
import type { Command } from 'commander'
import type { Config } from '../config/schema.ts'
import type { DrillView, Running } from '../drill/drills.ts'
import type { DrillReport } from '../drill/report.ts'
import { Refusal } from '../errors.ts'
import { ask, NotRunning } from './ask.ts'
import type { Load } from './load.ts'
import { remark, say, sayJson, table } from './print.ts'

interface FailoverOptions {
  drain?: boolean
  node?: string
  force?: boolean
  wait: string
  json?: boolean
}

const lookMs = 500
// Beyond the time that a killed node may take to come back: for calls, records and the way of the report.
const beyondSeconds = 90

/** `vaartha drill` breaks a node by intent, and shows what that did to calls. */
export function addDrill(program: Command, load: Load): void {
  const drill = program.command('drill').description('break a node by intent, and measure what that does to calls')
  drill
    .command('failover')
    .description(
      'kill the active node under test calls, measure, and wait for it to come back; exit code 1 when an aim was missed',
    )
    .option('--drain', 'let it drain, and serve again, instead of killing it')
    .option('--node <name>', 'another node than the active one')
    .option('--wait <seconds>', 'how long a killed node may take to be there again', '120')
    .option('--force', 'also where calls of people would be lost')
    .option('--json', 'print the report as JSON')
    .action(async (options: FailoverOptions) => {
      const { config } = load()
      const waitSeconds = Number(options.wait)
      if (!Number.isInteger(waitSeconds) || waitSeconds < 1) throw new Refusal('bad-request', '--wait: whole seconds')
      const wish = {
        how: options.drain ? 'drain' : 'kill',
        waitSeconds,
        ...(options.node === undefined ? {} : { target: options.node }),
        ...(options.force ? { force: true } : {}),
      }
      const begun = await ask<Pick<Running, 'id' | 'target' | 'conductor'>>(config, '/api/drill', 'POST', wish)
      remark(`${begun.conductor} conducts the drill: ${wish.how} ${begun.target}`)
      const report = await follow(config, begun.id, (waitSeconds + beyondSeconds) * 1000)
      if (report.result !== 'passed') process.exitCode = 1
      if (options.json) return sayJson(report)
      show(report)
    })
  drill
    .command('report')
    .description('what the last drill found')
    .option('--all', 'one line for each that is remembered')
    .option('--json', 'print JSON')
    .action(async (options: { all?: boolean; json?: boolean }) => {
      const { reports, running, next } = await ask<DrillView>(load().config, '/api/drill')
      if (options.json) return sayJson(options.all ? reports : (reports[0] ?? null))
      if (running !== null) remark(`A drill goes on: ${running.how} ${running.target}`)
      if (next !== null) remark(`The calendar wants the next one at ${new Date(next).toLocaleString()}.`)
      const [last] = reports
      if (last === undefined) return say('No drill has been done yet. Do one with: vaartha drill failover')
      if (!options.all) return show(last)
      const rows = reports.map(one => [one.began, one.how, one.target, one.result, one.why])
      say(table(['began', 'how', 'node', 'result', 'not as aimed at'], rows, ''))
    })
}

/** Prints each step until the report is there. The node that is asked may be the one that is killed: then it is waited for. */
async function follow(config: Config, id: string, ms: number): Promise<DrillReport> {
  let told = 0
  let away = false
  for (const late = Date.now() + ms; Date.now() < late; await wait(lookMs)) {
    let view: DrillView
    try {
      view = await ask<DrillView>(config, '/api/drill')
    } catch (error) {
      if (!(error instanceof NotRunning)) throw error
      if (!away) remark('The node that this command asks is gone; its report is shown when it is back.')
      away = true
      continue
    }
    const report = view.reports.find(one => one.id === id)
    if (report !== undefined) return report
    if (view.running?.id !== id) continue
    for (const { at, text } of view.running.steps.slice(told)) remark(`${String(at).padStart(4)} s  ${text}`)
    told = view.running.steps.length
  }
  throw new Refusal('request-timeout', 'no report has come; ask another node with: vaartha drill report')
}

function show(report: DrillReport): void {
  const { how, target, conductor, began, seconds, result, why, calls, verdict, noRelay, deadMs } = report
  const words = { passed: 'all as aimed at', failed: `not as aimed at: ${why}`, broken: why, skipped: why }
  say(`${how} ${target}, conducted by ${conductor}, ${new Date(began).toLocaleString()}, ${seconds} s`)
  say(`${result.toUpperCase()}: ${words[result]}`)
  if (result === 'broken' || result === 'skipped') return
  say()
  const lines = verdict.map(one => [one.what, one.found, one.aim, one.passed ? 'yes' : 'NO'])
  say(table(['', 'found', 'aim', 'met'], lines, ''))
  say()
  const each = calls.map(one => [
    one.media,
    one.takenMs === null ? 'never' : `${one.takenMs} ms`,
    `${one.gapMs} ms`,
    one.kept ? 'yes' : 'NO',
  ])
  say(table(['sound', 'taken over after', 'gap', 'kept'], each, ''))
  if (deadMs !== null) say(`${conductor} was sure of the death after ${deadMs} ms.`)
  if (noRelay !== '') say(`No call had its sound through the node: ${noRelay}`)
}
