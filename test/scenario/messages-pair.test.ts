import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Pair, startPair, until } from '../support/pair.ts'
import { createPhone, type Phone } from '../support/phone.ts'
import { startRedis } from '../support/redis.ts'
import type { TestServer } from '../support/server.ts'
import { createTcpPeer, createUdpPeer, type Peer, sipResponse, unique } from '../support/sip-peer.ts'
import { createTexter, type Texter } from '../support/texter.ts'

// A machine with much else to do declares nobody dead for a while.
const patience = 60_000

describe('messages over two nodes', () => {
  let pair: Pair
  const passwords = new Map<string, string>()
  const peers: Peer[] = []
  before(async () => {
    pair = await startPair()
    for (const user of ['mum', 'dad', 'kid', 'gran', 'aunt']) passwords.set(user, await pair.addUser(user))
  })
  after(async () => {
    for (const peer of peers) peer.close()
    await pair.close()
  })

  interface Person {
    phone: Phone
    texter: Texter
    peer: Peer
  }
  async function open(user: string, node: TestServer, transport: 'UDP' | 'TCP' = 'UDP'): Promise<Person> {
    const peer = await (transport === 'UDP' ? createUdpPeer : createTcpPeer)(node.ports.sip)
    peers.push(peer)
    const options = { peer, user, domain: node.domain, password: passwords.get(user)!, transport }
    return { phone: createPhone(options), texter: createTexter(options), peer }
  }
  const kept = async (node: TestServer) => (await node.api<{ kept: number }>('/api/messages/kept')).kept
  const registered = async (node: TestServer, user: string) => {
    const list = () => node.api<{ bindings: { aor: string }[] }>('/api/registrations')
    await until(async () => (await list()).bindings.some(({ aor }) => aor === `sip:${user}@${node.domain}`), patience)
  }

  it('go over the connection that the other node holds', async () => {
    const [mum, dad] = [await open('mum', pair.a), await open('dad', pair.b, 'TCP')]
    assert.equal((await dad.phone.register(600, patience)).status, 200)
    await registered(pair.a, 'dad')
    const sent = mum.texter.text('dad', 'across')
    const message = await dad.texter.take()
    assert.equal((await sent).status, 200)
    assert.equal(message.body, 'across')
    assert.equal(message.header('Route'), '')
    await dad.phone.register(0, patience)
  })

  it('are kept at one node and brought by the other, where the phone registers, in order and once', async () => {
    const [mum, kid] = [await open('mum', pair.a), await open('kid', pair.b, 'TCP')]
    for (const text of ['one', 'two']) assert.equal((await mum.texter.text('kid', text)).status, 202)
    await until(async () => (await kept(pair.b)) === 2, patience)
    await kid.phone.register(600, patience)
    assert.equal((await kid.texter.take()).body, 'one')
    assert.equal((await kid.texter.take()).body, 'two')
    await until(async () => (await kept(pair.a)) + (await kept(pair.b)) === 0, patience)
    assert.equal(kid.peer.untaken().length, 0)
    await kid.phone.register(0, patience)
  })

  it('go on between registered phones while Redis is away, and nobody is told that one is kept that is not', async () => {
    const [mum, dad] = [await open('mum', pair.a), await open('dad', pair.a)]
    await dad.phone.register(600, patience)
    assert.equal((await mum.texter.text('aunt', 'from before')).status, 202)
    await pair.redis.stop()
    const sent = mum.texter.text('dad', 'without Redis')
    await dad.texter.take()
    assert.equal((await sent).status, 200)
    const refused = await mum.texter.text('aunt', 'for later')
    assert.equal(refused.status, 503)
    assert.match(refused.header('Warning'), /cannot be kept now/)
    assert.notEqual(refused.header('Retry-After'), '')
    const redis = await startRedis(pair.redis.port)
    Object.assign(pair.redis, redis)
    await until(async () => (await mum.texter.text('aunt', 'for later')).status === 202, patience)
    // This Redis was empty, and has again what it was given before.
    await until(async () => (await kept(pair.b)) === 2, patience)
    const aunt = await open('aunt', pair.b)
    await aunt.phone.register(600, patience)
    assert.equal((await aunt.texter.take()).body, 'from before')
    assert.equal((await aunt.texter.take()).body, 'for later')
    assert.equal(dad.peer.untaken().length, 0)
    await Promise.all([dad.phone.register(0, patience), aunt.phone.register(0, patience)])
  })

  it('are taken over from a node that stops before a phone has answered', async () => {
    const [mum, kid] = [await open('mum', pair.b), await open('kid', pair.b)]
    await kid.phone.register(600, patience)
    await registered(pair.a, 'kid')
    const sent = mum.texter.text('kid', 'in flight')
    const before = await kid.peer.request('MESSAGE', patience)
    await pair.b.stop()
    assert.equal((await sent).status, 202)
    kid.peer.turnTo!(pair.a.ports.sip)
    const again = await kid.texter.take()
    assert.equal(again.header('Call-ID'), before.header('Call-ID'))
    await until(async () => (await kept(pair.a)) === 0, patience)
    await kid.phone.register(0, patience)
    await pair.restart(pair.b)
  })

  it('survive SIGKILL of the node that is delivering, and reach the phone once', async () => {
    const [mum, gran] = [await open('mum', pair.a), await open('gran', pair.a)]
    const dad = await open('dad', pair.a, 'TCP')
    await Promise.all([gran.phone.register(600, patience), dad.phone.register(600, patience)])
    await registered(pair.b, 'gran')
    const callId = unique()
    const lost = assert.rejects(mum.texter.text('gran', 'in flight', { callId, ms: 1000 }))
    const mumToo = await open('mum', pair.a)
    const lostToo = assert.rejects(mumToo.texter.text('dad', 'in flight too', { ms: 1000 }))
    const before = await gran.peer.request('MESSAGE', patience)
    await dad.peer.request('MESSAGE', patience)
    await pair.a.kill()
    await Promise.all([lost, lostToo])
    for (const { peer } of [mum, gran]) peer.turnTo!(pair.b.ports.sip)
    const answer = await mum.texter.text('gran', 'in flight', { callId })
    assert.equal(answer.status, 202)
    const after = await gran.peer.request('MESSAGE', patience)
    for (const name of ['Call-ID', 'CSeq', 'From'])
      assert.equal(after.header(name), before.header(name), `a phone knows it by its ${name}`)
    gran.peer.send(sipResponse(after, 200))
    // The connection of this one has died with the node.
    const back = await open('dad', pair.b, 'TCP')
    await back.phone.register(600, patience)
    assert.equal((await back.texter.take()).body, 'in flight too')
    await until(async () => (await kept(pair.b)) === 0, patience)
    assert.equal(gran.peer.untaken().length + back.peer.untaken().length, 0)
  })
})
