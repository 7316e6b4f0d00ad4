import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { sql } from 'kysely'
import { createSqlAccounts } from '../../src/accounts/accounts-sql.ts'
import { openDatabase } from '../../src/database/database.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { freePorts, startVaartha } from '../support/server.ts'
import { startKamailio } from './support/kamailio.ts'
import { credentials, drive, type Load, type Measured, saturate, startAnswering, type Target } from './support/load.ts'
import { writeSection } from './support/page.ts'
import { residentBytes } from './support/processes.ts'

// The whole server beside Kamailio: the same sipp scenarios, the same machine, one after the other in the same run.
// `--write` puts the tables into docs/benchmarks.md, `--quick` makes short steps to try the bench itself.

const options = process.argv.slice(2)
const quick = options.includes('--quick')
const seconds = quick ? 1 : 3
const domain = 'vaartha.local'
const password = 'measured-every-time'
const some = 1000
const many = quick ? 2000 : 100_000
const few = many / 10

interface Row {
  name: string
  ours: Figures
  theirs: Figures
}
interface Figures {
  fixed: Measured
  best: Measured | undefined
}

const report: string[] = []
const rows = [await registerOpen(), ...(await registerAndCall())]
report.push(...ratesTable(rows), '', ...(await memoryTable()))
const text = report.join('\n')
process.stdout.write(`${text}\n`)
if (options.includes('--write')) writeSection('server', text)

async function registerOpen(): Promise<Row> {
  const load: Load = { scenario: 'register-open', lines: people(some) }
  const theirs = await startKamailio({ domain })
  const [port] = (await freePorts(1)) as [number]
  const file = resolve(import.meta.dirname, 'support/open-registrar.ts')
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', file, String(port), domain], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  const row = {
    name: 'REGISTER without digest',
    theirs: await measure({ ...theirs, name: 'Kamailio', domain }, load, 500, 8000),
    ours: await measure({ name: 'open registrar', pid: child.pid!, port, domain }, load, 500, 8000),
  }
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await Promise.all([exited, theirs.close()])
  return row
}

async function registerAndCall(): Promise<Row[]> {
  const register: Load = { scenario: 'register', lines: people(some) }
  const call: Load = { scenario: 'call', lines: [`u1;${credentials('u1', password)};u0`] }
  const theirs = await startKamailio({ domain, users: { count: some, password } })
  const ours = await startVaartha({ settings: { VAARTHA_CALLS_MOST: '100000' } })
  await addPeople(ours.data, some)
  const targets: Target[] = [
    { name: 'Kamailio', pid: theirs.pid, port: theirs.port, domain },
    { name: 'Vaartha', pid: ours.pid, port: ours.ports.sip, domain },
  ]
  const figures: Figures[] = []
  for (const target of targets) figures.push(await measure(target, register, 500, 8000))
  for (const target of targets) {
    const answering = await startAnswering(target, 'u0', password)
    figures.push(await measure(target, call, 50, 1600))
    answering.stop()
    await answering.done
  }
  await Promise.all([ours.close(), theirs.close()])
  const [theirRegister, ourRegister, theirCall, ourCall] = figures as [Figures, Figures, Figures, Figures]
  return [
    { name: 'REGISTER with digest', ours: ourRegister, theirs: theirRegister },
    { name: 'Call with digest', ours: ourCall, theirs: theirCall },
  ]
}

/** The equal rate, after as much load to warm up, and then the highest rate without loss. */
async function measure(target: Target, load: Load, rate: number, most: number): Promise<Figures> {
  await drive(target, load, rate, seconds)
  const fixed = await drive(target, load, rate, seconds)
  const best = await saturate(target, load, rate * 2, quick ? rate * 2 : most, seconds)
  say(`${target.name}, ${load.scenario}: ${fixed.cpu.toFixed(3)} at ${rate}/s, best ${best?.rate}/s`)
  return { fixed, best }
}

async function memoryTable(): Promise<string[]> {
  const lines = ['| Resident memory, MB | Vaartha | Kamailio |', '| --- | ---: | ---: |']
  const ours = await startVaartha()
  const atStart = residentBytes(ours.pid)
  await addPeople(ours.data, many)
  const theirs = await startKamailio({ domain, users: { count: many, password } })
  const targets: Target[] = [
    { name: 'Vaartha', pid: ours.pid, port: ours.ports.sip, domain },
    { name: 'Kamailio', pid: theirs.pid, port: theirs.port, domain },
  ]
  const add = (what: string, ...values: number[]) =>
    lines.push(`| ${what} | ${values.map(bytes => (bytes / 1e6).toFixed(0)).join(' | ')} |`)
  add('at start', atStart, residentBytes(theirs.pid))
  const everybody = people(many)
  for (const [from, to] of [
    [0, few],
    [few, many],
  ] as const) {
    const sizes: number[] = []
    for (const target of targets) {
      await registerAll(target, everybody.slice(from, to))
      sizes.push(residentBytes(target.pid))
    }
    add(`after ${to.toLocaleString('en')} registrations`, ...sizes)
  }
  const counted = await ours.api<{ total?: number }>('/api/registrations?limit=1').catch(() => undefined)
  if (counted?.total !== undefined) say(`Vaartha counts ${counted.total} registrations`)
  await Promise.all([ours.close(), theirs.close()])
  return lines
}

/** Each line registered once, as fast as that goes well on a busy machine. */
async function registerAll(target: Target, lines: string[]): Promise<void> {
  const rate = 2000
  const { clean, done } = await drive(target, { scenario: 'register', lines }, rate, lines.length / rate)
  say(`${target.name}: ${lines.length} registered at ${done}/s${clean ? '' : ', some again'}`)
}

function people(count: number): string[] {
  return Array.from({ length: count }, (_, n) => `u${n};${credentials(`u${n}`, password)};${20_000 + (n % 40_000)}`)
}

/** Accounts through the room itself, beside the running server, in one transaction. */
async function addPeople(data: string, count: number): Promise<void> {
  const database = await openDatabase(join(data, 'vaartha.sqlite'), createSilentLog())
  const accounts = createSqlAccounts({ database, events: createEvents() })
  await sql`begin immediate`.execute(database.query)
  for (let n = 0; n < count; n++) await accounts.add({ user: `u${n}`, domain, password })
  await sql`commit`.execute(database.query)
  await database.close()
}

function ratesTable(all: Row[]): string[] {
  const cells = ({ ours, theirs }: Row, pick: (figures: Figures) => Measured | undefined) => {
    const [mine, other] = [pick(ours), pick(theirs)]
    const ratio = mine === undefined || other === undefined ? '–' : (mine.cpu / other.cpu).toFixed(1)
    return [mine, other].map(each => each?.cpu.toFixed(3) ?? '–').concat(ratio)
  }
  return [
    '| Server CPU seconds for 1,000 | rate | Vaartha | Kamailio | ratio |',
    '| --- | ---: | ---: | ---: | ---: |',
    ...all.flatMap(row => [
      `| ${row.name} | ${row.ours.fixed.rate}/s each | ${cells(row, f => f.fixed).join(' | ')} |`,
      `| | best of each | ${cells(row, f => f.best).join(' | ')} |`,
    ]),
    '',
    '| Highest rate without loss | Vaartha | Kamailio |',
    '| --- | ---: | ---: |',
    ...all.map(row => `| ${row.name} | ${row.ours.best?.rate ?? '–'}/s | ${row.theirs.best?.rate ?? '–'}/s |`),
  ]
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
