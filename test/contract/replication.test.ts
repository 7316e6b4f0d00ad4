import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Redis } from 'ioredis'
import { leaseKey } from '../../src/cluster/kept-store.ts'
import { createNoReplication } from '../../src/cluster/no-replication.ts'
import { createRedisReplication } from '../../src/cluster/redis-replication.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRedisLink } from '../../src/redis/link.ts'
import { sayMembers, startWay } from '../support/cluster.ts'
import { type RedisServer, startRedis, startRedisCluster } from '../support/redis.ts'
import { all, call, type ReplicationPair, testReplication } from './replication.contract.ts'

const log = createSilentLog()
let server: RedisServer
let cluster: Awaited<ReturnType<typeof startRedisCluster>>
let direct: Redis
let runs = 0
// Closed at the end too, so that a test which fails does not keep the others from ending.
const opened: { close(): Promise<void> }[] = []
before(async () => {
  server = await startRedis()
  cluster = await startRedisCluster()
  direct = new Redis(server.url)
})
after(async () => {
  for (const node of opened) await node.close()
  direct.disconnect()
  await server.stop()
  await cluster.stop()
})

async function openNode(life: string, prefix: string, strategy: 'lazy' | 'hot-standby', url = server.url, leaseMs = 0) {
  const config = { redis: url, prefix, timeoutMs: 1000 }
  const redis = createRedisLink({ config, events: createEvents(), log })
  assert.equal(await redis.ready(), true)
  const members = sayMembers(life)
  const replication = createRedisReplication({ strategy, redis, config: { ...config, leaseMs }, members, log })
  const lease = (on: boolean) =>
    redis.ask('lease', async client => {
      if (on) await client.set(leaseKey(prefix, life), '1')
      else await client.del(leaseKey(prefix, life))
    })
  await lease(true)
  const node = {
    members,
    replication,
    lease,
    async close() {
      await replication.close()
      await redis.close()
    },
  }
  opened.push(node)
  return node
}

async function openPair(strategy: 'lazy' | 'hot-standby', url?: () => string): Promise<ReplicationPair> {
  const prefix = `test${runs++}`
  const first = await openNode('first', prefix, strategy, url?.())
  const second = await openNode('second', prefix, strategy, url?.())
  second.members.say('first', 'up')
  first.members.say('second', 'up')
  return {
    first: first.replication,
    second: second.replication,
    async kill() {
      first.members.lease = false
      await first.lease(false)
      second.members.say('first', 'down')
    },
    async wake() {
      await first.lease(true)
      second.members.say('first', 'up')
      first.members.comeBack()
    },
    async close() {
      await first.close()
      await second.close()
    },
  }
}

testReplication('none', async () => ({
  first: createNoReplication(),
  second: createNoReplication(),
  kill: async () => {},
  wake: async () => {},
  close: async () => {},
}))
testReplication('lazy', () => openPair('lazy'))
testReplication('hot-standby', () => openPair('hot-standby'))
testReplication('hot-standby on a Redis Cluster', () => openPair('hot-standby', () => cluster.url))

test('a lease in Redis keeps a node alive, whatever is said of it', async () => {
  const pair = await openNode('first', 'leased', 'hot-standby')
  const other = await openNode('second', 'leased', 'hot-standby')
  await pair.replication.save(call('one'), { must: true })
  other.members.say('first', 'down')
  assert.deepEqual(await other.replication.takeOver('one;a;b'), { owner: 'first' })
  assert.deepEqual(await all(other.replication.adopt('first', 'call')), [])
  await pair.close()
  await other.close()
})

