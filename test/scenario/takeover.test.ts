import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { complete } from '../../src/config/load.ts'
import { createTestPhone } from '../../src/drill/phone.ts'
import { type Baresip, startBaresip } from '../support/baresip.ts'
import { type Pair, startPair, until } from '../support/pair.ts'
import { createPhone, type Phone, phoneSdp } from '../support/phone.ts'
import type { TestServer } from '../support/server.ts'
import { createUdpPeer, sipResponse, tagIn } from '../support/sip-peer.ts'
import { secondsOf } from '../support/tone.ts'

// Two nodes and one Redis: the node that has a call is killed, and the call goes on at the other.

let pair: Pair
const passwords: Record<string, string> = {}
before(async () => {
  pair = await startPair()
  for (const user of ['alice', 'bob', 'carol']) passwords[user] = await pair.addUser(user)
})
after(() => pair?.close())

interface Line {
  id: string
  started: string
  answered?: string
}

const history = (node: TestServer) => node.api<Line[]>('/api/history')

async function phoneAt(node: TestServer, user: string): Promise<Phone> {
  const { domain, ports } = node
  const peer = await createUdpPeer(ports.sip)
  const phone = createPhone({ peer, user, domain, password: passwords[user]! })
  assert.equal((await phone.register()).status, 200)
  return phone
}

/** Two phones of the first node in a call; its line in the API. */
async function talking(): Promise<{ alice: Phone; bob: Phone; line: Line }> {
  const [alice, bob] = [await phoneAt(pair.a, 'alice'), await phoneAt(pair.a, 'bob')]
  const [answer] = await Promise.all([alice.call('bob'), bob.answer()])
  assert.equal(answer.status, 200)
  // The 200 goes out a moment before the call counts as answered.
  let line: Line | undefined
  await until(async () => {
    line = (await pair.a.api<Line[]>('/api/calls'))[0]
    return line?.answered !== undefined
  })
  return { alice, bob, line: line! }
}

function closeAll(...phones: Phone[]): void {
  for (const { peer } of phones) peer.close()
}

/** The phone answers as it did before, and its next request goes to the node that has asked. */
async function follow(phone: Phone): Promise<string> {
  const invite = await phone.peer.request('INVITE', 10_000)
  phone.peer.turnTo?.(pair.b.ports.sip)
  phone.peer.send(
    sipResponse(invite, 200, { headers: [`Contact: <${phone.contact}>`], body: phoneSdp(phone.peer.port) }),
  )
  await phone.peer.request('ACK')
  return invite.body
}

async function isRecordedOnce(line: Line): Promise<void> {
  await until(async () => (await history(pair.b)).some(({ id }) => id === line.id))
  await pair.restart(pair.a)
  await until(async () => (await history(pair.a)).some(({ id }) => id === line.id), 10_000)
  for (const node of [pair.a, pair.b]) {
    const found = (await history(node)).filter(({ id }) => id === line.id)
    assert.equal(found.length, 1)
    assert.equal(found[0]?.answered, line.answered)
  }
}

test('killed with SIGKILL: both phones are asked by the other node with the media they have, and the callee hangs up', async t => {
  const { alice, bob, line } = await talking()
  t.after(() => closeAll(alice, bob))
  const killed = performance.now()
  await pair.a.kill()
  const [one, other] = await Promise.all([follow(alice), follow(bob)])
  t.diagnostic(`both phones followed ${Math.round(performance.now() - killed)} ms after SIGKILL`)
  assert.equal(one, phoneSdp(bob.peer.port))
  assert.equal(other, phoneSdp(alice.peer.port))
  await pair.calls(pair.b, 1)
  const [bye, ok] = await Promise.all([alice.takeBye(10_000), bob.hangUp()])
  assert.equal(ok.status, 200)
  assert.equal(bye.method, 'BYE')
  await isRecordedOnce(line)
})

