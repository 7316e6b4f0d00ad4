import assert from 'node:assert/strict'
import { after, it } from 'node:test'
import { createResealing } from '../../src/cluster/resealing.ts'
import { createSealer } from '../../src/cluster/seal.ts'
import { openDatabase } from '../../src/database/database.ts'
import { Refusal } from '../../src/errors.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRedisInbox } from '../../src/messaging/inbox-redis.ts'
import { createSqlInbox } from '../../src/messaging/inbox-sql.ts'
import { createRedisLink } from '../../src/redis/link.ts'
import type { RedisLink } from '../../src/redis/redis.ts'
import { until } from '../support/pair.ts'
import { startRedis, startRedisCluster } from '../support/redis.ts'
import { describeInbox, type InboxPlace, someMessage } from './inbox.contract.ts'

const log = createSilentLog()
const mostKept = 3
const closings: (() => unknown)[] = []
after(async () => {
  for (const close of closings.toReversed()) await close()
})
const sealer = createSealer(['a secret of tests, long enough'])

async function openLink(url: string): Promise<RedisLink> {
  const link = createRedisLink({ config: { redis: url, prefix: 'm', timeoutMs: 500 }, events: createEvents(), log })
  assert.equal(await link.ready(), true)
  return link
}

async function inSql(): Promise<InboxPlace> {
  const database = await openDatabase(':memory:', log)
  let time = 0
  return {
    shared: false,
    open: life => createSqlInbox({ database, life, mostKept, now: () => time, log }),
    setTime: ms => void (time = ms),
    kill() {},
    close: () => database.close(),
  }
}

/** The database of a node, empty. */
async function openNode() {
  const database = await openDatabase(':memory:', log)
  closings.push(database.close)
  return database
}

async function inRedis(server: { url: string; stop(): Promise<void> }): Promise<InboxPlace> {
  const links: RedisLink[] = []
  const dead = new Set<string>()
  let time = 0
  return {
    shared: true,
    async open(life) {
      const redis = await openLink(server.url)
      links.push(redis)
      const isDead = async (owner: string) => dead.has(owner)
      const database = await openNode()
      return createRedisInbox({ database, redis, sealer, prefix: 'm', life, mostKept, isDead, now: () => time, log })
    },
    setTime: ms => void (time = ms),
    kill: life => void dead.add(life),
    async close() {
      for (const link of links) await link.close()
      await server.stop()
    },
  }
}

describeInbox('SQLite', inSql)
describeInbox('Redis', async () => inRedis(await startRedis()))
describeInbox('Redis Cluster', async () => inRedis(await startRedisCluster()))

it('without its Redis takes nothing, and tells it afterwards what has arrived; nobody can read what is in it', async () => {
  const server = await startRedis()
  const redis = await openLink(server.url)
  let again: Awaited<ReturnType<typeof startRedis>> | undefined
  closings.push(() => (again ?? server).stop(), redis.close)
  const now = Date.now
  const inbox = createRedisInbox({
    database: await openNode(),
    redis,
    sealer,
    prefix: 'm',
    life: 'a',
    mostKept,
    isDead: async () => false,
    now,
    log,
  })
  closings.push(inbox.close)
  const ends = Date.now() + 60_000
  const [flying, kept] = [someMessage('dad', 'a secret', { ends }), someMessage('dad', 'b', { ends })]
  await inbox.hold(flying, false)
  await inbox.hold(kept, true)
  const raw = await redis.ask('test', client => client.hget('m:inbox:{dad}', flying.id))
  assert.ok(raw !== null && !raw.includes('secret'))
  process.kill(server.pid, 'SIGSTOP')
  const away = (error: unknown) => error instanceof Refusal && error.code === 'store-unavailable'
  await assert.rejects(inbox.hold(someMessage('dad', 'c', { ends }), true), away)
  await inbox.end(flying, 200)
  const back = new Promise<void>(resolve => redis.onChange(healthy => healthy && resolve()))
  process.kill(server.pid, 'SIGCONT')
  await back
  const ids = () => redis.ask('test', client => client.hkeys('m:inbox:{dad}'))
  await until(async () => (await ids()).sort().join() === ['#', kept.id].join(), 20_000)
})

it('is sealed anew while the secret of the cluster is changed', async () => {
  const server = await startRedis()
  const redis = await openLink(server.url)
  closings.push(server.stop, redis.close)
  const database = await openNode()
  const [old, next] = ['the old secret of the cluster', 'the next secret of the cluster']
  const open = (life: string, ...secrets: string[]) => {
    const sealed = { database, redis, sealer: createSealer(secrets), prefix: 'm', log }
    const inbox = createRedisInbox({ ...sealed, life, mostKept, isDead: async () => false, now: Date.now })
    closings.push(inbox.close)
    return { inbox, sealed }
  }
  const message = someMessage('dad', 'kept', { ends: Date.now() + 60_000 })
  await open('a', old).inbox.hold(message, true)
  const raw = () => redis.ask('test', client => client.hget('m:inbox:{dad}', message.id))
  const before = await raw()
  const resealing = createResealing(open('b', next, old).sealed)
  closings.push(resealing.close)
  resealing.start()
  await until(async () => (await raw()) !== before, 20_000)
  assert.deepEqual(await open('c', next).inbox.take('dad', '', 1), [message])
})

it('is brought back to a Redis that has lost it, and nothing is that has arrived', async () => {
  let server = await startRedis()
  const ends = Date.now() + 60_000
  const [arrived, kept, lagging] = ['arrived', 'kept', 'lagging'].map(body => someMessage('dad', body, { ends }))
  const nodes = await Promise.all(
    ['a', 'b'].map(async life => {
      const redis = await openLink(server.url)
      const database = await openNode()
      const about = { database, redis, sealer, prefix: 'm', life, log }
      const inbox = createRedisInbox({ ...about, mostKept, isDead: async () => false, now: Date.now })
      closings.push(redis.close, inbox.close)
      return { redis, inbox, copies: () => database.query.selectFrom('messages').select('id').orderBy('id').execute() }
    }),
  )
  const [a, b] = nodes as [(typeof nodes)[0], (typeof nodes)[0]]
  for (const message of [arrived!, kept!]) await a.inbox.hold(message, true)
  assert.equal((await b.inbox.take('dad', '', 1)).length, 1)
  await b.inbox.end(arrived!, 200)
  const copied = async () => (await a.copies()).map(({ id }) => id).join()
  await until(async () => (await copied()) === kept!.id, 20_000)

  await server.stop()
  server = await startRedis(server.port)
  closings.push(() => server.stop())
  const inRedis = async (id: string) => (await a.redis.ask('test', client => client.hexists('m:inbox:{dad}', id))) === 1
  const quietly = (isSo: () => Promise<boolean>) => until(() => isSo().catch(() => false), 20_000)
  await quietly(() => inRedis(kept!.id))
  assert.equal(await inRedis(arrived!.id), false)

  // A replica that became the master lacks what came last; who hears of it is connected anew.
  await a.inbox.hold(lagging!, true)
  await until(async () => (await copied()) === [kept!.id, lagging!.id].join(), 20_000)
  await a.redis.ask('test', client => client.hdel('m:inbox:{dad}', lagging!.id))
  await a.redis.ask('test', client => client.hdel('m:said:{dad}', lagging!.key))
  await b.redis.ask('test', client => client.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
  await quietly(() => inRedis(lagging!.id))
  assert.deepEqual(await b.inbox.take('dad', '', 9), [kept, lagging])
})
