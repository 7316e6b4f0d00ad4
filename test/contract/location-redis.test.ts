import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createEvents, type Events } from '../../src/events.ts'
import { createRedisStore } from '../../src/location/redis.ts'
import type { LocationStore } from '../../src/location/store.ts'
import { createSilentLog } from '../../src/log.ts'
import { someBinding } from '../support/bindings.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { locationStoreContract } from './location-store.contract.ts'

const aor = 'sip:ann@example.org'
let redis: RedisServer
let prefixes = 0

function fact(events: Events, name: 'storeFailed' | 'storeRecovered'): Promise<void> {
  return new Promise(resolve => {
    const off = events.on(name, () => {
      off()
      resolve()
    })
  })
}

async function openStore(now: () => number, events = createEvents(), timeoutMs = 1000): Promise<LocationStore> {
  const config = { redis: redis.url, prefix: `t[${++prefixes}]*`, timeoutMs }
  const store = createRedisStore({ config, events, log: createSilentLog(), now })
  await store.ready()
  return store
}

describe('location store in Redis', () => {
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  locationStoreContract(async clock => openStore(() => clock.now))

  it('refuses fast while Redis hangs and goes on when it answers again', async () => {
    const events = createEvents()
    const store = await openStore(Date.now, events, 100)
    const recovered = fact(events, 'storeRecovered')
    process.kill(redis.pid, 'SIGSTOP')
    try {
      const failed = fact(events, 'storeFailed')
      await assert.rejects(async () => store.load(aor), { code: 'store-unavailable' })
      await failed
      const started = performance.now()
      await assert.rejects(async () => store.load(aor), { code: 'store-unavailable' })
      assert.ok(performance.now() - started < 50)
      assert.equal(store.healthy(), false)
    } finally {
      process.kill(redis.pid, 'SIGCONT')
    }
    await recovered
    assert.equal(await store.save(aor, 0, [someBinding({ expiresAt: Date.now() + 9999 })]), true)
    await store.close()
  })

  it('finds a Redis that was started again', async () => {
    const events = createEvents()
    const store = await openStore(Date.now, events)
    const recovered = fact(events, 'storeRecovered')
    const failed = fact(events, 'storeFailed')
    await redis.stop()
    await failed
    await assert.rejects(async () => store.load(aor), { code: 'store-unavailable' })
    redis = await startRedis(redis.port)
    await recovered
    assert.deepEqual(await store.load(aor), { version: 0, bindings: [], expired: [] })
    await store.close()
  })
})
