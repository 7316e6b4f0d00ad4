import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Redis } from 'ioredis'
import { createEvents } from '../../src/events.ts'
import { type RedisServer, startRedis, startRedisCluster } from '../support/redis.ts'
import { change, openLink, redisLinkContract } from './redis-link.contract.ts'

const unavailable = { code: 'store-unavailable' }

describe('link to one Redis', () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  redisLinkContract(() => redis.url)

  it('refuses all that waits for a hung Redis together, then at once, and is back when it answers', async t => {
    const events = createEvents()
    const facts: string[] = []
    events.onAny(name => name.startsWith('store') && facts.push(name))
    const { link } = await openLink(redis.url, 200, events)
    t.after(() => link.close())
    process.kill(redis.pid, 'SIGSTOP')
    try {
      const first = link.ask('get', client => client.get('a'))
      const late = new Promise(resolve => setTimeout(resolve, 120)).then(() =>
        link.ask('get', client => client.get('a')),
      )
      const failure = async (asked: Promise<unknown>) => {
        await assert.rejects(asked, unavailable)
        return performance.now()
      }
      const [one, two] = await Promise.all([failure(first), failure(late)])
      assert.ok(two - one < 50, 'the later one waited for its own timeout')
      assert.equal(link.why(), 'Redis does not answer within 200 ms')
      const again = performance.now()
      for (let n = 0; n < 100; n++) {
        await assert.rejects(
          link.ask('get', client => client.get('a')),
          unavailable,
        )
      }
      assert.ok(performance.now() - again < 1000)
    } finally {
      process.kill(redis.pid, 'SIGCONT')
    }
    await change(link, true)
    await link.ask('get', client => client.get('a'))
    assert.deepEqual(facts, ['storeFailed', 'storeRecovered'])
  })

  it('finds a Redis that was killed and started again, and hears it again', async t => {
    const { link, prefix } = await openLink(redis.url)
    t.after(() => link.close())
    let backs = 0
    let again = Promise.withResolvers<void>()
    const heard = Promise.withResolvers<string>()
    await link.subscribe(`${prefix}:a`, heard.resolve, () => {
      backs++
      again.resolve()
    })
    await again.promise
    again = Promise.withResolvers()
    await redis.stop()
    await change(link, false)
    assert.match(link.why(), /^Redis cannot be reached: /)
    redis = await startRedis(redis.port)
    await change(link, true)
    await again.promise
    await link.publish(`${prefix}:a`, 'hello')
    assert.equal(await heard.promise, 'hello')
    assert.ok(backs >= 2)
  })

  it('does not take a replica for a Redis, and uses it when it is a master again', async t => {
    const { link, prefix } = await openLink(redis.url, 500)
    t.after(() => link.close())
    const operator = new Redis(redis.url)
    await operator.replicaof('127.0.0.1', 1)
    await assert.rejects(
      link.ask('set', client => client.set(`${prefix}:a`, '1')),
      unavailable,
    )
    assert.equal(link.why(), 'Redis is read-only: it is a replica')
    await operator.replicaof('NO', 'ONE')
    await change(link, true)
    await link.ask('set', client => client.set(`${prefix}:a`, '1'))
    operator.disconnect()
  })

  it('says why Redis refuses changes, and goes on when it takes them again', async t => {
    const operator = new Redis(redis.url)
    for (const [name, value, usual, why] of [
      ['maxmemory', '1', '0', 'has no memory left for changes'],
      ['min-replicas-to-write', '1', '0', 'has too few replicas and refuses changes'],
    ] as const) {
      const { link, prefix } = await openLink(redis.url, 100)
      t.after(() => link.close())
      const set = link.script('set', "return redis.call('SET', KEYS[1], '1')", 1)
      await operator.config('SET', name, value)
      await assert.rejects(set(`${prefix}:a`), unavailable)
      assert.equal(link.why(), `Redis ${why}`)
      await operator.config('SET', name, usual)
      await change(link, true)
      await set(`${prefix}:a`)
    }
    operator.disconnect()
  })

  it('starts without Redis, and finds it later', async t => {
    await redis.stop()
    const opening = openLink(redis.url, 100)
    redis = await startRedis(redis.port)
    const { link } = await opening
    t.after(() => link.close())
    assert.equal(link.healthy(), true)
  })
})

describe('link to a Redis Cluster', () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>
  before(async () => {
    cluster = await startRedisCluster()
  })
  after(() => cluster.stop())

  redisLinkContract(() => cluster.url)

  it('is ill while one master hangs, and well again after', async t => {
    const { link } = await openLink(cluster.url, 200)
    t.after(() => link.close())
    process.kill(cluster.pids[0]!, 'SIGSTOP')
    try {
      await assert.rejects(async () => {
        for (let n = 0; n < 50; n++) await link.ask('get', client => client.get(`{${n}}`))
      }, unavailable)
      assert.equal(link.healthy(), false)
    } finally {
      process.kill(cluster.pids[0]!, 'SIGCONT')
    }
    // On a busy machine it may fall ill once more before it is well for good.
    const all = () => Promise.all(Array.from({ length: 50 }, (_, n) => link.ask('get', client => client.get(`{${n}}`))))
    for (let well = false; !well; ) {
      await change(link, true)
      well = await all().then(
        () => true,
        () => false,
      )
    }
  })
})
