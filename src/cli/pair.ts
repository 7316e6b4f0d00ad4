import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Command } from 'commander'
import { projectRoot } from '../config/load.ts'
import { Refusal } from '../errors.ts'
import { installLine, installPackages, mayInstall, onPath } from '../media/worker/packages.ts'
import type { Load } from './load.ts'
import { nodeEnvironment, nodeFlags } from './node-flags.mjs'
import { type PairProgram, pairPrograms } from './pair-plan.ts'
import { remark, say } from './print.ts'

interface Options {
  port: string
  sip: string
  http?: string
  restart: string
}

// The Debian package of each program that is not ours.
const packages: Record<string, string> = {
  'redis-server': 'redis-server',
  'nats-server': 'nats-server',
}

/** `vaartha pair`: two nodes with Redis, Sentinel and NATS on this machine, to see a call outlive its server. */
export function addPair(program: Command, load: Load): void {
  program
    .command('pair')
    .description('run two nodes with Redis, Sentinel and NATS on this machine; kill one and the calls go on')
    .option('--port <number>', 'first port of Redis, its replica, the Sentinel and NATS, on loopback', '16379')
    .option('--sip <number>', 'SIP port of node a; b has 100 more', '5060')
    .option('--http <number>', 'HTTP port of node a, HTTPS is the next one; b has 100 more')
    .option('--restart <seconds>', 'start a node again that died, after so long; 0 never', '20')
    .action(async (options: Options) => {
      const { config } = load()
      const directory = resolve(config.data, 'pair')
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      const programs = pairPrograms({
        directory,
        secret: secretOf(join(directory, 'secret')),
        port: numberOf(options.port, '--port'),
        sip: numberOf(options.sip, '--sip'),
        ...(options.http === undefined ? {} : { http: numberOf(options.http, '--http') }),
      })
      for (const { name } of programs) mkdirSync(join(directory, name), { recursive: true, mode: 0o700 })
      await ensurePrograms(
        programs.map(one => one.command),
        directory,
      )
      // Once: a Sentinel writes into its own what it has learnt, and has to find it again after a death.
      for (const { files } of programs) {
        for (const [file, text] of Object.entries(files)) writeFileSync(file, text, { mode: 0o600 })
      }
      await run(programs, directory, numberOf(options.restart, '--restart') * 1000)
    })
}

function numberOf(text: string, name: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0 || value > 65_000)
    throw new Refusal('bad-request', `${name}: a whole number`)
  return value
}

/** Made at the first start, the same ever after. */
function secretOf(file: string): string {
  try {
    writeFileSync(file, randomBytes(24).toString('hex'), { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return readFileSync(file, 'utf8').trim()
}

/** Installs what is not there, where that may be done; throws Refusal with what to type where it may not. */
async function ensurePrograms(commands: readonly string[], directory: string): Promise<void> {
  const missing = commands.filter(command => command !== 'vaartha' && !onPath(command, process.env))
  if (missing.length === 0) return
  const wanted = [...new Set(missing.map(command => packages[command] ?? command))]
  if (!mayInstall(process.env))
    throw new Refusal('bad-config', `${missing[0]} is not installed; on Debian: ${installLine(wanted)}`)
  remark(`Installing Debian packages: ${wanted.join(' ')}`)
  await installPackages(wanted, process.env, join(directory, 'apt-get.log'))
}

/** Starts all, tells what happens to them, and ends when a signal comes. */
async function run(programs: readonly PairProgram[], directory: string, restartMs: number): Promise<void> {
  const children = new Map<string, ChildProcess>()
  const ready = new Set<string>()
  let ending = false

  const start = (program: PairProgram): void => {
    const { name, env } = program
    const child = spawnProgram(program, directory)
    children.set(name, child)
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', line => hear(name, line))
    }
    child.once('error', error => remark(`${name}: ${error.message}`))
    child.once('exit', (code, signal) => {
      if (ending) return
      ready.delete(name)
      remark(
        `${name} ended (${signal ?? `code ${code}`})${restartMs > 0 ? `, starts anew in ${restartMs / 1000} s` : ''}`,
      )
      if (restartMs > 0) setTimeout(() => ending || start(program), restartMs)
    })
    if (program.command === 'vaartha')
      remark(`node ${name}: pid ${child.pid}, SIP port ${env['VAARTHA_SIP_UDP']}, data ${env['VAARTHA_DATA']}`)
  }

  const hear = (name: string, line: string): void => {
    say(`${name} ${line}`)
    if (ready.has(name) || !/"msg":"ready"|INFO: ready/.test(line)) return
    ready.add(name)
    if (ready.size < 2) return
    const active = children.get('a')?.pid
    remark(`Both nodes are ready. Let two phones talk, then: kill -9 ${active} (docs/pair.md, step by step)`)
    remark(`Or see it measured: npm run vaartha -- --data ${join(directory, 'b')} drill failover`)
  }

  const signalled = new Promise<void>(done => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => done())
  })
  // What the nodes stand on first; they wait for it by themselves, a moment later it is there.
  for (const program of programs) start(program)
  await signalled
  ending = true
  for (const name of ['a', 'b', 'nats', 'sentinel', 'replica', 'redis']) await end(children.get(name))
  process.exit(0)
}

/** The nodes are heard here; what they stand on writes into a file of its own, for it has much to say. */
function spawnProgram({ name, command, args, env }: PairProgram, directory: string): ChildProcess {
  if (command !== 'vaartha') {
    const log = openSync(join(directory, `${name}.log`), 'a', 0o600)
    const child = spawn(command, args, { stdio: ['ignore', log, log] })
    closeSync(log)
    return child
  }
  const format = process.stdout.isTTY ? 'pretty' : 'json'
  return spawn(process.execPath, [...nodeFlags, join(projectRoot, 'src/main.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { VAARTHA_LOG_FORMAT: format, ...nodeEnvironment, ...process.env, ...env },
  })
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const hard = setTimeout(() => child.kill('SIGKILL'), 8000)
  await gone
  clearTimeout(hard)
}
