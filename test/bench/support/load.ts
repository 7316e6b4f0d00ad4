import { runSipp, type Sipp, startSipp } from '../../support/sipp.ts'
import { cpuSeconds } from './processes.ts'

// The same load for every server of the bench: sipp, with the scenarios of the interop tests.

export interface Target {
  readonly name: string
  readonly pid: number
  readonly port: number
  readonly domain: string
}

export interface Load {
  readonly scenario: string
  /** Injection lines for sipp, used one after another. */
  readonly lines: string[]
  /** The callees of calls. */
  answering?: Sipp
}

export interface Measured {
  /** Operations a second that were asked for, and that were done. */
  rate: number
  done: number
  /** CPU seconds of the server for 1,000 operations. */
  cpu: number
  /** True when every operation succeeded at the asked rate and at most one in a thousand had to be sent again. */
  clean: boolean
}

/** Drives `rate` operations a second for `seconds`. */
export async function drive(target: Target, load: Load, rate: number, seconds: number): Promise<Measured> {
  const calls = Math.round(rate * seconds)
  const before = cpuSeconds(target.pid)
  const began = performance.now()
  const result = await runSipp({
    scenario: load.scenario,
    remote: `127.0.0.1:${target.port}`,
    values: { DOMAIN: target.domain, PARAMS: '' },
    lines: load.lines,
    calls,
    rate,
    limit: 20_000,
    seconds: seconds + 6,
  })
  const took = (performance.now() - began) / 1000
  const cpu = cpuSeconds(target.pid) - before
  if (result.successful === 0) throw new Error(`${target.name}, ${load.scenario}: nothing succeeded\n${result.text}`)
  const lost = result.failed + result.retransmissions + (calls - result.successful)
  return {
    rate,
    done: Math.round(result.successful / took),
    cpu: (cpu / result.successful) * 1000,
    // A call stays up for half a second after its answer, and sipp takes its time to start and to end.
    clean: result.successful === calls && lost <= calls / 1000 && took < seconds * 1.15 + 1.5,
  }
}

/**
 * The highest rate that stays clean: doubled from `from` until it does not, or `most` is reached, then two steps
 * between. The first failure of a rate is asked twice, since others use this machine too.
 */
export async function saturate(target: Target, load: Load, from: number, most: number, seconds: number) {
  let best: Measured | undefined
  let failed = Number.POSITIVE_INFINITY
  for (let step = 0, rate = from; step < 9 && rate <= most; step++) {
    let measured = await drive(target, load, rate, seconds)
    if (!measured.clean) measured = await drive(target, load, rate, seconds)
    if (measured.clean) best = measured
    else failed = rate
    const floor = best?.rate ?? 0
    if (floor === most || (failed < Number.POSITIVE_INFINITY && failed - floor < from / 2)) break
    rate = failed === Number.POSITIVE_INFINITY ? Math.min(rate * 2, most) : Math.round((floor + failed) / 2)
    if (failed < floor * 1.2) break
  }
  return best
}

/** One phone that answers all calls, and its registration. */
export async function startAnswering(target: Target, user: string, password: string): Promise<Sipp> {
  const answering = await startSipp({
    scenario: 'answer',
    remote: `127.0.0.1:${target.port}`,
    calls: 10_000_000,
    seconds: 600,
  })
  const line = `${user};${credentials(user, password)};${answering.port}`
  const load: Load = { scenario: 'register', lines: [line] }
  await drive(target, load, 1, 1)
  return answering
}

export function credentials(user: string, password: string): string {
  return `[authentication username=${user} password=${password}]`
}
