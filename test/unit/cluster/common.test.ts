import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, it } from 'node:test'
import { createCommon } from '../../../src/cluster/common.ts'
import { complete } from '../../../src/config/load.ts'
import { openDatabase } from '../../../src/database/database.ts'
import { createEvents } from '../../../src/events.ts'
import { createSilentLog } from '../../../src/log.ts'
import { createRedisLink } from '../../../src/redis/link.ts'

const log = createSilentLog()
const folder = mkdtempSync(join(tmpdir(), 'vaartha-common-'))
const file = join(folder, 'vaartha.sqlite')
const store = { redis: 'redis://127.0.0.1:1', timeoutMs: 50 }
const redis = createRedisLink({ config: { ...store, prefix: 'test' }, events: createEvents(), log })
const right = { name: 'a', secret: 'a secret of 24 characters' }
const configOf = (cluster: object) => complete({ store, cluster })
after(async () => {
  await redis.close()
  rmSync(folder, { recursive: true })
})

it('refuses a cluster without a secret, without Redis, or with a name that cannot be', () => {
  for (const cluster of [{ name: 'a' }, { name: 'a', secret: 'short' }, { ...right, name: 'a b' }]) {
    assert.throws(() => createCommon({ config: configOf(cluster), redis, file, log }), { code: 'bad-config' })
  }
  const lone = { config: configOf(right), redis: undefined, file, log }
  assert.throws(() => createCommon(lone), { code: 'bad-config', message: /store\.redis/ })
})

it('starts without Redis, and closes twice', async () => {
  const database = await openDatabase(file, log)
  const common = createCommon({ config: configOf(right), redis, file, log })
  const starting = common.start()
  common.sessions.phones.set('a', { user: 'mum', ends: Date.now() + 1000 })
  assert.equal(common.sessions.phones.get('a')?.user, 'mum')
  await assert.rejects(common.claim('x', Date.now() + 1000), { code: 'store-unavailable' })
  await common.close()
  await starting
  await common.close()
  await database.close()
})
