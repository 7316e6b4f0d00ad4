import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Redis } from 'ioredis'
import { type ClusterNode, startClusterNode, startWay } from '../support/cluster.ts'
import { startNats } from '../support/nats.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

// Nodes as processes of their own, with a lease of 500 ms, on a real Redis: they are killed, put to sleep and cut off.

let redis: RedisServer
let direct: Redis
const started: ClusterNode[] = []
before(async () => {
  redis = await startRedis()
  direct = new Redis(redis.url)
})
after(async () => {
  for (const node of started) await node.stop()
  direct.disconnect()
  await redis.stop()
})

const ticks = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

async function startPair(
  urls: [string, string] = [redis.url, redis.url],
  nats = '',
): Promise<[ClusterNode, ClusterNode]> {
  await direct.flushall()
  const a = startClusterNode({ name: 'a', redis: urls[0], nats })
  const b = startClusterNode({ name: 'b', redis: urls[1], nats })
  started.push(a, b)
  await Promise.all([a.hears({ life: b.life, state: 'up' }), b.hears({ life: a.life, state: 'up' })])
  // Whoever has just come declares nobody dead for two leases.
  await ticks(1000)
  return [a, b]
}

const leaderOf = async (nodes: ClusterNode[]) => {
  await Promise.any(nodes.map(node => node.hears({ leading: true })))
  return nodes.find(node => node.lines().some(line => line['leading'] === true))!
}

test('after SIGKILL its death is known within a lease, and its calls are adopted', { timeout: 20_000 }, async () => {
  const [a, b] = await startPair()
  for (let n = 0; n < 5; n++) await a.tell('save', `c${n}`)
  const began = performance.now()
  await a.stop()
  const ms = await b.hears({ dead: a.life }, began)
  assert.ok(ms < 900, `after ${ms} ms`)
  assert.equal(await b.tell('adopt', a.life), 5)
  assert.equal(await b.tell('owns', 'c1'), true)
  assert.equal(b.lines().filter(line => 'dead' in line).length, 1)
  await b.tell('close')
})

test('one that is killed and started again at once is known by its new life', { timeout: 20_000 }, async () => {
  const [a, b] = await startPair()
  await a.stop()
  const again = startClusterNode({ name: 'a', redis: redis.url })
  started.push(again)
  await b.hears({ life: again.life, state: 'up' })
  while (typeof (await b.tell('ask', 'a')) === 'string') await ticks(10)
  assert.deepEqual(await b.tell('ask', 'a'), { from: again.life, question: 'hello' })
  await b.hears({ dead: a.life })
  await again.hears({ dead: a.life })
  await Promise.all([again.tell('close'), b.tell('close')])
})

test('one that says goodbye is gone at once, and a new life of it is another', { timeout: 20_000 }, async () => {
  const [a, b] = await startPair()
  await a.tell('drain')
  await b.hears({ life: a.life, state: 'draining' })
  const began = performance.now()
  await a.tell('close')
  assert.ok((await b.hears({ life: a.life, state: 'down' }, began)) < 300)
  await ticks(300)
  assert.equal(b.lines().filter(line => 'dead' in line).length, 1)
  const again = startClusterNode({ name: 'a', redis: redis.url })
  started.push(again)
  await b.hears({ life: again.life, state: 'up' })
  const seen = (await b.tell('members')) as { node: string; life: string; state: string; weight: number }[]
  assert.ok(seen.some(one => one.life === again.life && one.weight < 1))
  await Promise.all([again.tell('close'), b.tell('close')])
})

test('a node that slept loses its calls and acts for nobody when it wakes up', { timeout: 30_000 }, async () => {
  const [a, b] = await startPair()
  const leader = await leaderOf([a, b])
  const other = leader === a ? b : a
  await leader.tell('save', 'taken')
  await leader.tell('save', 'left')
  const began = performance.now()
  leader.signal('SIGSTOP')
  const ms = await other.hears({ dead: leader.life }, began)
  assert.ok(ms > 300 && ms < 1000, `after ${ms} ms`)
  await other.hears({ leading: true })
  const taken = (await other.tell('take', 'taken')) as { from: string }
  assert.equal(taken.from, leader.life)
  // Long enough for the list to show who acts.
  const acts = await direct.llen('acts')
  while ((await direct.llen('acts')) < acts + 20) await new Promise(resolve => setTimeout(resolve, 20))
  const woke = performance.now()
  leader.signal('SIGCONT')
  await leader.hears({ returned: leader.life }, woke)
  await leader.hears({ lost: 'taken' }, woke)
  assert.equal(await leader.tell('sure', 'taken'), false)
  assert.equal(await leader.tell('sure', 'left'), true)
  assert.equal(await leader.tell('end', 'taken'), false)
  await other.hears({ life: leader.life, state: 'up' }, woke)
  const list = await direct.lrange('acts', 0, -1)
  const terms = list.map(entry => Number(entry.split('|')[0]))
  assert.deepEqual(terms, terms.toSorted((x, y) => x - y), 'nobody acted in a term that was over') // biome-ignore format: one line
  assert.equal(new Set(list).size, 2)
  assert.equal(await other.tell('end', 'taken'), true)
  await Promise.all([a.tell('close'), b.tell('close')])
})

