import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Redis } from 'ioredis'
import { issueServer, makeAuthority } from '../../src/certificates/authority.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRedisLink } from '../../src/redis/link.ts'
import { freePort, type RedisServer, startRedis, startRedisCluster, startSentinel } from '../support/redis.ts'
import { redisLinkContract } from './redis-link.contract.ts'
import { sharedLocationContract } from './shared-location.contract.ts'

// The user of docs/redis.md; here the prefixes of all tests are allowed to it.
const rights = [
  ...['-@all', '+@read', '+@write', '+@scripting', '+@pubsub', '+@connection', '+time', '-@dangerous', '-@admin'],
  ...['+cluster|slots', '+cluster|info'],
]
const user = ['vaartha', 'on', '>secret', 'resetchannels', '&l*', '&u*', '~l*', '~u*', ...rights]
let prefixes = 0

async function allow(url: string, words = user): Promise<void> {
  const operator = new Redis(url)
  await operator.call('ACL', 'SETUSER', ...words)
  await operator.call('ACL', 'SETUSER', 'default', 'off')
  operator.disconnect()
}

const withUser = (url: string) => url.replaceAll('redis://', 'redis://vaartha:secret@')

describe('a user with the least rights', () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
    await allow(redis.url)
  })
  after(() => redis.stop())

  redisLinkContract(() => withUser(redis.url))
  sharedLocationContract(() => ({ redis: withUser(redis.url), prefix: `u${++prefixes}` }))

  it('is told apart from none, and from one with another password', async () => {
    for (const [url, words] of [
      [redis.url, /wants a password/],
      [redis.url.replace('//', '//vaartha:wrong@'), /refuses our user or password/],
    ] as const) {
      const config = { redis: url, prefix: 'u', timeoutMs: 200 }
      const link = createRedisLink({ config, events: createEvents(), log: createSilentLog() })
      assert.equal(await link.ready(), false)
      assert.match(link.why(), words)
      await link.close()
    }
  })

  it('may not touch keys of others, nor harm the server', async () => {
    const client = new Redis(withUser(redis.url), { enableReadyCheck: false })
    for (const words of [
      ['GET', 'other'],
      ['FLUSHALL'],
      ['CONFIG', 'GET', '*'],
      ['KEYS', '*'],
      ['PUBLISH', 'other', ''],
    ]) {
      await assert.rejects(client.call(words[0]!, ...words.slice(1)), /NOPERM/, words.join(' '))
    }
    client.disconnect()
  })
})

describe('a user with the least rights in a Cluster', () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>
  before(async () => {
    cluster = await startRedisCluster()
    for (const url of cluster.url.split(',')) await allow(url)
  })
  after(() => cluster.stop())

  redisLinkContract(() => withUser(cluster.url))
})

describe('Redis over TLS', () => {
  let folder: string
  let redis: RedisServer
  let url: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'vaartha-tls-'))
    await chmod(folder, 0o755)
    const authority = await makeAuthority('test', Date.now())
    const { cert, key } = await issueServer(authority, ['localhost', '127.0.0.1'], Date.now())
    const files = { 'ca.pem': authority.cert, 'cert.pem': cert, 'key.pem': key }
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
    const port = await freePort()
    const tls = ['--tls-port', String(port), '--tls-auth-clients', 'no']
    for (const [word, name] of [
      ['--tls-cert-file', 'cert.pem'],
      ['--tls-key-file', 'key.pem'],
      ['--tls-ca-cert-file', 'ca.pem'],
    ]) {
      tls.push(word!, join(folder, name!))
    }
    redis = await startRedis(undefined, tls)
    url = `rediss://localhost:${port}/0?ca=${join(folder, 'ca.pem')}`
  })
  after(async () => {
    await redis.stop()
    await rm(folder, { recursive: true })
  })

  redisLinkContract(() => url)

  it('is not trusted without its authority', async () => {
    const config = { redis: url.replace(/\?.*/, ''), prefix: 'l', timeoutMs: 300 }
    const link = createRedisLink({ config, events: createEvents(), log: createSilentLog() })
    assert.equal(await link.ready(), false)
    assert.match(link.why(), /cannot be reached: .*CERT|cannot be reached: .*SIGNATURE/)
    await link.close()
  })
})

describe('Sentinels with a user of their own', () => {
  let redis: Awaited<ReturnType<typeof startSentinel>>
  before(async () => {
    redis = await startSentinel()
    const rights = ['-@all', '+auth', '+hello', '+ping', '+sentinel|get-master-addr-by-name', '+sentinel|sentinels']
    for (const port of redis.sentinels)
      await allow(`redis://127.0.0.1:${port}`, ['asker', 'on', '>question', ...rights])
  })
  after(() => redis.stop())

  redisLinkContract(() => `${redis.url}?sentinelUser=asker&sentinelPassword=question`)
})
