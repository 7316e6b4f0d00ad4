import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { answerChallenge } from '../../src/web/digest.ts'
import { until } from '../support/directory.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { startVaartha, type TestServer } from '../support/server.ts'

const settings = (node: string, redis: string) => ({
  VAARTHA_STORE_REDIS: redis,
  VAARTHA_CLUSTER_NAME: node,
  VAARTHA_CLUSTER_SECRET: 'a secret of the test cluster',
  VAARTHA_CLUSTER_PORT: '0',
})

describe('a pair knows the same people', () => {
  let redis: RedisServer
  let a: TestServer
  let b: TestServer
  before(async () => {
    redis = await startRedis()
    ;[a, b] = (await Promise.all(['a', 'b'].map(node => startVaartha({ settings: settings(node, redis.url) })))) as [
      TestServer,
      TestServer,
    ]
  })
  after(async () => {
    await a.close()
    await b.close()
    await redis.stop()
  })

  const usersOf = async (node: TestServer) =>
    (await node.api<{ user: string }[]>('/api/accounts')).map(account => account.user)
  const ask = (node: TestServer, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    fetch(`http://127.0.0.1:${node.ports.http}${path}`, {
      headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    })

  it('has one authority and one key for GRUUs', () => {
    for (const file of ['gruu.key', 'certificates/ca.crt', 'certificates/ca.key']) {
      assert.equal(readFileSync(join(a.data, file), 'utf8'), readFileSync(join(b.data, file), 'utf8'), file)
    }
  })

  it('hears of an account that the command line makes, and lets its invitation in at either node, once', async () => {
    await a.addUser('mum', 'Mum')
    await until(async () => (await usersOf(b)).includes('mum'))
    const { link } = await a.api<{ link: string }>('/api/accounts/mum/invitations', 'POST')
    const token = new URL(link).hash.slice(1)
    let redeemed: Response | undefined
    await until(async () => (redeemed = await ask(b, '/api/invitations/redeem', { token })).status === 200)
    const { user, ha1 } = (await redeemed!.json()) as { user: string; ha1: string }
    assert.equal((await ask(a, '/api/invitations/redeem', { token })).status, 403)

    const request = { method: 'POST', uri: '/api/phone/session', cnonce: 'c' }
    const { challenge } = (await (await ask(b, '/api/phone/session')).json()) as { challenge: string }
    const signedIn = await ask(b, '/api/phone/session', { proof: answerChallenge(challenge, { user, ha1 }, request) })
    assert.equal(signedIn.status, 200)
    const cookie = (signedIn.headers.get('set-cookie') ?? '').split(';')[0]!
    await until(async () => (await ask(a, '/api/people', undefined, { cookie })).status === 200)
    await b.kill()
    assert.equal((await ask(a, '/api/people', undefined, { cookie })).status, 200)
  })

  it('goes on without Redis and without the other node, and brings what was missed', async () => {
    await a.addUser('dad')
    await b.restart()
    await until(async () => (await usersOf(b)).includes('dad'))
    await redis.stop()
    await b.addUser('kid')
    await a.cli('user', 'remove', 'dad')
    await b.stop()
    await b.restart()
    assert.deepEqual(await usersOf(b), ['dad', 'kid', 'mum'])
    redis = await startRedis(redis.port)
    await until(async () => `${await usersOf(a)}|${await usersOf(b)}` === 'kid,mum|kid,mum')
    const metrics = await (await ask(a, '/metrics')).text()
    assert.match(metrics, /vaartha_directory_waiting 0\n/)
  })

  it('does not start a node of a cluster without its secret', async () => {
    const wrong = { ...settings('c', redis.url), VAARTHA_CLUSTER_SECRET: 'short' }
    await assert.rejects(startVaartha({ settings: wrong }), /cluster\.secret needs at least 24 characters/)
  })
})
