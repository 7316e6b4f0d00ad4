// What it costs that nodes share their people: each write, and the first meeting of a node with 10,000 accounts.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { it } from 'node:test'
import { openReplica } from '../../src/cluster/directory/replica.ts'
import { type Database, openDatabase } from '../../src/database/database.ts'
import { createSilentLog } from '../../src/log.ts'
import { startDirectoryNode, until } from '../support/directory.ts'
import { startRedis } from '../support/redis.ts'

const folder = mkdtempSync(join(tmpdir(), 'vaartha-bench-'))
const accounts = 10_000
const hash = 'f'.repeat(64)

const row = (n: number) => ({
  domain: 'home.test', user: `person${n}`, display_name: `Person ${n}`, enabled: 1, roles: 'user', md5_seen: 0,
  created: new Date().toISOString(), ha1_sha256: hash, ha1_md5: hash.slice(32), ha1b_sha256: hash, ha1b_md5: hash.slice(32),
}) // biome-ignore format: one account

async function fill({ query }: Database, from: number, count: number): Promise<void> {
  for (let n = from; n < from + count; n += 500) {
    await query
      .insertInto('accounts')
      .values(Array.from({ length: 500 }, (_, i) => row(n + i)))
      .execute()
  }
}

const perRow = (began: number, rows: number) => ((performance.now() - began) / rows) * 1000

it('writes with and without others to tell', async t => {
  const file = join(folder, 'writes.sqlite')
  const database = await openDatabase(file, createSilentLog())
  await fill(database, 0, 500)
  let from = 500
  const measure = async (what: string) => {
    const began = performance.now()
    await fill(database, from, accounts)
    t.diagnostic(`${what}: ${perRow(began, accounts).toFixed(1)} µs a row, in statements of 500`)
    from += accounts
    const single = performance.now()
    for (let n = 0; n < 2000; n++) await database.query.insertInto('accounts').values(row(from++)).execute()
    t.diagnostic(`${what}: ${perRow(single, 2000).toFixed(1)} µs a row, one by one`)
  }
  await measure('by itself')
  openReplica({ file, node: 'a', callsSince: '' }).close()
  await measure('sharing')
  await database.close()
})

it('first meeting of a node with 10,000 accounts', { timeout: 120_000 }, async t => {
  const redis = await startRedis()
  const options = { redis: redis.url, folder, prefix: 'bench' }
  const a = await startDirectoryNode({ ...options, node: 'a' })
  await fill(a.database, 0, accounts)
  const memory = () => {
    globalThis.gc?.()
    return process.memoryUsage().rss / 2 ** 20
  }
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const measure = async (what: string, work: () => Promise<unknown>) => {
    const before = memory()
    delay.reset()
    delay.enable()
    const began = performance.now()
    await work()
    const ms = performance.now() - began
    delay.disable()
    t.diagnostic(
      `${what}: ${ms.toFixed(0)} ms, event loop held up ${(delay.max / 1e6).toFixed(0)} ms at most, memory ${(memory() - before).toFixed(0)} MiB more`,
    )
  }
  await measure('told by the first', async () => (await a.link.ready()) && a.directory.start(60_000))
  const b = await startDirectoryNode({ ...options, node: 'b' })
  await measure('taken by the second', () => b.directory.start(60_000))
  await b.close()
  const again = await startDirectoryNode({ ...options, node: 'b' })
  await again.link.ready()
  await measure('compared at a later start', () => again.directory.start(60_000))
  const began = performance.now()
  await a.accounts.setDisplayName('person1', 'home.test', 'changed')
  await until(async () => (await again.accounts.get('person1', 'home.test'))?.displayName === 'changed')
  t.diagnostic(`one change at the other node: ${(performance.now() - began).toFixed(0)} ms, looked for every 5 ms`)
  await again.close()
  await a.close()
  await redis.stop()
  rmSync(folder, { recursive: true, force: true })
})
