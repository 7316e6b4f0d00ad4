import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import type { Leader } from './members.ts'
import { createSteadyClock } from './steady.ts'

export interface LeaderDeps {
  life: string
  redis: RedisLink
  config: { prefix: string; heartbeatMs: number; leaseMs: number }
  log: Logger
  /** False while this node is not to lead, for example while it drains. */
  may?(): boolean
  /** Milliseconds of a clock that only grows, also while the machine sleeps. */
  clock?(): number
}

// We give up before Redis lets others try: what we have begun by then is over when they begin.
const share = 0.8

const electScript = `
local who = redis.call('GET', KEYS[1])
if not who then
  local term = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[3])) + 1
  redis.call('SET', KEYS[2], term)
  redis.call('SET', KEYS[1], ARGV[1] .. '|' .. term, 'PX', ARGV[2])
  return term
end
local life, term = string.match(who, '^(.*)|(%d+)$')
if life ~= ARGV[1] then return -term end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return tonumber(term)`

const resignScript = `
local who = redis.call('GET', KEYS[1])
if who and string.match(who, '^(.*)|%d+$') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

/**
 * Elects one of all that share a Redis. Terms only grow while Redis keeps its data; one that starts empty begins anew,
 * above what the nodes that are there have seen.
 */
export function createLeader(deps: LeaderDeps): Leader {
  const { life, redis, config, log } = deps
  const clock = deps.clock ?? createSteadyClock()
  const keys = [`${config.prefix}:{leader}`, `${config.prefix}:{leader}:term`]
  const elect = redis.script<number>('elect', electScript, 2)
  const resign = redis.script<number>('resign', resignScript, 1)
  const listeners = new Set<(leading: boolean) => void>()
  const running = new Set<AbortController>()
  let term = 0
  let seen = 0
  let until = Number.NEGATIVE_INFINITY
  let told = false
  let trying: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let end: NodeJS.Timeout | undefined
  let closed = false
  tick()

  function isLeader(): boolean {
    return !closed && clock() < until
  }

  function tick(): void {
    clearTimeout(timer)
    if (closed) return
    trying ??= attempt().finally(() => {
      trying = undefined
    })
    timer = setTimeout(tick, config.heartbeatMs)
    timer.unref()
  }

  async function attempt(): Promise<void> {
    look()
    if (deps.may?.() === false) return stepDown()
    const sentAt = clock()
    try {
      const won = await elect(...keys, life, config.leaseMs, seen)
      const holds = sentAt + share * config.leaseMs
      seen = Math.max(seen, Math.abs(won))
      // An answer that was so long on its way, or that a pause has kept from us, tells of the past.
      if (won > 0 && clock() < holds && !closed) {
        if (won !== term) lose()
        term = won
        until = holds
      } else if (won < 0) until = Number.NEGATIVE_INFINITY
    } catch (error) {
      if (!(error instanceof Refusal)) log.error({ err: error }, 'failed to elect a leader')
    }
    look()
  }

  /** Tells of what has changed, and comes back when our time is over. */
  function look(): void {
    const leading = isLeader()
    clearTimeout(end)
    if (leading) {
      end = setTimeout(look, until - clock() + 1)
      end.unref()
    } else lose()
    if (leading === told) return
    told = leading
    log.info({ leading, term }, leading ? 'this node leads' : 'this node leads no more')
    for (const listener of [...listeners]) listener(leading)
  }

  function lose(): void {
    for (const one of running) one.abort(new Error('this node leads no more'))
    running.clear()
  }

  async function stepDown(): Promise<void> {
    if (until === Number.NEGATIVE_INFINITY) return
    until = Number.NEGATIVE_INFINITY
    look()
    await resign(keys[0]!, life).catch((error: unknown) => {
      // Then it ends by itself.
      if (!(error instanceof Refusal)) throw error
    })
  }

  return {
    isLeader,
    term: () => term,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async run(name, work) {
      if (!isLeader()) return undefined
      const control = new AbortController()
      running.add(control)
      const given = new Promise<undefined>(resolve => {
        control.signal.addEventListener('abort', () => resolve(undefined), { once: true })
      })
      try {
        const done = await Promise.race([work(term, control.signal), given])
        return isLeader() && !control.signal.aborted ? done : undefined
      } catch (error) {
        // What broke off because it was given up has not failed.
        if (!control.signal.aborted) throw error
        log.debug({ name }, 'given up with the lead')
        return undefined
      } finally {
        running.delete(control)
      }
    },
    async close() {
      if (closed) return
      clearTimeout(timer)
      await trying
      clearTimeout(timer)
      await stepDown()
      closed = true
      clearTimeout(end)
      lose()
    },
  }
}

/** The leader of one node by itself: it always leads. */
export function createLoneLeader(): Leader {
  const control = new AbortController()
  return {
    isLeader: () => !control.signal.aborted,
    term: () => 1,
    onChange: () => () => {},
    run: async (_name, work) => (control.signal.aborted ? undefined : await work(1, control.signal)),
    async close() {
      control.abort()
    },
  }
}
