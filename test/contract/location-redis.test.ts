import { after, before, describe } from 'node:test'
import { type RedisServer, startRedis, startRedisCluster, startSentinel } from '../support/redis.ts'
import { openSharedNode } from '../support/shared-store.ts'
import { locationStoreContract } from './location-store.contract.ts'
import { sharedLocationContract } from './shared-location.contract.ts'

let prefixes = 0
// Signs that mean something in patterns must mean nothing in a prefix.
const nextPrefix = () => `t[${++prefixes}]*`

for (const [name, start] of Object.entries({
  Redis: startRedis,
  Sentinel: startSentinel,
  Cluster: startRedisCluster,
})) {
  describe(`location store in ${name}`, () => {
    let redis: Pick<RedisServer, 'url' | 'stop'>
    before(async () => {
      redis = await start()
    })
    after(() => redis.stop())

    locationStoreContract(clock => openSharedNode({ redis: redis.url, prefix: nextPrefix(), now: () => clock.now }))
    sharedLocationContract(() => ({ redis: redis.url, prefix: nextPrefix() }))
  })
}
