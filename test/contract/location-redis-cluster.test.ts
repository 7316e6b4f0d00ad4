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

async function openStore(now: () => number): Promise<LocationStore> {
  const config = { redis: cluster.url, prefix: `c${++prefixes}`, timeoutMs: 5000 }
  const store = createRedisStore({ config, events: createEvents(), log: createSilentLog(), now })
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
})
