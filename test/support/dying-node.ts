import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import type { Strategy } from '../../src/cluster/replication.ts'
import { type CallsUnderTest, createSide, type Side } from './calls.ts'
import { createSharedCalls } from './shared-calls.ts'
import type { Received } from './sip-peer.ts'

// Two nodes that share their calls, the phones of Alice and Bob at the first one, and its end.

/** Closed at the end of the test. */
export async function startTwoNodes(t: TestContext, strategy: Strategy) {
  const shared = createSharedCalls(strategy)
  const [a, b] = await Promise.all([shared.node('a'), shared.node('b')])
  const [alice, bob] = await Promise.all([createSide(a.engine.udp, 'alice'), createSide(a.engine.udp, 'bob')])
  for (const node of [a, b]) {
    node.bind('alice', alice.peer)
    node.bind('bob', bob.peer)
  }
  t.after(async () => {
    await Promise.all([a.close(), b.close()])
    for (const { peer } of [alice, bob]) peer.close()
  })
  return { shared, a, b, alice, bob }
}

/** The phone's next request goes to that node, as DNS tells it when its own is gone. */
export function turn(side: Side, node: CallsUnderTest): void {
  side.peer.turnTo?.(node.engine.udp)
}

/** SIGKILL as far as one process can show it: nothing of the node is heard any more. */
export async function kill(shared: { dies(life: string): void }, node: CallsUnderTest, life: string): Promise<void> {
  await node.engine.close()
  shared.dies(life)
}

/** A phone that is told where its call lives now, and goes on as before. */
export async function follow(side: Side, node: CallsUnderTest, body: string): Promise<Received> {
  const invite = await side.peer.request('INVITE')
  turn(side, node)
  side.answer(invite, 200, { body })
  await side.peer.request('ACK')
  side.target = /<([^>]*)>/.exec(invite.header('Contact'))?.[1] ?? ''
  return invite
}

export async function hangUpAt(from: Side, to: Side, node: CallsUnderTest): Promise<void> {
  turn(from, node)
  from.say('BYE')
  const bye = await to.peer.request('BYE')
  turn(to, node)
  to.answer(bye, 200)
  await from.peer.wait(m => m.status === 200 && m.header('CSeq').endsWith('BYE'))
}

/** Waits for a fact; fails after three seconds. */
export async function until(isSo: () => boolean): Promise<void> {
  for (let left = 300; !isSo(); left--) {
    assert.ok(left > 0, 'it has not become so in time')
    await wait(10)
  }
}
