import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import type { DrillReport } from './report.ts'

/** The last reports, the same on all nodes: in the memory and a file of each, and in Redis for one that was away. */
export interface Reports {
  /** Newest first. */
  list(): readonly DrillReport[]
  /** Takes in what another node has found, or this one. */
  take(report: DrillReport): void
  /** Compares with Redis; does nothing while that is away. */
  compare(): Promise<void>
}

const most = 24

export function createReports(deps: {
  file: string
  redis: RedisLink | undefined
  prefix: string
  log: Logger
}): Reports {
  const { file, redis, log } = deps
  const key = `${deps.prefix}:drills`
  let all = newest(read(file, log))

  function merge(others: readonly DrillReport[]): void {
    const before = all
    all = newest([...all, ...others])
    if (all.length === before.length && all.every((one, at) => one.id === before[at]?.id)) return
    writeFileSync(`${file}.new`, JSON.stringify(all), { mode: 0o600 })
    renameSync(`${file}.new`, file)
  }

  return {
    list: () => all,
    take: report => merge([report]),
    async compare() {
      if (redis === undefined) return
      try {
        const there = await redis.ask('drills', client => client.hgetall(key))
        merge(Object.values(there).flatMap(text => parse(text) ?? []))
        const missing = all
          .filter(({ id }) => there[id] === undefined)
          .map(one => [one.id, JSON.stringify(one)] as const)
        const old = Object.keys(there).filter(id => !all.some(one => one.id === id))
        if (missing.length > 0) await redis.ask('addDrills', client => client.hset(key, Object.fromEntries(missing)))
        if (old.length > 0) await redis.ask('dropDrills', client => client.hdel(key, ...old))
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
      }
    },
  }
}

/** One of each id, newest first; of the days on which the calendar's drill could not be, the last. */
function newest(reports: readonly DrillReport[]): DrillReport[] {
  const each = [...new Map(reports.map(one => [one.id, one])).values()]
  const sorted = each.toSorted((a, b) => (a.began < b.began ? 1 : a.began > b.began ? -1 : a.id < b.id ? -1 : 1))
  const skipped = sorted.find(one => one.result === 'skipped')
  return sorted.filter(one => one.result !== 'skipped' || one === skipped).slice(0, most)
}

function read(file: string, log: Logger): DrillReport[] {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as unknown[]).flatMap(one => (isReport(one) ? [one] : []))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      log.warn({ err: error }, 'old reports of drills cannot be read')
    return []
  }
}

function parse(text: string): DrillReport | undefined {
  try {
    const found: unknown = JSON.parse(text)
    return isReport(found) ? found : undefined
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return undefined
  }
}

/** Of this version; the rest is left alone. */
export function isReport(value: unknown): value is DrillReport {
  const one = value as Partial<DrillReport> | null
  return (
    typeof one === 'object' && one !== null && typeof one.id === 'string' && typeof one.began === 'string' &&
    typeof one.result === 'string' && Array.isArray(one.calls) && Array.isArray(one.verdict) && typeof one.records === 'object'
  ) // biome-ignore format: one condition
}
