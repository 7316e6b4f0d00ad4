import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createLeader } from '../../src/cluster/leader.ts'
import type { Leader } from '../../src/cluster/members.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRedisLink } from '../../src/redis/link.ts'
import type { RedisLink } from '../../src/redis/redis.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

const log = createSilentLog()
let server: RedisServer
const opened: { close(): Promise<void> }[] = []
before(async () => {
  server = await startRedis()
})
after(async () => {
  for (const one of opened) await one.close()
  await server.stop()
})

async function openLink(url = server.url): Promise<RedisLink> {
  const redis = createRedisLink({ config: { redis: url, prefix: 'l', timeoutMs: 200 }, events: createEvents(), log })
  opened.push(redis)
  assert.equal(await redis.ready(), true)
  return redis
}

function open(redis: RedisLink, life: string, prefix: string, more: { may?(): boolean; clock?(): number } = {}) {
  const leader = createLeader({ life, redis, config: { prefix, heartbeatMs: 20, leaseMs: 400 }, log, ...more })
  opened.unshift(leader)
  return leader
}

async function until(fact: () => boolean): Promise<void> {
  while (!fact()) await new Promise(resolve => setTimeout(resolve, 2))
}

test('one leads, and hands over when it stops or is not to lead any more', { timeout: 20_000 }, async () => {
  const redis = await openLink()
  let may = true
  const a = open(redis, 'a', 'hand', { may: () => may })
  await until(() => a.isLeader())
  const b = open(redis, 'b', 'hand')
  const changes: boolean[] = []
  a.onChange(leading => changes.push(leading))
  assert.equal(await b.run('work', async () => 'done'), undefined)
  assert.equal(await a.run('work', async term => `done in ${term}`), `done in ${a.term()}`)
  await assert.rejects(
    a.run('work', async () => {
      throw new Error('failed')
    }),
    /failed/,
  )
  may = false
  await until(() => b.isLeader())
  assert.equal(a.isLeader(), false)
  assert.ok(b.term() > a.term())
  assert.deepEqual(changes, [false])
  may = true
  const before = b.term()
  await b.close()
  await b.close()
  await until(() => a.isLeader())
  assert.equal(a.term(), before + 1)
  await a.close()
  await redis.close()
})

test('one that slept is no leader in the very call, and its work is given up', { timeout: 20_000 }, async () => {
  const redis = await openLink()
  let asleep = 0
  const a = open(redis, 'a', 'sleep', { clock: () => performance.now() + asleep })
  await until(() => a.isLeader())
  let signal: AbortSignal | undefined
  const work = a.run('work', async (_term, given) => {
    signal = given
    return await new Promise<string>(() => {})
  })
  const term = a.term()
  asleep = 10_000
  assert.equal(a.isLeader(), false)
  assert.equal(await work, undefined)
  assert.equal(signal?.aborted, true)
  // Nobody else wanted it, so Redis still knows it as the leader of this term.
  await until(() => a.isLeader())
  assert.equal(a.term(), term)
  await a.close()
  await redis.close()
})

test('two never lead at once while a third one comes and goes, and terms only grow', { timeout: 20_000 }, async () => {
  const redis = await openLink()
  const nodes = new Map<string, Leader>()
  const terms: number[] = []
  for (let n = 0; n < 30; n++) {
    for (const life of ['a', 'b', 'c']) {
      if (!nodes.has(life)) nodes.set(life, open(redis, life, 'many'))
    }
    await until(() => [...nodes.values()].some(one => one.isLeader()))
    const leading = [...nodes].filter(([, one]) => one.isLeader())
    assert.ok(leading.length <= 1)
    // On a machine that is busy elsewhere its time may be over by now.
    if (leading[0] === undefined) continue
    const [life, leader] = leading[0]
    terms.push(leader.term())
    await leader.close()
    nodes.delete(life)
  }
  assert.deepEqual(terms, [...new Set(terms)].sort((x, y) => x - y)) // biome-ignore format: one line
  for (const one of nodes.values()) await one.close()
  await redis.close()
})

test('a Redis that comes back empty begins above the terms that were', { timeout: 20_000 }, async () => {
  const own = await startRedis()
  const redis = await openLink(own.url)
  const others = [open(redis, 'x', 'empty'), open(redis, 'y', 'empty')]
  for (let n = 0; n < 3; n++) {
    await until(() => others.some(one => one.isLeader()))
    const at = others.findIndex(one => one.isLeader())
    await others[at]!.close()
    others[at] = open(redis, `z${n}`, 'empty')
  }
  await until(() => others.some(one => one.isLeader()))
  const last = Math.max(...others.map(one => one.term()))
  // Each has asked since, and so has heard of the last term.
  const heard = performance.now() + 100
  await until(() => performance.now() > heard)
  await own.stop()
  await until(() => !others.some(one => one.isLeader()))
  const again = await startRedis(own.port)
  await until(() => others.some(one => one.isLeader()))
  assert.ok(others.find(one => one.isLeader())!.term() > last)
  for (const one of others) await one.close()
  await redis.close()
  await again.stop()
})
