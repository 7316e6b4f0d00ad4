import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Bus, Json } from '../../src/cluster/bus.ts'
import { createDesk } from '../../src/cluster/desk.ts'
import { createDirectBus } from '../../src/cluster/direct-bus.ts'
import { createNatsBus } from '../../src/cluster/nats-bus.ts'
import { createSilentLog } from '../../src/log.ts'
import { startNats } from '../support/nats.ts'

const log = createSilentLog()

async function until(fact: () => boolean): Promise<void> {
  while (!fact()) await new Promise(resolve => setTimeout(resolve, 5))
}

const peers: { node: string; link: string }[] = []
async function openNode(node: string, url: string) {
  const desk = createDesk(log)
  const listen = { address: '127.0.0.1', port: 0 }
  const direct = await createDirectBus({ node, listen, secrets: ['s'.repeat(24)], peers: () => peers, desk, log })
  peers.push({ node, link: direct.link() })
  const bus: Bus = createNatsBus({ url, name: 'test', node, direct, desk, log })
  const heard: [string, Json, string][] = []
  bus.subscribe('>', (subject, fact, from) => heard.push([subject, fact, from]))
  bus.answer('who', async (_question, from) => `${node} asked by ${from}`)
  return {
    bus,
    direct,
    heard,
    async close() {
      peers.splice(0, peers.length, ...peers.filter(peer => peer.node !== node))
      await bus.close()
      await direct.close()
    },
  }
}

test('facts and questions pass over NATS, and directly while it is away; what is kept is heard once', {
  timeout: 30_000,
}, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'vaartha-nats-'))
  let nats = await startNats(undefined, dir)
  const a = await openNode('a', nats.url)
  let b = await openNode('b', nats.url)
  await until(() => a.bus.healthy() && b.bus.healthy())
  assert.equal(await a.bus.ask('b', 'who', null), 'b asked by a')
  assert.equal(await a.bus.ask('a', 'who', null), 'a asked by a')
  // The streams are there when a kept fact has come.
  await a.bus.keep('call.ended', 'id-1', 1)
  await until(() => b.heard.length === 1)
  a.bus.publish('call.started', { n: 2 })
  await until(() => b.heard.length === 2 && a.heard.length === 2)
  assert.deepEqual(b.heard, [
    ['call.ended', 1, 'a'],
    ['call.started', { n: 2 }, 'a'],
  ])

  // A node that is away finds what was kept when it comes back.
  await b.close()
  await a.bus.keep('call.ended', 'id-3', 3)
  a.bus.publish('call.started', 4)
  await assert.rejects(a.bus.ask('b', 'who', null, 300), { code: 'node-unavailable' })
  b = await openNode('b', nats.url)
  await until(() => b.heard.length > 0)
  assert.deepEqual(b.heard, [['call.ended', 3, 'a']])

  // NATS dies: everything goes directly, and what is kept is not heard again when NATS is back.
  await nats.stop()
  await until(() => !a.bus.healthy() && !b.bus.healthy())
  assert.match(a.bus.why(), /NATS/)
  assert.equal(await a.bus.ask('b', 'who', null), 'b asked by a')
  await a.bus.keep('call.ended', 'id-5', 5)
  a.bus.publish('call.started', 6)
  await until(() => b.heard.length === 3)
  nats = await startNats(nats.port, dir)
  await until(() => a.bus.healthy() && b.bus.healthy())
  await a.bus.keep('call.ended', 'id-7', 7)
  await until(() => b.heard.length === 4)
  assert.deepEqual(
    b.heard.map(([, fact]) => fact),
    [3, 5, 6, 7],
  )
  await a.close()
  await b.close()
  await nats.stop()
  await rm(dir, { recursive: true, force: true })
})

test('a stranger is refused by NATS, and the nodes talk directly', { timeout: 20_000 }, async () => {
  const nats = await startNats()
  const wrong = nats.url.replace('of%20a%20test', 'guessed')
  const a = await openNode('a', wrong)
  const b = await openNode('b', nats.url)
  await until(() => b.bus.healthy() && /Auth/i.test(a.bus.why()))
  assert.equal(a.bus.healthy(), false)
  assert.equal(await a.bus.ask('b', 'who', null), 'b asked by a')
  await a.close()
  await b.close()
  await nats.stop()
})
