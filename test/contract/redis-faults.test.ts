import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, connect as dial, type Socket } from 'node:net'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { Redis } from 'ioredis'
import type { Binding } from '../../src/location/store.ts'
import { someBinding } from '../support/bindings.ts'
import { type RedisSentinel, type RedisServer, startRedis, startRedisCluster, startSentinel } from '../support/redis.ts'
import { openSharedNode, type SharedNode } from '../support/shared-store.ts'
import { change } from './redis-link.contract.ts'
import { contacts, until } from './shared-location.contract.ts'

const timeoutMs = 300
let prefixes = 0
const aorOf = (user: string) => `sip:${user}@example.org`
const live = (user: string, other: Partial<Binding> = {}) =>
  someBinding({ aor: aorOf(user), expiresAt: Date.now() + 600_000, updatedAt: Date.now(), ...other })

/** Registers as the registrar does: load, change, save. */
async function put(node: SharedNode, user: string, change: (present: readonly Binding[]) => Binding[]): Promise<void> {
  for (;;) {
    const { version, bindings } = await node.load(aorOf(user))
    if (await node.save(aorOf(user), version, change(bindings))) return
  }
}
const add = (node: SharedNode, user: string, contact: string) =>
  put(node, user, present => [...present, live(user, { contact: `sip:${contact}@192.0.2.1` })])

async function twoNodes(urls: [string, string], work: (a: SharedNode, b: SharedNode) => Promise<void>) {
  const prefix = `f${++prefixes}`
  const [a, b] = await Promise.all(urls.map(redis => openSharedNode({ redis, prefix, timeoutMs })))
  try {
    await work(a!, b!)
  } finally {
    await Promise.all([a!.close(), b!.close()])
  }
}

/** Everything is written back, and both have the same. */
async function converged(nodes: SharedNode[], expected: Record<string, string[]>): Promise<void> {
  for (const node of nodes) {
    await change(node.link, true)
    for (const [user, names] of Object.entries(expected)) {
      const wanted = names.map(name => `sip:${name}@192.0.2.1`).sort()
      await until(node, aorOf(user), bindings => {
        const present = bindings.map(({ contact }) => contact).sort()
        return present.length === wanted.length && present.every((contact, at) => contact === wanted[at])
      })
    }
    await written(node)
  }
}

/** Resolves when nothing waits for Redis any more. */
async function written(node: SharedNode): Promise<void> {
  const done = Promise.withResolvers<void>()
  const look = () => node.figures().waiting === 0 && done.resolve()
  const off = node.onChanged!(look)
  look()
  await done.promise
  off()
}

/** Registers and unregisters on both nodes while Redis is in trouble, and looks at what is there when it is well. */
async function bothGoOn(urls: [string, string], trouble: () => Promise<() => Promise<unknown>>): Promise<void> {
  await twoNodes(urls, async (a, b) => {
    await add(a, 'ann', 'before')
    await add(a, 'bob', 'before')
    await until(b, aorOf('ann'), bindings => bindings.length === 1)
    await until(b, aorOf('bob'), bindings => bindings.length === 1)
    const end = await trouble()
    for (const [name, node] of Object.entries({ a, b })) {
      await add(node, 'ann', name)
      const only = live(`only-${name}`, { contact: `sip:${name}@192.0.2.1` })
      assert.equal(node.save(only.aor, 0, [only]), true, 'the second one waits for nothing')
    }
    await put(b, 'bob', () => [])
    assert.deepEqual(await contacts(a, aorOf('ann')), ['sip:a@192.0.2.1', 'sip:before@192.0.2.1'])
    for (const node of [a, b]) {
      assert.equal(node.healthy(), false)
      assert.notEqual(node.why(), '')
      assert.equal(node.load(aorOf('ann')) instanceof Promise, false, 'calls do not wait')
    }
    await end()
    await converged([a, b], { ann: ['a', 'b', 'before'], bob: [], 'only-a': ['a'], 'only-b': ['b'] })
  })
}

