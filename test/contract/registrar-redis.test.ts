import { after, before, describe } from 'node:test'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { openSharedNode } from '../support/shared-store.ts'
import { registrarContract } from './registrar.contract.ts'
import { watchdogContract } from './watchdog.contract.ts'

let redis: RedisServer
let prefixes = 0

before(async () => {
  redis = await startRedis()
})
after(() => redis.stop())

const openStore = (now: () => number) => openSharedNode({ redis: redis.url, prefix: `r${++prefixes}`, now })

describe('registrar on Redis', () => {
  registrarContract(async clock => openStore(() => clock.now), 25)
})

describe('watchdog over Redis', { concurrency: true }, () => {
  watchdogContract(openStore)
})
