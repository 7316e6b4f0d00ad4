import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { createPhone, type Phone } from '../support/phone.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { startVaartha, type TestServer } from '../support/server.ts'
import { createTcpPeer, createUdpPeer, createWebSocketPeer, type Peer } from '../support/sip-peer.ts'

// Through the real program, each scenario the same with either store.

/** The journal gathers changes for some milliseconds, which a killed process may lose; Redis has them at once. */
async function kept(server: TestServer, contact: string): Promise<void> {
  const journal = join(server.data, 'registrations.journal')
  const until = Date.now() + 2000
  while (existsSync(journal) && !readFileSync(journal, 'utf8').includes(contact)) {
    assert.ok(Date.now() < until, 'the journal does not hold the registration')
    await new Promise(done => setTimeout(done, 10))
  }
}

/** What people notice, whatever store is configured. */
function scenarios(start: () => Promise<TestServer>): void {
  let server: TestServer
  const passwords = new Map<string, string>()
  const peers: Peer[] = []
  before(async () => {
    server = await start()
    for (const user of ['ann', 'bob']) passwords.set(user, await server.addUser(user))
  })
  afterEach(() => {
    for (const peer of peers.splice(0)) peer.close()
  })
  after(() => server?.close())

  async function phone(user: string, transport: 'UDP' | 'TCP' | 'WSS' = 'UDP'): Promise<Phone> {
    const peer =
      transport === 'UDP'
        ? await createUdpPeer(server.ports.sip)
        : transport === 'TCP'
          ? await createTcpPeer(server.ports.sip)
          : await createWebSocketPeer(`wss://127.0.0.1:${server.ports.https}/sip`)
    peers.push(peer)
    return createPhone({ peer, user, domain: server.domain, password: passwords.get(user)!, transport })
  }

  async function callAndHangUp(ann: Phone, bob: Phone): Promise<void> {
    const [answered] = await Promise.all([ann.call('bob'), bob.answer()])
    assert.equal(answered.status, 200, `${answered.startLine}\n${server.log().slice(-4000)}`)
    const [done] = await Promise.all([ann.hangUp(), bob.takeBye()])
    assert.equal(done.status, 200)
  }

  it('registers, calls and hangs up', async () => {
    const [ann, bob] = [await phone('ann'), await phone('bob', 'TCP')]
    assert.equal((await ann.register()).status, 200)
    assert.equal((await bob.register()).status, 200)
    await callAndHangUp(ann, bob)
    assert.equal((await bob.register(0)).status, 200)
    assert.equal((await ann.call('bob')).status, 480)
  })

  it('rings a browser over its own connection, though its contact names no host', async () => {
    const [ann, bob] = [await phone('ann', 'WSS'), await phone('bob', 'WSS')]
    assert.equal((await bob.register()).status, 200)
    assert.match(bob.contact, /\.invalid/)
    await callAndHangUp(ann, bob)
    assert.equal((await bob.register(0)).status, 200)
  })

  for (const [how, end] of [
    ['a restart', () => server.stop()],
    ['kill -9', () => server.kill()],
  ] as const) {
    it(`still knows its phones after ${how}`, async () => {
      const [ann, bob] = [await phone('ann'), await phone('bob')]
      assert.equal((await bob.register()).status, 200)
      await kept(server, bob.contact)
      await end()
      await server.restart()
      await callAndHangUp(ann, bob)
    })
  }

  it('ends registrations of a person who is disabled or removed by command', async () => {
    passwords.set('eve', await server.addUser('eve'))
    const eve = await phone('eve')
    const registered = async () =>
      (await server.api<{ bindings: { aor: string }[] }>('/api/registrations')).bindings.some(
        b => b.aor === `sip:eve@${server.domain}`,
      )
    for (const verb of ['disable', 'remove']) {
      assert.equal((await eve.register()).status, 200)
      assert.equal(await registered(), true)
      assert.equal((await server.cli('user', verb, 'eve')).code, 0)
      const until = Date.now() + 5000
      while (await registered()) {
        assert.ok(Date.now() < until, `still registered after user ${verb}`)
        await new Promise(done => setTimeout(done, 50))
      }
      assert.equal((await eve.register()).status, 401)
      if (verb === 'disable') await server.cli('user', 'enable', 'eve')
    }
  })
}

describe('with the embedded store', () => scenarios(() => startVaartha()))

describe('with Redis', () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis?.stop())
  scenarios(() => startVaartha({ settings: { VAARTHA_STORE_REDIS: redis.url } }))
})

it('goes on registering and calling while Redis hangs, says so, and recovers', async () => {
  const redis = await startRedis()
  const server = await startVaartha({
    settings: { VAARTHA_STORE_REDIS: redis.url, VAARTHA_STORE_TIMEOUT_MS: '300' },
  })
  const peers: Peer[] = []
  const phone = async (user: string) => {
    const peer = await createUdpPeer(server.ports.sip)
    peers.push(peer)
    return createPhone({ peer, user, domain: server.domain, password: await server.addUser(user) })
  }
  const ready = async () => {
    const answer = await fetch(`http://127.0.0.1:${server.ports.http}/health/ready`)
    return { status: answer.status, ...((await answer.json()) as { degraded: boolean; reasons: string[] }) }
  }
  try {
    const [ann, bob] = [await phone('ann'), await phone('bob')]
    assert.equal((await bob.register()).status, 200)
    const [answered] = await Promise.all([ann.call('bob'), bob.answer()])
    assert.equal(answered.status, 200)
    process.kill(redis.pid, 'SIGSTOP')
    try {
      assert.equal((await bob.register()).status, 200)
      const began = performance.now()
      assert.equal((await ann.register()).status, 200)
      assert.ok(performance.now() - began < 200, 'the second one waits for nothing')
      const now = await ready()
      assert.deepEqual([now.status, now.degraded], [200, true])
      assert.match(now.reasons.join(), /Redis does not answer within 300 ms/)
      assert.match((await server.cli('status')).stdout, /DEGRADED[\s\S]*2 registrations, 1 calls/)
      const [done] = await Promise.all([ann.hangUp(), bob.takeBye()])
      assert.equal(done.status, 200)
    } finally {
      process.kill(redis.pid, 'SIGCONT')
    }
    const until = Date.now() + 5000
    while ((await ready()).degraded) {
      assert.ok(Date.now() < until, 'not well again')
      await new Promise(done => setTimeout(done, 50))
    }
    assert.equal((await bob.register()).status, 200)
    assert.deepEqual((await ready()).reasons, [])
  } finally {
    for (const peer of peers) peer.close()
    await server.close()
    await redis.stop()
  }
})
