import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Redis } from 'ioredis'
import { createEvents } from '../../src/events.ts'
import { createRedisStore } from '../../src/location/redis.ts'
import type { LocationStore } from '../../src/location/store.ts'
import { createSilentLog } from '../../src/log.ts'
import { someBinding } from '../support/bindings.ts'
import { startRedisCluster } from '../support/redis.ts'
import { locationStoreContract } from './location-store.contract.ts'

let cluster: Awaited<ReturnType<typeof startRedisCluster>>
let prefixes = 0

async function openStore(now: () => number, timeoutMs = 5000, events = createEvents()): Promise<LocationStore> {
  const config = { redis: cluster.url, prefix: `c${++prefixes}`, timeoutMs }
  const store = createRedisStore({ config, events, log: createSilentLog(), now })
  assert.equal(await store.ready(), true)
  return store
}

describe('location store in a Redis Cluster', () => {
  before(async () => {
    cluster = await startRedisCluster()
  })
  after(() => cluster.stop())

  locationStoreContract(async clock => openStore(() => clock.now))

  it('spreads addresses over the masters', async () => {
    const store = await openStore(Date.now)
    for (let n = 0; n < 20; n++) {
      const aor = `sip:user${n}@example.org`
      await store.save(aor, 0, [someBinding({ aor, expiresAt: Date.now() + 60_000 })])
    }
    for (const url of cluster.url.split(',')) {
      const client = new Redis(url)
      assert.ok((await client.keys(`c${prefixes}:*`)).length > 0)
      client.disconnect()
    }
    await store.close()
  })

  it('refuses fast while a master hangs and goes on when it answers again', async () => {
    const events = createEvents()
    const store = await openStore(Date.now, 200, events)
    const recovered = new Promise<void>(resolve => events.on('storeRecovered', () => resolve()))
    process.kill(cluster.pids[0]!, 'SIGSTOP')
    try {
      const began = performance.now()
      await assert.rejects(
        async () => {
          for (let n = 0; n < 50; n++) await store.load(`sip:user${n}@example.org`)
        },
        { code: 'store-unavailable' },
      )
      assert.ok(performance.now() - began < 2000)
    } finally {
      process.kill(cluster.pids[0]!, 'SIGCONT')
    }
    await recovered
    for (let n = 0; n < 50; n++) await store.load(`sip:user${n}@example.org`)
    await store.close()
  })
})
