import assert from 'node:assert/strict'
import { Redis } from 'ioredis'
import { until } from '../../support/pair.ts'
import type { Ground } from './ground.ts'
import { childrenOf } from './processes.ts'

// What breaks, and how it is mended.

export interface Fault {
  readonly name: string
  /** Node `a` is gone or must count as gone: its calls are to be at `b`. */
  readonly moves: boolean
  /** Packets get lost, so it is said which part of the sound was missing, and phones that send again make the new call. */
  readonly lossy?: true
  /** Hits meetings of browsers as well, which cost most of the time. */
  readonly web?: true
  /** Needs the ground with nodes for media alone. */
  readonly media?: boolean
  /** Before the calls. */
  prepare?(ground: Ground): Promise<void>
  /** When all calls are up. */
  ready?(ground: Ground): Promise<void>
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

function blocked(name: string, pairs: readonly [from: Name, to: Name][], more: Partial<Fault> = {}): Fault {
  const moves = more.moves === true
  return {
    ...more,
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

const workersOf = ({ pair: { a } }: Ground) => childrenOf(a.pid, 'mediasoup-worke')

/** It carries the browsers of the SFU. The mix of phones is not made there. */
const worker: Fault = {
  name: 'SFU worker of the active node dies',
  moves: false,
  web: true,
  // One that dies while it starts is replaced when somebody needs it.
  ready: ground =>
    until(() => {
      const log = ground.pair.a.log()
      const started = (pid: number) => new RegExp(`"pid":${pid},.*SFU worker started`).test(log)
      const all = workersOf(ground)
      return all.length > 0 && all.every(started)
    }, 20_000),
  async hit(ground) {
    const was = workersOf(ground)
    for (const pid of was) process.kill(pid, 'SIGKILL')
    return () => until(() => workersOf(ground).some(pid => !was.includes(pid)), 30_000)
  },
}

/** What `m` carries has to go to the other one; calls stay at node `a`. */
function ofMediaNode(name: string, hit: (ground: Ground) => Promise<() => Promise<void>>): Fault {
  return {
    name,
    moves: false,
    web: true,
    media: true,
    prepare: ({ media }) => media!.alone(),
    ready: ({ media }) => media!.both(),
    async hit(ground) {
      const mend = await hit(ground)
      const moved = ground.media!.hasMoved()
      return async () => {
        await mend()
        await ground.media!.back()
        assert.ok(await moved, 'nothing has gone to the other media node')
      }
    },
  }
}

const mediaFaults = [
  ofMediaNode('SIGKILL of the media node', async ({ media }) => {
    await media!.m.kill()
    return () => media!.m.restart()
  }),
  ofMediaNode('SIGSTOP of the media node', async ({ media }) => {
    const { pid } = media!.m
    process.kill(pid, 'SIGSTOP')
    return async () => void process.kill(pid, 'SIGCONT')
  }),
  ofMediaNode('the media node reaches only phones and browsers', async ({ lab }) => {
    const pairs = (['a', 'b', 'redis', 'nats'] as const).flatMap(other => apart('m', other))
    for (const [from, to] of pairs) await lab.block(from, to)
    return () => lab.heal()
  }),
]

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
  blocked('partition between the nodes', apart('a', 'b'), { web: true }),
  blocked('b hears nothing of a', [['a', 'b']]),
  blocked('a hears nothing of b', [['b', 'a']]),
  blocked('partition between a and Redis', apart('a', 'redis')),
  blocked('partition between b and Redis', apart('b', 'redis')),
  blocked('a reaches neither b nor Redis, but NATS', [...apart('a', 'b'), ...apart('a', 'redis')]),
  blocked('a reaches only the phones', [...apart('a', 'b'), ...apart('a', 'redis'), ...apart('a', 'nats')], {
    moves: true,
  }),
  blocked(
    'cable of a pulled',
    [...apart('a', 'b'), ...apart('a', 'redis'), ...apart('a', 'phones'), ...apart('a', 'nats')],
    { moves: true, web: true },
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
  worker,
  blocked('the media node is cut off from the nodes, but not from NATS', [...apart('m', 'a'), ...apart('m', 'b')], {
    media: true,
    prepare: ({ media }) => media!.alone(),
    ready: ({ media }) => media!.both(),
  }),
  ...mediaFaults,
]
