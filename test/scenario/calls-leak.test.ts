import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { type CallsUnderTest, createSide, createTcpSide, Side, sdp, startCalls } from '../support/calls.ts'
import { createTcpPeer, createUdpPeer, type Peer, sipResponse } from '../support/sip-peer.ts'

// No call is left behind: hundreds of calls that end in every way, and then nothing is held any more.

const ends = ['answer', 'answer-bye', 'busy', 'silence', 'ring', 'mute', 'crash'] as const
const callers = ['bye', 'cancel', 'no-ack', 'vanish', 'drop', 'bye-early'] as const

/** A number from 0 to below 1 that is the same in every run. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** A phone that does for each call what its Subject says. */
async function robot(peer: Peer, stopped: () => boolean): Promise<void> {
  const answer = (request: Parameters<typeof sipResponse>[0], status: number, body = '') =>
    peer.send(sipResponse(request, status, { tag: `t${request.header('Call-ID')}`, contact: peer.port, body }))
  const invites = new Map<string, Parameters<typeof sipResponse>[0]>()
  const mute = new Set<string>()
  for (;;) {
    const message = await peer.wait(() => true, 500).catch(() => undefined)
    if (stopped()) return
    if (message === undefined) continue
    const { method } = message
    const call = message.header('Call-ID')
    if (mute.has(call)) continue
    if (method === 'CANCEL') {
      answer(message, 200)
      const invite = invites.get(call)
      if (invite) answer(invite, 487)
      invites.delete(call)
    }
    if (method === 'BYE') answer(message, 200)
    const way = message.header('Subject')
    if (method !== 'INVITE' || way === 'silence') continue
    if (/;tag=/.test(message.header('To'))) {
      answer(message, 200, sdp(5000))
      continue
    }
    if (way === 'ring') invites.set(call, message)
    answer(message, way === 'busy' ? 486 : 180)
    if (way === 'mute' || way === 'crash') mute.add(call)
    if (way === 'answer' || way === 'answer-bye' || way === 'mute') answer(message, 200, sdp(5000))
    if (way !== 'answer-bye') continue
    const bye = new Side(peer, 'bob')
    bye.learn({ ...message, header: name => message.header(name === 'To' ? 'From' : name) })
    Object.assign(bye, { callId: call, ours: `t${call}`, from: message.header('To') })
    bye.to = message.header('From').replace(/;tag=.*/, '')
    bye.say('BYE')
  }
}

async function callOnce(under: CallsUnderTest, random: () => number): Promise<void> {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const [way, end] = [pick(ends), pick(callers)]
  const tcp = end === 'drop'
  const peer = tcp ? await createTcpPeer(under.engine.tcp) : await createUdpPeer(under.engine.udp)
  const alice = new Side(peer, 'alice', tcp ? 'TCP' : 'UDP')
  alice.target = `sip:${pick(['bob', 'carol'])}@example.org`
  const branch = alice.say('INVITE', { body: sdp(4000), headers: [`Subject: ${way}`, 'Supported: timer'] })
  const first = await peer.wait(m => m.status > 100, 10_000)
  alice.learn(first)
  if (end === 'cancel' && first.status < 200) alice.say('CANCEL', { sequence: 1, branch })
  if (end === 'bye-early' && first.status < 200) alice.say('BYE')
  if (end === 'drop' && random() < 0.5) return peer.close()
  const last =
    first.status >= 200 ? first : await peer.wait(m => m.status >= 200 && m.header('CSeq').endsWith('INVITE'), 10_000)
  if (end !== 'no-ack' || last.status >= 300)
    alice.say('ACK', { sequence: 1, ...(last.status < 300 ? {} : { branch }) })
  if (last.status < 300 && end === 'bye') {
    alice.say('BYE')
    await peer.wait(m => m.header('CSeq').endsWith('BYE'), 10_000)
  }
  peer.close()
}

/** Everything that engine, srf and calls hold, as numbers. */
function held(under: CallsUnderTest): Record<string, unknown> {
  const srf = under.engine.srf as unknown as {
    _dialogs: Map<string, unknown>
    _app: { client: { mapServer: Map<unknown, Record<string, unknown>> } }
  }
  const maps: Record<string, unknown> = { dialogs: srf._dialogs.size, calls: under.calls.list().length }
  for (const socket of srf._app.client.mapServer.values()) {
    for (const [name, map] of Object.entries(socket)) if (map instanceof Map) maps[name] = map.size
  }
  return { ...maps, ...under.engine.engine.stats() }
}

async function empties(under: CallsUnderTest, before: Record<string, unknown>): Promise<void> {
  const deadline = Date.now() + 20_000
  while (JSON.stringify(held(under)) !== JSON.stringify(before) && Date.now() < deadline) await wait(20)
  assert.deepEqual(held(under), before)
}

test('after 500 calls nothing is held any more', { timeout: 120_000 }, async t => {
  const under = await startCalls({ sessionExpires: 4, minSe: 2, ringSeconds: 1 }, { t1: 5 })
  const bob = await createSide(under.engine.udp, 'bob')
  const carol = await createTcpSide(under.engine.tcp, 'carol')
  under.bind('bob', bob.peer)
  for (const { peer } of [bob, carol]) void robot(peer, () => stopped)
  let stopped = false
  const random = createRandom(7)
  const run = async (total: number) => {
    let left = total
    const worker = async () => {
      while (left-- > 0) await callOnce(under, random)
    }
    await Promise.all(Array.from({ length: 20 }, worker))
  }
  const clean = held(under)
  const heap = async () => {
    await empties(under, clean)
    under.records.length = under.facts.length = 0
    global.gc?.()
    return process.memoryUsage().heapUsed
  }
  t.diagnostic(`holds: ${Object.keys(clean).join(', ')}`)
  await run(100)
  const before = await heap()
  await run(500)
  // Who drops its connection does not wait for the end of its call.
  while (under.records.length < 500) await wait(20)
  assert.equal(under.records.length, 500)
  t.diagnostic(`results: ${[...new Set(under.records.map(record => record.result))].join(', ')}`)
  const grown = (await heap()) - before
  t.diagnostic(`heap grew by ${Math.round(grown / 1024)} kB`)
  if (global.gc) assert.ok(grown < 2_000_000, `heap grew by ${grown} bytes`)
  stopped = true
  bob.peer.close()
  carol.peer.close()
  await under.close()
})
