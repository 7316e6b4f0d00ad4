import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Redis } from 'ioredis'
import { startPair, until } from '../support/pair.ts'
import { createPhone } from '../support/phone.ts'
import type { TestServer } from '../support/server.ts'
import { createUdpPeer } from '../support/sip-peer.ts'

// The three steps of docs/cluster.md, while the other node serves.

const [old, young] = ['an old secret of both nodes', 'a new secret that comes in its place']

test('a pair changes its secret node by node, and nothing that was sealed with the old one is left', async t => {
  const pair = await startPair({ settings: { VAARTHA_CLUSTER_SECRET: old } })
  t.after(() => pair.close())
  const { a, b } = pair
  const password = await pair.addUser('alice')
  const peer = await createUdpPeer(a.ports.sip)
  t.after(() => peer.close())
  const phone = createPhone({ peer, user: 'alice', domain: a.domain, password })

  async function becomes(node: TestServer, secret: string, others: string): Promise<void> {
    assert.equal(await node.stop(), 0)
    const other = node === a ? b : a
    peer.turnTo?.(other.ports.sip)
    assert.equal((await phone.register()).status, 200)
    await pair.restart(node, { VAARTHA_CLUSTER_SECRET: secret, VAARTHA_CLUSTER_OTHER_SECRETS: others })
    await pair.addUser(`while${made++}`)
  }
  let made = 0
  const sealedBefore = await firstWord(pair.redis.url)
  for (const [secret, others] of [
    [old, young],
    [young, old],
    [young, ''],
  ] as const) {
    for (const node of [a, b]) await becomes(node, secret, others)
    if (others === old) await until(() => b.log().includes('is sealed with cluster.secret of this node'), 10_000)
  }
  assert.notEqual(await firstWord(pair.redis.url), sealedBefore)
  for (const node of [a, b]) {
    const metrics = await (await fetch(`http://127.0.0.1:${node.ports.http}/metrics`)).text()
    assert.match(metrics, /vaartha_directory_failed(?:\{\})? 0/)
    assert.doesNotMatch(node.log(), /does not know the secret|cannot be read/)
  }
  // Who knows the old one alone is let in no more.
  assert.equal(await b.stop(), 0)
  await assert.rejects(b.restart({ VAARTHA_CLUSTER_SECRET: old }), /cluster\.secret is not the one/)
})

/** With which key the authority is sealed. */
async function firstWord(url: string): Promise<string> {
  const redis = new Redis(url)
  try {
    return (await redis.get('vaartha:secret:authority'))?.split('.')[0] ?? ''
  } finally {
    redis.disconnect()
  }
}