test('two nodes race for a thing a thousand times, while its owner wakes up: one has it', {
  timeout: 60_000,
}, async () => {
  const owner = await openNode('owner', 'race', 'hot-standby')
  const rivals = [await openNode('a', 'race', 'hot-standby'), await openNode('b', 'race', 'hot-standby')]
  const lost = new Set<string>()
  const wins = [0, 0, 0]
  let late = 4
  owner.replication.onLost((_kind, id) => lost.add(id))
  for (let n = 0; n < 1000; n++) {
    const id = `r${n}`
    await owner.replication.save(call(id), { must: true })
    owner.members.lease = false
    await owner.lease(false)
    for (const rival of rivals) rival.members.say('owner', 'down')
    // It wakes up at a time of its own: before, while and after the others take; later when it was too early to be raced.
    const wake = async () => {
      for (let turns = late + (n % 5); turns > 0; turns--) await new Promise(resolve => setImmediate(resolve))
      await owner.lease(true)
      owner.members.comeBack()
      return await owner.replication.sure('call', id)
    }
    const take = async ({ replication }: (typeof rivals)[number], by: number) => {
      if ((n + by) % 2 === 0) {
        const one = await replication.takeOver(`${id};a;b`)
        return one !== undefined && 'snapshot' in one
      }
      return (await all(replication.adopt('owner', 'call'))).some(one => one.id === id)
    }
    const [still, ...got] = await Promise.all([wake(), take(rivals[0]!, 0), take(rivals[1]!, 1)])
    assert.equal([still, ...got].filter(Boolean).length, 1, `${id}: owner ${still}, rivals ${got}`)
    wins[[still, ...got].indexOf(true)]!++
    late = Math.max(0, late + (still ? 1 : -1))
    assert.equal(lost.has(id), !still)
    await owner.replication.save(call(id, 'late'), { must: true })
    const all3 = [owner, ...rivals]
    const has = await direct.hgetall(`race:{call:${id}}`)
    assert.equal(has['s'] === 'late', still)
    const ends = await Promise.all(
      all3.filter((_, at) => [still, ...got][at]).map(node => node.replication.end('call', id)),
    )
    assert.deepEqual(ends, [true])
    if (!still) assert.equal(await owner.replication.end('call', id), false)
  }
  for (const node of [owner, ...rivals]) await node.close()
  assert.ok(
    wins.every(count => count > 20),
    `it is no race when some never win: ${wins}`,
  )
})

