import { after, before, describe } from 'node:test'
import { createEvents } from '../../src/events.ts'
import { createRedisStore } from '../../src/location/redis.ts'
import { createSilentLog } from '../../src/log.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { registrarContract } from './registrar.contract.ts'

let redis: RedisServer
let prefixes = 0

describe('registrar on Redis', () => {
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  registrarContract(async clock => {
    const config = { redis: redis.url, prefix: `r${++prefixes}`, timeoutMs: 5000 }
    const store = createRedisStore({ config, events: createEvents(), log: createSilentLog(), now: () => clock.now })
    await store.ready()
    return store
  }, 25)
})
