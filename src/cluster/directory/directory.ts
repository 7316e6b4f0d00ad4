import { randomBytes } from 'node:crypto'
import { Refusal } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { RedisLink } from '../../redis/redis.ts'
import type { Sealer } from '../seal.ts'
import { createExchange, type Named } from './exchange.ts'
import { openReplica } from './replica.ts'
import { createShelf } from './shelf.ts'
import { kinds } from './version.ts'

/** How this node's copy stands. */
export interface DirectoryFigures {
  /** Rows that the others have not been told. */
  waiting: number
  /** How long the oldest of them has waited, in ms. */
  behindMs: number
  /** Age of the newest row that came last, when it came, in ms. */
  lagMs: number
  taken: number
  told: number
  /** Rows that were changed on two nodes at once. */
  conflicts: number
  /** Rows that did not fit into the database, and rows that none of our secrets opens. */
  failed: number
}

/** Keeps accounts, groups, invitations, call records and the list of recordings alike on all nodes. */
export interface Directory {
  /**
   * Begins, and resolves when all has been compared once. A node that has never been waits `startMs` for Redis, one that
   * has starts with what it knows.
   */
  start(startMs?: number): Promise<void>
  /** Makes sure that a thing is done by one node only. Refuses `store-unavailable` while Redis is away. */
  claim(id: string, untilMs: number): Promise<boolean>
  figures(): DirectoryFigures
  close(): Promise<void>
}

export interface DirectoryDeps {
  /** The database of this node, which others have open too. */
  file: string
  redis: RedisLink
  sealer: Sealer
  /** Of all keys in Redis. */
  prefix: string
  /** Name of this node. */
  node: string
  /** For how many days calls are kept at all. */
  historyDays: number
  log: Logger
  /** A recording was removed on another node: `files` as in the table. */
  onRecordingRemoved?(recording: { files: string }): unknown
  now?(): number
  /** How often the database is asked for changes, and how often all is compared, in ms. */
  everyMs?: number
  compareMs?: number
}

const dayMs = 86_400_000
const keepMs = 90 * dayMs
const mostCallDays = 14
const mostNews = 10_000
const farewellMs = 1000

/** Each node has all of it in its own database, so that it needs neither Redis nor another node to know its people. */
export function createDirectory(deps: DirectoryDeps): Directory {
  const { redis, log, now = Date.now, everyMs = 100, compareMs = 600_000 } = deps
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(deps.node)) {
    throw new Refusal('bad-config', 'cluster.name is 1 to 64 of the signs a-z A-Z 0-9 . _ -')
  }
  const callDays = Math.max(0, Math.min(mostCallDays, deps.historyDays - 1))
  const since = new Date(now() - callDays * dayMs).toISOString().slice(0, 10)
  const replica = openReplica({ file: deps.file, node: deps.node, callsSince: since })
  const shelf = createShelf({ ...deps, claimant: deps.node, callsMs: (mostCallDays + 1) * dayMs })
  const exchange = createExchange({
    replica,
    shelf,
    log,
    now,
    callDays,
    keepMs,
    onRemoved: recording => void dropFiles(recording),
  })
  const channel = `${deps.prefix}:directory`
  const life = randomBytes(6).toString('base64url')
  const news = new Map<string, Named>()
  let wanted = true
  let running: Promise<void> | undefined
  let closing: Promise<void> | undefined
  let compared: (() => void) | undefined
  const stops: (() => void)[] = []

  async function dropFiles(recording: string): Promise<void> {
    try {
      await deps.onRecordingRemoved?.(JSON.parse(recording) as { files: string })
    } catch (error) {
      log.error({ err: error }, 'the files of a removed recording are left')
    }
  }

  const tell = (rows: Named[]) => redis.publish(channel, JSON.stringify({ from: life, rows }))

  async function once(): Promise<void> {
    while (closing === undefined && redis.healthy()) {
      if (wanted) {
        wanted = false
        const began = now()
        await exchange.compare()
        await exchange.push(tell)
        await exchange.compareCalls()
        await exchange.push(tell)
        log.debug({ ms: now() - began }, 'compared with the other nodes')
        compared?.()
      } else if (news.size > 0) {
        const rows = [...news.values()]
        news.clear()
        await exchange.take(rows)
      } else if (replica.waitingCount() > 0) {
        await exchange.push(tell)
      } else return
    }
  }

  function run(): void {
    if (closing !== undefined) return
    running ??= once()
      .catch(error => {
        // What was begun is begun anew: at once when Redis is back, else with the next comparison.
        wanted = error instanceof Refusal
        if (!wanted) log.error({ err: error }, 'nodes could not be compared')
      })
      .finally(() => {
        running = undefined
        // It came after the last look.
        if (news.size > 0 && redis.healthy()) run()
      })
  }

  function hear(message: string): void {
    const rows = readNews(message, life)
    if (rows === undefined) log.warn({}, 'news of the directory cannot be read')
    for (const row of rows ?? []) news.set(row.join(' '), row)
    if (news.size > mostNews) {
      news.clear()
      wanted = true
    }
    run()
  }

  function compareNow(): void {
    wanted = true
    run()
  }

  async function close(): Promise<void> {
    for (const stop of stops.splice(0)) stop()
    compared?.()
    await running
    // What was changed in the last moment is told, if that can be done at once.
    if (redis.healthy()) {
      const late = new Promise<void>(resolve => setTimeout(resolve, farewellMs).unref())
      const told = exchange.push(tell).catch(error => log.debug({ err: error }, 'not all could be told'))
      await Promise.race([told, late])
    }
    replica.close()
  }

  return {
    async start(startMs = 5000) {
      const ticking = setInterval(() => {
        if (replica.changed() || wanted || news.size > 0) run()
      }, everyMs)
      const comparing = setInterval(compareNow, compareMs)
      const limit = setTimeout(() => compared?.(), startMs)
      for (const timer of [ticking, comparing]) timer.unref()
      stops.push(
        () => clearInterval(ticking),
        () => clearInterval(comparing),
        () => clearTimeout(limit),
        redis.onChange(healthy => healthy && compareNow()),
      )
      const done = new Promise<void>(resolve => {
        compared = resolve
      })
      const unsubscribe = await redis.subscribe(channel, hear, compareNow)
      if (closing !== undefined) return unsubscribe()
      stops.push(unsubscribe)
      if (redis.healthy() || replica.synced().at === 0) await done
      clearTimeout(limit)
      compared = undefined
    },
    claim: (id, untilMs) => shelf.claim(id, untilMs),
    figures() {
      const { failed, ...counts } = exchange.counts()
      const oldest = replica.oldestWaiting()
      return {
        ...counts,
        failed: failed + shelf.unreadable(),
        waiting: replica.waitingCount(),
        behindMs: oldest === undefined ? 0 : Math.max(0, now() - oldest / 1000),
      }
    },
    close() {
      closing ??= close()
      return closing
    },
  }
}

/** The rows that another node tells of; none of our own news, undefined for nonsense. */
function readNews(message: string, life: string): Named[] | undefined {
  let news: unknown
  try {
    news = JSON.parse(message)
  } catch {
    return undefined
  }
  if (typeof news !== 'object' || news === null || !('rows' in news) || !Array.isArray(news.rows)) return undefined
  if ('from' in news && news.from === life) return []
  return news.rows.filter(isNamed)
}

function isNamed(row: unknown): row is Named {
  return Array.isArray(row) && typeof row[1] === 'string' && [...kinds, 'call'].some(kind => kind === row[0])
}