test('while Redis is away the newest state waits, and is written with its fence when it is back', async () => {
  const own = await startRedis()
  const first = await openNode('first', 'away', 'hot-standby', own.url)
  await first.replication.save(call('one', 'before'), { must: true })
  await own.stop()
  const began = performance.now()
  await first.replication.save(call('one', 'during'), { must: true })
  for (let n = 0; n < 100; n++) void first.replication.save(call('two', `during ${n}`))
  assert.ok(performance.now() - began < 1500)
  assert.equal(first.replication.owns('call', 'one'), true)
  assert.equal(first.replication.stats().waiting, 2)
  assert.equal(await first.replication.end('call', 'two'), true)
  // It comes back empty, as one that keeps nothing on disk does.
  const again = await startRedis(own.port)
  const look = new Redis(again.url)
  let text: string | null = null
  while (text === null) {
    text = await look.hget('away:{call:one}', 's')
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  assert.equal(text, 'during')
  while ((await look.hget('away:{call:two}', 'o')) !== '-') await new Promise(resolve => setTimeout(resolve, 10))
  assert.equal(await look.scard('away:owned:first'), 1)
  assert.equal(first.replication.stats().waiting, 0)
  look.disconnect()
  await first.close()
  await again.stop()
})

test('a Redis that lost everything is filled again', async () => {
  const first = await openNode('first', 'lost', 'hot-standby')
  await first.replication.save(call('one', 'state'), { must: true })
  await first.lease(true)
  await direct.del('lost:{call:one}', 'lost:owned:first')
  first.members.comeBack()
  assert.equal(await first.replication.sure('call', 'one'), true)
  assert.equal(await direct.hget('lost:{call:one}', 's'), 'state')
  assert.equal(await direct.scard('lost:owned:first'), 1)
  await first.close()
})

test('what ended elsewhere, and whose tombstone is gone, is not brought back', async () => {
  const pair = await openPair('hot-standby')
  const prefix = `test${runs - 1}`
  const lost: string[] = []
  pair.first.onLost((_kind, id) => lost.push(id))
  await pair.first.save(call('one'), { must: true })
  await pair.kill()
  await pair.second.takeOver('one;a;b')
  await pair.second.end('call', 'one')
  assert.ok((await direct.pttl(`${prefix}:{call:one}`)) > 50_000)
  await direct.del(`${prefix}:{call:one}`)
  await pair.wake()
  assert.equal(await pair.first.sure('call', 'one'), false)
  assert.deepEqual(lost, ['one'])
  await pair.close()
})

test('everything in Redis ends by itself, and a sweep takes leftovers away', async () => {
  const pair = await openPair('hot-standby')
  const prefix = `test${runs - 1}`
  await pair.first.save(call('one'), { must: true })
  for (const key of await direct.keys(`${prefix}:*`)) {
    if (key !== leaseKey(prefix, 'first') && key !== leaseKey(prefix, 'second'))
      assert.ok((await direct.pttl(key)) > 0, key)
  }
  await direct.sadd(`${prefix}:owned:first`, 'call:leftover')
  await pair.kill()
  const second = pair.second as ReturnType<typeof createRedisReplication>
  await second.sweep(new AbortController().signal)
  assert.deepEqual(await direct.smembers(`${prefix}:owned:first`), ['call:one'])
  await pair.close()
})

const ticks = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

test('answers of Redis that do not come through cost nobody a call', { timeout: 20_000 }, async () => {
  const way = await startWay(server.port)
  const first = await openNode('first', 'mute', 'hot-standby', way.url)
  const second = await openNode('second', 'mute', 'hot-standby')
  second.members.say('first', 'up')
  const lost: string[] = []
  first.replication.onLost((_kind, id) => lost.push(id))
  for (const id of ['ended', 'raised', 'given']) await first.replication.save(call(id), { must: true })
  // It is ended, and nobody hears so.
  way.mute()
  assert.equal(await first.replication.end('call', 'ended'), true)
  way.mend()
  while (first.replication.stats().waiting > 0) await ticks(10)
  assert.equal(await direct.hget('mute:{call:ended}', 'o'), '-')
  // Its fence was raised for us, or it was given up by us, and we have not heard so.
  await direct.hset('mute:{call:raised}', 'f', '5')
  await direct.hset('mute:{call:given}', 'f', '5', 'o', '?')
  for (const id of ['raised', 'given']) {
    await first.replication.save(call(id, 'newer'), { must: true })
    while ((await direct.hget(`mute:{call:${id}}`, 's')) !== 'newer') await ticks(5)
    assert.equal(await first.replication.end('call', id), true)
  }
  assert.deepEqual(lost, [])
  // We have taken something, and have not heard so.
  await first.replication.save(call('taken'), { must: true })
  await first.replication.save(call('adopted'), { must: true })
  await first.lease(false)
  second.members.say('first', 'down')
  await direct.hset('mute:{call:taken}', 'f', '2', 'o', 'second')
  await direct.hset('mute:{call:adopted}', 'f', '2', 'o', 'second')
  const taken = await second.replication.takeOver('taken;a;b')
  assert.equal(taken !== undefined && 'fence' in taken && taken.fence, 3)
  assert.deepEqual(
    (await all(second.replication.adopt('first', 'call'))).map(one => one.id),
    ['adopted'],
  )
  await first.close()
  await second.close()
  way.close()
})

test('a node that dies together with the way to Redis is adopted from when that is back', {
  timeout: 20_000,
}, async () => {
  const way = await startWay(server.port)
  const first = await openNode('first', 'both', 'hot-standby')
  const second = await openNode('second', 'both', 'hot-standby', way.url)
  for (let n = 0; n < 10; n++) await first.replication.save(call(`c${n}`), { must: true })
  await first.lease(false)
  second.members.say('first', 'down')
  way.cut()
  const adopting = all(second.replication.adopt('first', 'call'))
  await ticks(200)
  way.mend()
  assert.equal((await adopting).length, 10)
  await first.close()
  await second.close()
  way.close()
})

test('what is too large is not kept', async () => {
  const node = await openNode('first', 'large', 'hot-standby')
  await node.replication.save(call('one', 'x'.repeat(70_000)), { must: true })
  assert.equal(await direct.exists('large:{call:one}'), 0)
  await node.close()
})
