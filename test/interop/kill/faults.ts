import { Redis } from 'ioredis'
import { until } from '../../support/pair.ts'
import type { Ground } from './ground.ts'

// What breaks, and how it is mended.

export interface Fault {
  readonly name: string
  /** Node `a` is gone or must count as gone: its calls are to be at `b`. */
  readonly moves: boolean
  /** Packets get lost, so it is said which part of the sound was missing, and phones that send again make the new call. */
  readonly lossy?: true
  /** Hits meetings of browsers as well. */
  readonly web?: true
  /** Before the calls. */
  prepare?(ground: Ground): Promise<void>
  /** Breaks it, and gives how it is mended. */
  hit(ground: Ground): Promise<() => Promise<void>>
}

/** Waits until `b` has seen `a` up again since `from` of its log. */
const backAt = ({ pair: { b } }: Ground, from: number) =>
  until(() => /"node":"a"[^\n]*"state":"up"/.test(b.log().slice(from)), 30_000)

const kill: Fault = {
  name: 'SIGKILL of the active node',
  moves: true,
  web: true,
  async hit({ pair }) {
    await pair.a.kill()
    return () => pair.restart(pair.a)
  },
}

/** Asleep for longer than its lease, so that it wakes up without its calls. */
const pause: Fault = {
  name: 'SIGSTOP of the active node',
  moves: true,
  web: true,
  async hit(ground) {
    const { a, b } = ground.pair
    process.kill(a.pid, 'SIGSTOP')
    return async () => {
      const from = b.log().length
      process.kill(a.pid, 'SIGCONT')
      await backAt(ground, from)
    }
  },
}

type Name = Parameters<Ground['lab']['block']>[0]

function blocked(name: string, pairs: readonly [from: Name, to: Name][], moves = false): Fault {
  return {
    name,
    moves,
    async hit(ground) {
      const { lab, pair } = ground
      for (const [from, to] of pairs) await lab.block(from, to)
      return async () => {
        const from = pair.b.log().length
        await lab.heal()
        if (moves) await backAt(ground, from)
      }
    },
  }
}
const apart = (one: Name, other: Name): [Name, Name][] => [
  [one, other],
  [other, one],
]

const lossy: Fault = {
  name: '10 % packet loss throughout',
  moves: false,
  lossy: true,
  async hit({ lab }) {
    await lab.lose(10)
    return () => lab.heal()
  },
}

function stopped(name: string, pid: (ground: Ground) => number): Fault {
  return {
    name,
    moves: false,
    async hit(ground) {
      process.kill(pid(ground), 'SIGSTOP')
      return async () => void process.kill(pid(ground), 'SIGCONT')
    },
  }
}

const killed = (name: string, pid: (ground: Ground) => number, again: (ground: Ground) => Promise<void>): Fault => ({
  name,
  moves: false,
  async hit(ground) {
    process.kill(pid(ground), 'SIGKILL')
    return () => again(ground)
  },
})

const readOnly: Fault = {
  name: 'Redis is read-only',
  moves: false,
  async hit({ redis }) {
    const operator = new Redis(redis.url)
    await operator.replicaof('127.0.0.1', 1)
    return async () => {
      await operator.replicaof('NO', 'ONE')
      operator.disconnect()
    }
  },
}

const full: Fault = {
  name: 'disk of the active node full',
  moves: false,
  async hit(ground) {
    await ground.fill()
    return () => ground.free()
  },
}

const leap = (seconds: number, name: string): Fault => ({
  name,
  moves: false,
  async prepare(ground) {
    ground.fakeClock(true)
    await ground.pair.a.stop()
    await ground.pair.restart(ground.pair.a)
  },
  async hit(ground) {
    ground.leap(seconds)
    return async () => {
      ground.fakeClock(false)
      await ground.pair.a.stop()
      await ground.pair.restart(ground.pair.a)
    }
  },
})

export const faults = [
  kill,
  pause,
  blocked('partition between the nodes', apart('a', 'b')),
  blocked('b hears nothing of a', [['a', 'b']]),
  blocked('a hears nothing of b', [['b', 'a']]),
  blocked('partition between a and Redis', apart('a', 'redis')),
  blocked('partition between b and Redis', apart('b', 'redis')),
  blocked('a reaches neither b nor Redis, but NATS', [...apart('a', 'b'), ...apart('a', 'redis')]),
  blocked('a reaches only the phones', [...apart('a', 'b'), ...apart('a', 'redis'), ...apart('a', 'nats')], true),
  blocked(
    'cable of a pulled',
    [...apart('a', 'b'), ...apart('a', 'redis'), ...apart('a', 'phones'), ...apart('a', 'nats')],
    true,
  ),
  killed(
    'Redis dies',
    ({ redis }) => redis.pid,
    ground => ground.restartRedis(),
  ),
  stopped('Redis hangs', ({ redis }) => redis.pid),
  readOnly,
  killed(
    'NATS dies',
    ({ nats }) => nats.pid,
    ground => ground.restartNats(),
  ),
  stopped('NATS hangs', ({ nats }) => nats.pid),
  lossy,
  full,
  leap(3600, 'clock of a leaps an hour ahead'),
  leap(-3600, 'clock of a leaps an hour back'),
]
