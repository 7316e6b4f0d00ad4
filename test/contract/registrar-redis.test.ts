import { after, before, describe } from 'node:test'
import { createEvents } from '../../src/events.ts'
import { createRedisStore } from '../../src/location/redis.ts'
import type { LocationStore } from '../../src/location/store.ts'
import { createSilentLog } from '../../src/log.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { registrarContract } from './registrar.contract.ts'
import { watchdogContract } from './watchdog.contract.ts'

let redis: RedisServer
let prefixes = 0

before(async () => {
  redis = await startRedis()
})
after(() => redis.stop())

async function openStore(now: () => number): Promise<LocationStore> {
  const config = { redis: redis.url, prefix: `r${++prefixes}`, timeoutMs: 5000 }
  const store = createRedisStore({ config, events: createEvents(), log: createSilentLog(), now })
  await store.ready()
  return store
}

describe('registrar on Redis', () => {
  registrarContract(async clock => openStore(() => clock.now), 25)
})

describe('watchdog over Redis', { concurrency: true }, () => {
  watchdogContract(openStore)
})
