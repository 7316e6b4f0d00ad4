import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Claims, createClaims } from '../../src/cluster/claims.ts'
import { leaseKey } from '../../src/cluster/kept-store.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRedisLink } from '../../src/redis/link.ts'
import type { RedisLink } from '../../src/redis/redis.ts'
import { type SaidMembers, sayMembers } from '../support/cluster.ts'
import { type RedisServer, startRedis, startRedisCluster } from '../support/redis.ts'

interface Node {
  life: string
  members: SaidMembers
  claims: Claims
  redis: RedisLink
  lease(on: boolean): Promise<unknown>
}

const log = createSilentLog()
const prefix = 'claims'
let server: RedisServer
let cluster: Awaited<ReturnType<typeof startRedisCluster>>
const opened: RedisLink[] = []

before(async () => {
  server = await startRedis()
  cluster = await startRedisCluster()
})
after(async () => {
  for (const redis of opened) await redis.close()
  await server.stop()
  await cluster.stop()
})

async function open(life: string, url: string): Promise<Node> {
  const redis = createRedisLink({ config: { redis: url, prefix, timeoutMs: 500 }, events: createEvents(), log })
  opened.push(redis)
  assert.equal(await redis.ready(), true)
  const members = sayMembers(life)
  const lease = (on: boolean) =>
    redis.ask<unknown>('lease', client =>
      on ? client.set(leaseKey(prefix, life), '1') : client.del(leaseKey(prefix, life)),
    )
  await lease(true)
  return { life, members, redis, lease, claims: createClaims({ redis, config: { prefix, leaseMs: 0 }, members }) }
}

for (const kind of ['a Redis', 'a Redis Cluster'] as const) {
  const url = () => (kind === 'a Redis' ? server.url : cluster.url)

  test(`${kind}: of three that claim a name at once one has it, and all know which, 100 times`, async () => {
    const nodes = await Promise.all(['one', 'two', 'three'].map(life => open(life, url())))
    const winners = new Set<string>()
    for (let race = 0; race < 100; race++) {
      const order = nodes.toSorted(() => Math.random() - 0.5)
      const said = await Promise.all(order.map(({ life, claims }) => claims.claim(`race${race}`, `of ${life}`)))
      const [first] = said
      for (const one of said) assert.deepEqual(one, first)
      assert.equal(first?.value, `of ${first?.owner}`)
      assert.equal(first?.dead, false)
      winners.add(first!.owner)
    }
    assert.ok(winners.size > 1)
  })

  test(`${kind}: what a dead one has is taken by one of those that saw it dead`, async () => {
    const [gone, ...heirs] = await Promise.all(['gone', 'heir', 'other'].map(life => open(life, url())))
    for (let race = 0; race < 20; race++) {
      const name = `left${race}`
      await gone!.claims.claim(name, 'old')
      for (const { members } of heirs) members.say('gone', 'up')
      assert.equal((await heirs[0]!.claims.claim(name, 'new')).dead, false)
      for (const { members } of heirs) members.say('gone', 'down')
      // It has come back, and the others only do not know it yet.
      assert.equal((await heirs[0]!.claims.see(name))?.dead, false)
      await gone!.lease(false)
      const seen = await Promise.all(heirs.map(({ claims, life }) => claims.claim(name, life)))
      for (const one of seen) assert.deepEqual(one, { owner: 'gone', value: 'old', dead: true })
      const took = await Promise.all(heirs.map(({ claims, life }, n) => claims.claim(name, life, seen[n])))
      assert.deepEqual(took[0], took[1])
      assert.notEqual(took[0]?.owner, 'gone')
      assert.deepEqual(await gone!.claims.see(name), took[0])
      // Who comes back late neither has it nor takes it away.
      await gone!.claims.release(name, 'old')
      assert.deepEqual(await heirs[0]!.claims.see(name), took[0])
      await gone!.lease(true)
    }
  })

  test(`${kind}: a name that is given up is anybody's, and one's own may be claimed for something else`, async () => {
    const [one, two] = await Promise.all(['giver', 'taker'].map(life => open(life, url())))
    assert.equal((await one!.claims.claim('mine', 'first')).owner, 'giver')
    assert.equal((await one!.claims.claim('mine', 'second')).value, 'second')
    await one!.claims.release('mine', 'first')
    assert.equal((await two!.claims.claim('mine', 'theirs')).value, 'second')
    await one!.claims.release('mine', 'second')
    assert.equal(await two!.claims.see('mine'), undefined)
    assert.equal((await two!.claims.claim('mine', 'theirs')).owner, 'taker')
  })
}
