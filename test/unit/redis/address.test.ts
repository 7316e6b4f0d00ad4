import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { describeRedis, parseRedisAddress } from '../../../src/redis/address.ts'

describe('address of Redis', () => {
  it('is one server, with its user, its database and the usual port', () => {
    assert.deepEqual(parseRedisAddress('redis://ann:p%40ss@redis.example/3'), {
      kind: 'single',
      place: { host: 'redis.example', port: 6379 },
      login: { username: 'ann', password: 'p@ss', db: 3 },
    })
    assert.deepEqual(parseRedisAddress('redis://[2001:db8::1]:7000'), {
      kind: 'single',
      place: { host: '2001:db8::1', port: 7000 },
      login: { db: 0 },
    })
  })

  it('is a Cluster when there are several, with the login of the first', () => {
    const address = parseRedisAddress('redis://a:b@192.0.2.1:7001, redis://192.0.2.2:7002')
    assert.deepEqual(address, {
      kind: 'cluster',
      places: [
        { host: '192.0.2.1', port: 7001 },
        { host: '192.0.2.2', port: 7002 },
      ],
      login: { username: 'a', password: 'b' },
    })
    assert.equal(describeRedis(address), '192.0.2.1:7001, 192.0.2.2:7002')
  })

  it('is a master by name, with a login for it and one for its Sentinels', () => {
    const text = 'redis-sentinel://u:p@192.0.2.1,[2001:db8::2]:26380/main/2?sentinelUser=s&sentinelPassword=q'
    const address = parseRedisAddress(text)
    assert.deepEqual(address, {
      kind: 'sentinel',
      places: [
        { host: '192.0.2.1', port: 26379 },
        { host: '2001:db8::2', port: 26380 },
      ],
      master: 'main',
      login: { username: 'u', password: 'p', db: 2 },
      sentinel: { username: 's', password: 'q' },
    })
    assert.equal(describeRedis(address), 'main of the Sentinels 192.0.2.1:26379, [2001:db8::2]:26380')
  })

  it('trusts the authority of a file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vaartha-'))
    try {
      writeFileSync(join(folder, 'ca.pem'), 'an authority')
      const address = parseRedisAddress(`rediss://redis.example?ca=${join(folder, 'ca.pem')}`)
      assert.deepEqual(address.login.tls, { servername: 'redis.example', ca: Buffer.from('an authority') })
      assert.throws(() => parseRedisAddress(`rediss://redis.example?ca=${folder}/none`), { code: 'bad-config' })
      assert.deepEqual(parseRedisAddress('rediss://192.0.2.1').login.tls, {})
      const sentinel = parseRedisAddress('rediss-sentinel://192.0.2.1/main')
      assert.ok(sentinel.kind === 'sentinel' && sentinel.login.tls && sentinel.sentinel.tls)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('is refused when it is none, without a word of its password', () => {
    for (const text of [
      'localhost',
      'http://a',
      'redis://',
      'redis://u:secret@:0',
      'redis-sentinel://u:secret@h',
      'redis://h/x',
    ]) {
      assert.throws(
        () => parseRedisAddress(text),
        (error: { code: string; message: string }) => error.code === 'bad-config' && !error.message.includes('secret'),
        text,
      )
    }
  })
})
