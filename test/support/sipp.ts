import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { freePorts } from './server.ts'

// sipp as a foreign phone: scenarios of ours, in test/interop/sipp. KEY in a scenario is replaced by its value.

export interface SippResult {
  code: number | null
  successful: number
  failed: number
  /** Requests and responses that it had to send again. */
  retransmissions: number
  /** Its error log and last screen, for a failure message. */
  text: string
}

export interface SippOptions {
  /** File name in test/interop/sipp, without `.xml`. */
  scenario: string
  /** `host:port` to send to. */
  remote: string
  values?: Record<string, string>
  calls?: number
  /** New calls a second. */
  rate?: number
  /** Calls at once, at most. */
  limit?: number
  port?: number
  transport?: 'u1' | 't1' | 'tn'
  /** One line a call, in sipp's injection format, without its first line. */
  lines?: string[]
  seconds?: number
}

export interface Sipp {
  readonly port: number
  readonly done: Promise<SippResult>
  stop(): void
}

/** Starts one sipp; it ends by itself after its calls, or after `seconds`. */
export async function startSipp(options: SippOptions): Promise<Sipp> {
  const { scenario, remote, values = {}, calls = 1, rate = 10, limit = 1000, transport = 'u1', seconds = 60 } = options
  const [free, control] = (await freePorts(2)) as [number, number]
  const port = options.port ?? free
  const folder = mkdtempSync(join(tmpdir(), 'vaartha-sipp-'))
  let xml = readFileSync(resolve(import.meta.dirname, `../interop/sipp/${scenario}.xml`), 'utf8')
  for (const [key, value] of Object.entries(values)) xml = xml.replaceAll(key, value)
  writeFileSync(join(folder, 'scenario.xml'), xml)
  const injection: string[] = []
  if (options.lines !== undefined) {
    writeFileSync(join(folder, 'lines.csv'), `SEQUENTIAL\n${options.lines.join('\n')}\n`)
    injection.push('-inf', 'lines.csv')
  }
  const args = [
    remote,
    ...['-sf', 'scenario.xml', '-i', '127.0.0.1', '-p', String(port), '-cp', String(control), '-t', transport],
    ...['-m', String(calls), '-r', String(rate), '-l', String(limit), '-timeout', `${seconds}s`, '-timeout_error'],
    ...['-nostdin', '-trace_err', '-trace_stat', '-stf', 'stat.csv', '-fd', '1', ...injection],
  ]
  const child = spawn('sipp', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (more: string) => {
      text = `${text}${more}`.slice(-20_000)
    })
  }
  const done = new Promise<SippResult>(resolved => {
    child.on('exit', code => {
      const errors = readdirSync(folder).filter(name => name.endsWith('_errors.log'))
      const log = errors.map(name => readFileSync(join(folder, name), 'utf8')).join('')
      const counts = readCounts(join(folder, 'stat.csv'))
      rmSync(folder, { recursive: true, force: true })
      resolved({ code, ...counts, text: `${log.slice(0, 4000)}\n${text.slice(-3000)}` })
    })
  })
  return { port, done, stop: () => child.kill('SIGKILL') }
}

/** Runs one sipp to its end. */
export async function runSipp(options: SippOptions): Promise<SippResult> {
  return (await startSipp(options)).done
}

function readCounts(file: string): Pick<SippResult, 'successful' | 'failed' | 'retransmissions'> {
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  const [head, last] = [lines[0]!.split(';'), lines.at(-1)!.split(';')]
  const value = (name: string) => Number(last[head.indexOf(name)] ?? 0)
  return {
    successful: value('SuccessfulCall(C)'),
    failed: value('FailedCall(C)'),
    retransmissions: value('Retransmissions(C)'),
  }
}
