import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { decodeSnapshot } from '../../src/calls/snapshot.ts'
import { createEngineDialogs } from '../../src/sip/engine-dialogs.ts'
import { type CallsUnderTest, createSide, createTcpSide, type Side, sdp } from '../support/calls.ts'
import { createSharedCalls } from '../support/shared-calls.ts'
import { sipResponse } from '../support/sip-peer.ts'

// What the calls say of a dialog without asking its engine, beside what the engine says.

interface Variant {
  name: string
  tcp?: boolean
  /** Before the answer comes a 180, which makes early dialogs. */
  rings?: boolean
  /** More headers of the INVITE, and of its 200. */
  invite?: string[]
  ok?: string[]
  contact?: (port: number) => string
}

const variants: Variant[] = [
  { name: 'two plain phones' },
  { name: 'one that rings first', rings: true },
  { name: 'a callee over TCP', tcp: true },
  {
    name: 'phones behind proxies',
    invite: ['Record-Route: <sip:127.0.0.1:6001;lr>, <sip:127.0.0.1:6002;lr>', 'Record-Route: <sip:127.0.0.1:6003;lr>'],
    ok: ['Record-Route: <sip:127.0.0.1:7001;lr>;a="x,y"', 'Record-Route: <sip:127.0.0.1:7002;lr>'],
  },
  {
    name: 'phones that refresh the session',
    invite: ['Supported: replaces, timer', 'Session-Expires: 900;refresher=uac', 'Allow: INVITE, ACK, BYE, UPDATE'],
    ok: ['Require: timer', 'Supported: timer', 'Session-Expires: 600;refresher=uas', 'Allow: INVITE,update'],
  },
  { name: 'phones that leave the refreshing to us', invite: ['Supported: timer'], ok: ['Session-Expires: 700'] },
  { name: 'a Contact without brackets', contact: port => `sip:bob@127.0.0.1:${port};x=1` },
  { name: 'a Contact with a comma in its name', contact: port => `"Ö, Bob" <sip:bob@127.0.0.1:${port};x=1>;q=0.5` },
]

const shared = createSharedCalls('hot-standby')
let node: CallsUnderTest
before(async () => {
  node = await shared.node('a')
})
after(() => node.close())

for (const variant of variants) {
  test(`the states of both dialogs at the answer are those of the engine: ${variant.name}`, async t => {
    node.unbindAll()
    const alice = await createSide(node.engine.udp, 'alice')
    const bob = variant.tcp ? await createTcpSide(node.engine.tcp, 'bob') : await createSide(node.engine.udp, 'bob')
    t.after(() => {
      for (const { peer } of [alice, bob]) peer.close()
    })
    if (!variant.tcp) node.bind('bob', bob.peer)
    await answerCall(alice, bob, variant)
    const newest = [...shared.items.values()].at(-1)
    const kept = decodeSnapshot(newest?.snapshot ?? '')?.legs.map(leg => leg.dialog) ?? []
    assert.equal(kept.length, 2)
    assert.equal(kept[0]?.callId, alice.callId)
    const { read } = createEngineDialogs(node.engine.srf, '+dialogs')!
    for (const [at, state] of kept.entries()) {
      // The engine knows its own Contact only when it has sent it.
      const { contact, ...known } = (await read(state.id)) ?? assert.fail('the engine has no such dialog')
      const { contact: ours, ...said } = state
      assert.deepEqual(said, known)
      assert.equal(ours, at === 0 ? '' : contact)
    }
  })
}

async function answerCall(alice: Side, bob: Side, { rings, invite: more = [], ok = [], contact }: Variant) {
  alice.say('INVITE', { body: sdp(4000), headers: more })
  const invite = await bob.invited()
  if (rings) {
    bob.answer(invite, 180)
    await alice.peer.status(180)
  }
  const named = contact?.(bob.peer.port) ?? `<sip:bob@127.0.0.1:${bob.peer.port}>`
  bob.peer.send(sipResponse(invite, 200, { tag: bob.ours, headers: [`Contact: ${named}`, ...ok], body: sdp(5000) }))
  await alice.peer.status(200)
}