describe('registrations while Redis is in trouble', () => {
  let redis: RedisServer
  beforeEach(async () => {
    redis = await startRedis()
  })
  afterEach(() => redis.stop())
  const urls = (): [string, string] => [redis.url, redis.url]

  it('go on while it hangs (SIGSTOP)', () =>
    bothGoOn(urls(), async () => {
      process.kill(redis.pid, 'SIGSTOP')
      return async () => process.kill(redis.pid, 'SIGCONT')
    }))

  it('go on while it answers nobody (CLIENT PAUSE)', () =>
    bothGoOn(urls(), async () => {
      const operator = new Redis(redis.url)
      await operator.client('PAUSE', 5 * timeoutMs, 'ALL')
      return async () => {
        await operator.ping()
        operator.disconnect()
      }
    }))

  it('go on while it is read-only (REPLICAOF)', () =>
    bothGoOn(urls(), async () => {
      const operator = new Redis(redis.url)
      await operator.replicaof('127.0.0.1', 1)
      return async () => {
        await operator.replicaof('NO', 'ONE')
        operator.disconnect()
      }
    }))

  it('go on while it is gone, and fill it when it comes back empty (SIGKILL)', () =>
    bothGoOn(urls(), async () => {
      await redis.stop()
      return async () => {
        redis = await startRedis(redis.port)
      }
    }))

  it('fill a Redis that has forgotten all, also with what nobody has touched', async () => {
    await twoNodes(urls(), async (a, b) => {
      const users = Array.from({ length: 500 }, (_, n) => `user${n}`)
      await Promise.all(users.map(user => add(a, user, 'here')))
      await until(b, aorOf('user499'), bindings => bindings.length === 1)
      await redis.stop()
      redis = await startRedis(redis.port)
      await Promise.all([change(a.link, true), change(b.link, true)])
      const late = await openSharedNode({ redis: redis.url, prefix: `f${prefixes}`, timeoutMs })
      for (const user of users) await until(late, aorOf(user), bindings => bindings.length === 1)
      await late.close()
    })
  })

  it('of one binding the newest renewal stays, whichever node it came to', async () => {
    await twoNodes(urls(), async (a, b) => {
      const outbound = { instance: 'urn:uuid:1', regId: 1 }
      const at = Date.now()
      process.kill(redis.pid, 'SIGSTOP')
      await put(a, 'ann', () => [live('ann', { ...outbound, contact: 'sip:newer@192.0.2.1', updatedAt: at + 1 })])
      await put(b, 'ann', () => [live('ann', { ...outbound, contact: 'sip:older@192.0.2.1', updatedAt: at })])
      process.kill(redis.pid, 'SIGCONT')
      await converged([a, b], { ann: ['newer'] })
    })
  })

  it('take no more than so many addresses that wait, but go on with those', async t => {
    const node = await openSharedNode({ redis: redis.url, prefix: `f${++prefixes}`, timeoutMs, mostWaiting: 2 })
    t.after(() => node.close())
    process.kill(redis.pid, 'SIGSTOP')
    await add(node, 'one', 'a')
    await add(node, 'two', 'a')
    await assert.rejects(add(node, 'three', 'a'), { code: 'store-unavailable' })
    await add(node, 'two', 'b')
    process.kill(redis.pid, 'SIGCONT')
    await converged([node], { one: ['a'], two: ['a', 'b'], three: [] })
    await add(node, 'three', 'a')
  })

  it('begin in memory when there is no Redis yet, and are joined with what was there', async t => {
    const prefix = `f${++prefixes}`
    const first = await openSharedNode({ redis: redis.url, prefix, timeoutMs })
    await add(first, 'ann', 'before')
    await first.close()
    process.kill(redis.pid, 'SIGSTOP')
    const node = await openSharedNode({ redis: redis.url, prefix, timeoutMs })
    t.after(() => node.close())
    await add(node, 'ann', 'after')
    await assert.rejects(async () => node.list(undefined, 10), { code: 'store-unavailable' })
    process.kill(redis.pid, 'SIGCONT')
    await converged([node], { ann: ['after', 'before'] })
  })

  it('come right on a node that alone was cut off', async () => {
    const cable = await layCable(redis.port)
    try {
      await twoNodes([redis.url, cable.url], async (a, b) => {
        await add(a, 'ann', 'first')
        await add(a, 'bob', 'first')
        await until(b, aorOf('bob'), bindings => bindings.length === 1)
        cable.cut()
        await change(b.link, false)
        await put(a, 'bob', () => [])
        await add(a, 'ann', 'second')
        await add(b, 'ann', 'third')
        await add(b, 'cleo', 'third')
        await add(b, 'bob', 'third')
        cable.mend()
        await converged([a, b], { ann: ['first', 'second', 'third'], bob: ['third'], cleo: ['third'] })
      })
    } finally {
      await cable.close()
    }
  })
})

describe('registrations while Sentinels change the master', () => {
  let redis: RedisSentinel
  before(async () => {
    redis = await startSentinel()
  })
  after(() => redis.stop())

  it('go on, and are all in the new one, when the old one hangs and comes back', () =>
    bothGoOn([redis.url, redis.url], async () => {
      process.kill(redis.master.pid, 'SIGSTOP')
      return async () => {
        const operator = new Redis(redis.replica.url)
        while (!String(await operator.info('replication')).includes('role:master')) {
          await new Promise(resolve => setTimeout(resolve, 50))
        }
        process.kill(redis.master.pid, 'SIGCONT')
        operator.disconnect()
      }
    }))
})

describe('registrations while a Redis Cluster is in trouble', () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>
  before(async () => {
    cluster = await startRedisCluster()
  })
  after(() => cluster.stop())

  it('go on while its masters hang', () =>
    bothGoOn([cluster.url, cluster.url], async () => {
      for (const pid of cluster.pids) process.kill(pid, 'SIGSTOP')
      return async () => {
        for (const pid of cluster.pids) process.kill(pid, 'SIGCONT')
      }
    }))
})

/** A way to Redis that can be cut. */
async function layCable(port: number) {
  const sockets = new Set<Socket>()
  let whole = true
  const server = createServer(socket => {
    const far = dial(port, '127.0.0.1')
    for (const end of [socket, far]) {
      sockets.add(end)
      end.on('error', () => end.destroy())
      end.on('close', () => sockets.delete(end))
    }
    if (!whole) socket.destroy()
    socket.pipe(far).pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: own } = server.address() as { port: number }
  const cut = () => {
    whole = false
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `redis://127.0.0.1:${own}/0`,
    cut,
    mend() {
      whole = true
    },
    async close() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