test('a callee that rings and answers in one breath: the other node knows the tag that the caller was told', async t => {
  const [alice, bob] = [await phoneAt(pair.a, 'alice'), await phoneAt(pair.a, 'bob')]
  t.after(() => closeAll(alice, bob))
  const [answer] = await Promise.all([alice.call('bob'), bob.answer(true)])
  await pair.a.kill()
  const told = async () => {
    const invite = await alice.peer.request('INVITE', 10_000)
    assert.equal(tagIn(invite.header('From')), tagIn(answer.header('To')))
    alice.peer.turnTo?.(pair.b.ports.sip)
    alice.peer.send(
      sipResponse(invite, 200, { headers: [`Contact: <${alice.contact}>`], body: phoneSdp(alice.peer.port) }),
    )
    await alice.peer.request('ACK')
  }
  await Promise.all([told(), follow(bob)])
  await Promise.all([alice.takeBye(10_000), bob.hangUp()])
  await pair.calls(pair.b, 0)
  await pair.restart(pair.a)
})

test('a caller that hangs up before anybody knows of the death is heard all the same', async t => {
  const { alice, bob, line } = await talking()
  t.after(() => closeAll(alice, bob))
  await pair.a.kill()
  alice.peer.turnTo?.(pair.b.ports.sip)
  const hungUp = alice.hangUp()
  const bye = await bob.peer.request('BYE', 10_000)
  bob.peer.turnTo?.(pair.b.ports.sip)
  bob.peer.send(sipResponse(bye, 200))
  assert.equal((await hungUp).status, 200)
  await isRecordedOnce(line)
})

test('so is one over TCP that knows both nodes: the callee hears it over its other connection', async t => {
  const phones = ['alice', 'bob'].map(user =>
    createTestPhone({ user, password: passwords[user]!, domain: pair.a.domain, limits: complete({}).sip.limits }),
  )
  t.after(() => Promise.all(phones.map(phone => phone.leave())))
  for (const phone of phones) {
    for (const [at, { ports }] of [pair.a, pair.b].entries()) {
      await phone.register(`sip:127.0.0.1:${ports.sip};transport=tcp`, at + 1, 5000)
    }
  }
  const [alice, bob] = phones
  const call = await alice!.call('bob', 1, 5000)
  let line: Line | undefined
  await until(async () => {
    line = (await pair.a.api<Line[]>('/api/calls'))[0]
    return line?.answered !== undefined
  })
  await pair.a.kill()
  await alice!.flow(1)!.closed
  assert.equal(await call.hangUp(10_000), 200)
  await bob!.answered(call.stream.mark)!.gone
  await isRecordedOnce(line!)
})

test('told to stop, a node gives its calls to the other one and goes without losing any', async t => {
  const { alice, bob, line } = await talking()
  t.after(() => closeAll(alice, bob))
  const stopped = pair.a.stop()
  const [one, other] = await Promise.all([follow(alice), follow(bob)])
  assert.equal(one, phoneSdp(bob.peer.port))
  assert.equal(other, phoneSdp(alice.peer.port))
  assert.equal(await stopped, 0)
  await pair.calls(pair.b, 1)
  const [, ok] = await Promise.all([bob.takeBye(10_000), alice.hangUp()])
  assert.equal(ok.status, 200)
  await isRecordedOnce(line)
})

test('two baresips talk on without a gap when their node dies, and hang up properly', async t => {
  const start = (user: string, tone: number) =>
    startBaresip({
      user,
      password: passwords[user]!,
      domain: pair.a.domain,
      server: `127.0.0.1:${pair.a.ports.sip}`,
      tone,
    })
  const [bob, carol]: [Baresip, Baresip] = [await start('bob', 440), await start('carol', 660)]
  t.after(() => {
    for (const phone of [bob, carol]) phone.kill()
  })
  await bob.command('dial', `sip:carol@${pair.a.domain}`)
  await carol.event('CALL_INCOMING')
  await carol.command('accept')
  await Promise.all([bob.event('CALL_ESTABLISHED'), carol.event('CALL_ESTABLISHED')])
  const [line] = await pair.a.api<Line[]>('/api/calls')
  await until(() => Math.max(...carol.heard().map(sound => secondsOf(sound, 440)), 0) > 1)
  const since = performance.now()
  const heard = () => Math.max(...carol.heard().map(sound => secondsOf(sound, 440)))
  const had = heard()
  await pair.a.kill()
  await pair.calls(pair.b, 1)
  await until(() => performance.now() - since > 4000, 5000)
  const gap = (performance.now() - since) / 1000 - (heard() - had)
  t.diagnostic(`heard without a gap but for ${gap.toFixed(2)} s`)
  assert.ok(gap < 0.5, `a gap of ${gap} s`)
  await bob.command('hangup')
  await carol.event('CALL_CLOSED', 15_000)
  await isRecordedOnce(line!)
})