test('a node that has lost Redis alone lives on, because its peer renews its lease', { timeout: 20_000 }, async () => {
  const way = await startWay(redis.port)
  const [a, b] = await startPair([way.url, redis.url])
  await a.tell('save', 'one')
  way.cut()
  // Three leases long.
  await ticks(1500)
  assert.equal(await a.tell('lease'), true)
  assert.equal(await a.tell('owns', 'one'), true)
  assert.deepEqual(await b.tell('take', 'one'), { owner: a.life })
  assert.ok(!b.lines().some(line => 'dead' in line))
  way.mend()
  assert.equal(await a.tell('end', 'one'), true)
  while ((await b.tell('take', 'one')) !== null) await ticks(20)
  await Promise.all([a.tell('close'), b.tell('close')])
  way.close()
})

test('Redis gone for four leases: nobody dies, also not when it is back and empty', { timeout: 20_000 }, async () => {
  const own = await startRedis()
  const [a, b] = await startPair([own.url, own.url])
  await a.tell('save', 'one')
  await own.stop()
  await ticks(2000)
  for (const node of [a, b]) assert.equal(await node.tell('lease'), true)
  const again = await startRedis(own.port)
  const look = new Redis(again.url)
  while ((await look.hget('vaartha:{call:one}', 's')) !== 'one') await ticks(20)
  await ticks(1500)
  for (const node of [a, b]) {
    assert.equal(await node.tell('lease'), true)
    assert.ok(!node.lines().some(line => 'dead' in line || 'returned' in line))
  }
  assert.equal(await a.tell('owns', 'one'), true)
  look.disconnect()
  // With Redis gone again and the peer asleep, nobody counts it any more.
  await again.stop()
  b.signal('SIGSTOP')
  const began = performance.now()
  while ((await a.tell('lease')) === true) await ticks(10)
  const ms = performance.now() - began
  assert.ok(ms > 100 && ms < 1500, `after ${ms} ms`)
  for (const node of [a, b]) await node.stop()
})

test('a Redis that hangs for six leases: nobody dies, nobody looks away', { timeout: 30_000 }, async () => {
  const own = await startRedis()
  const [a, b] = await startPair([own.url, own.url])
  await a.tell('save', 'one')
  process.kill(own.pid, 'SIGSTOP')
  const until = performance.now() + 3000
  while (performance.now() < until) {
    for (const node of [a, b]) assert.equal(await node.tell('lease'), true)
    await ticks(50)
  }
  process.kill(own.pid, 'SIGCONT')
  await ticks(1500)
  assert.equal(await a.tell('owns', 'one'), true)
  assert.equal(await a.tell('end', 'one'), true)
  for (const node of [a, b]) assert.ok(!node.lines().some(line => 'dead' in line || 'lost' in line))
  for (const node of [a, b]) await node.stop()
  await own.stop()
})

test('started again before its death is known, and Redis hangs: it does not take itself for a peer that counts it', {
  timeout: 30_000,
}, async () => {
  const [own, nats] = [await startRedis(), await startNats()]
  const [a, b] = await startPair([own.url, own.url], nats.url)
  await a.stop()
  const again = startClusterNode({ name: 'a', redis: own.url, nats: nats.url })
  started.push(again)
  await again.hears({ life: a.life, state: 'suspect' })
  process.kill(own.pid, 'SIGSTOP')
  await ticks(2000)
  const seen = (await again.tell('members')) as { life: string }[]
  assert.equal(seen.filter(({ life }) => life === again.life).length, 1)
  process.kill(own.pid, 'SIGCONT')
  for (const node of [again, b]) await node.stop()
  await Promise.all([own.stop(), nats.stop()])
})

test('a pair with NATS goes on talking when that dies', { timeout: 30_000 }, async () => {
  const nats = await startNats()
  const [a, b] = await startPair(undefined, nats.url)
  await a.tell('publish', 'over.nats')
  await b.hears({ subject: 'over.nats', from: 'a' })
  assert.deepEqual(await a.tell('ask', 'b'), { from: b.life, question: 'hello' })
  await nats.stop()
  await a.tell('keep', 'once')
  await b.hears({ subject: 'kept.fact' })
  // It takes a moment until a knows that NATS is gone; what it tells from then on goes directly.
  while (!b.lines().some(line => line['subject'] === 'directly')) {
    await a.tell('publish', 'directly')
    await ticks(20)
  }
  assert.deepEqual(await a.tell('ask', 'b'), { from: b.life, question: 'hello' })
  await a.stop()
  await b.hears({ dead: a.life })
  assert.equal(b.lines().filter(line => line['subject'] === 'kept.fact').length, 1)
  await b.tell('close')
})

test('a node by itself stays a server without Redis', { timeout: 20_000 }, async () => {
  const own = await startRedis()
  const a = startClusterNode({ name: 'a', redis: own.url })
  started.push(a)
  await a.hears({ leading: true })
  await own.stop()
  await ticks(1500)
  assert.equal(await a.tell('lease'), true)
  await a.stop()
})
