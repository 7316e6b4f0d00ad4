import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCluster } from '../../../src/cluster/cluster.ts'
import { complete } from '../../../src/config/load.ts'
import { createEvents } from '../../../src/events.ts'
import { createSilentLog } from '../../../src/log.ts'
import { createRedisLink } from '../../../src/redis/link.ts'

const log = createSilentLog()
const open = (cluster: object, redis?: ReturnType<typeof createRedisLink>) =>
  createCluster({
    config: complete({ cluster, store: { redis: 'redis://127.0.0.1:1/0' } }),
    ...{ node: 'n', life: 'n-1', version: '1', redis, log },
    address: () => '127.0.0.1',
    places: () => ({ sip: '192.0.2.1:5060', http: '' }),
  })

test('a node by itself leads, owns what it has and keeps nothing', async () => {
  const { members, leader, replication, bus, stats, close } = await open({})
  assert.equal(members.self().state, 'up')
  assert.deepEqual(
    members.list().map(one => one.life),
    ['n-1'],
  )
  assert.equal(members.find('n-1')?.sip, '192.0.2.1:5060')
  assert.equal(members.find('other'), undefined)
  assert.equal(members.holdsLease(), true)
  assert.equal(replication.strategy, 'none')
  assert.equal(leader.isLeader(), true)
  assert.equal(await leader.run('work', async term => term), 1)
  assert.equal(stats().states.up, 1)
  const changes: string[] = []
  members.onChange((member, was) => changes.push(`${was} ${member.state}`))
  await members.drain()
  await members.drain()
  assert.deepEqual(changes, ['up draining'])
  assert.equal(bus.healthy(), true)
  await close()
  assert.equal(leader.isLeader(), false)
  assert.equal(await leader.run('work', async term => term), undefined)
})

test('a cluster is refused that cannot work', async () => {
  const secret = 's'.repeat(24)
  await assert.rejects(open({ name: 'a', secret }), { code: 'bad-config', message: /store\.redis/ })
  const config = { redis: 'redis://127.0.0.1:1/0', prefix: 'x', timeoutMs: 50 }
  const redis = createRedisLink({ config, events: createEvents(), log })
  await assert.rejects(open({ name: 'a', secret: 'short' }, redis), { code: 'bad-config', message: /secret/ })
  const hasty = { name: 'a', secret, heartbeatMs: 300, leaseMs: 600 }
  await assert.rejects(open(hasty, redis), { code: 'bad-config', message: /leaseMs/ })
  // Without Redis it starts all the same, and is a server by itself until that is there.
  const node = await open({ name: 'a', secret, port: 0 }, redis)
  assert.equal(node.members.holdsLease(), true)
  assert.equal(node.leader.isLeader(), false)
  await node.replication.save({ kind: 'call', id: 'c', dialogs: [], snapshot: '' })
  assert.equal(node.replication.owns('call', 'c'), true)
  await node.close()
  await node.close()
  await redis.close()
})
