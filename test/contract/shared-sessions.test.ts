import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createSealer } from '../../src/cluster/seal.ts'
import { createSharedSessions, type SharedSessions } from '../../src/cluster/sessions.ts'
import { createEvents } from '../../src/events.ts'
import { createSessions } from '../../src/http/sessions.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRedisLink } from '../../src/redis/link.ts'
import { clusterSecret, until } from '../support/directory.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

describe('sessions that all nodes know', () => {
  const log = createSilentLog()
  const closes: (() => unknown)[] = []
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(async () => {
    for (const close of closes.toReversed()) await close()
    await redis.stop()
  })

  async function tableOf(name: string): Promise<SharedSessions> {
    const config = { redis: redis.url, prefix: 't', timeoutMs: 1000 }
    const link = createRedisLink({ config, events: createEvents(), log })
    const table = createSharedSessions({ redis: link, sealer: createSealer([clusterSecret]), prefix: 't', name, log })
    closes.push(
      () => link.close(),
      () => table.close(),
    )
    await link.ready()
    await table.start()
    return table
  }
  const later = () => Date.now() + 60_000

  it('lets a browser in at a node that it did not sign in at, until it signs out', async () => {
    const files = ['a', 'b', 'c'].map(node => join(tmpdir(), `vaartha-${process.pid}-${node}.json`))
    closes.push(() => Promise.all(files.map(file => rm(file, { force: true }))))
    const open = async (n: number) => createSessions({ file: files[n]!, log, table: await tableOf('admins') })
    const [a, b] = [await open(0), await open(1)]
    const { id } = a.signIn(a.newCode())!
    await until(() => b.knows(id))
    const c = await open(2)
    assert.ok(c.knows(id))
    b.signOut(id)
    await until(() => !a.knows(id) && !c.knows(id))
    // A node that was off meanwhile still has it in its file.
    assert.ok(!(await open(0)).knows(id))
  })

  it('knows sessions while Redis is away, and tells then what it missed', async () => {
    const [a, b] = [await tableOf('phones'), await tableOf('phones')]
    a.set('early', { user: 'mum', ends: later() })
    a.set('leaving', { user: 'kid', ends: later() })
    await until(() => b.get('leaving') !== undefined)
    await redis.stop()
    assert.equal(b.get('early')?.user, 'mum')
    a.set('late', { user: 'dad', ends: later() })
    b.delete('leaving')
    redis = await startRedis(redis.port)
    await until(() => b.get('late')?.user === 'dad' && a.get('leaving') === undefined)
    const c = await tableOf('phones')
    await until(() => c.get('early')?.user === 'mum' && c.get('late')?.user === 'dad')
    assert.equal(c.get('leaving'), undefined)
  })

  it('forgets what has ended', async () => {
    const a = await tableOf('short')
    a.set('past', { user: 'mum', ends: Date.now() - 1 })
    a.set('now', { user: 'dad', ends: later() })
    const b = await tableOf('short')
    await until(() => b.get('now') !== undefined)
    assert.equal(b.get('past'), undefined)
    assert.equal(b.size, 1)
  })
})
