import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { decodeSnapshot } from '../../src/calls/snapshot.ts'
import { type CallsUnderTest, createSide, type Side, sdp } from '../support/calls.ts'
import { startMedia, type TestMedia } from '../support/media-room.ts'
import { until } from '../support/pair.ts'
import { createSharedCalls } from '../support/shared-calls.ts'

// A call whose media passed the node that died: its media comes to the other node, with real media rooms on both.

let rooms: TestMedia[]

before(async () => {
  const base = 46_100 + (process.pid % 10) * 1400
  rooms = await Promise.all([startMedia({ base }), startMedia({ base: base + 700 })])
})
after(() => Promise.all(rooms.map(room => room.close())))

/** What a browser says of one audio line. */
const web = (setup: 'actpass' | 'active', version: number, direction = 'sendrecv') =>
  [
    'v=0', `o=- 4611 ${version} IN IP4 127.0.0.1`, 's=-', 't=0 0', 'a=group:BUNDLE 0', 'm=audio 9 UDP/TLS/RTP/SAVPF 111 0 126',
    'c=IN IP4 0.0.0.0', `a=ice-ufrag:abcd${version}`, 'a=ice-pwd:abcdefghijklmnopqrstuvwx',
    `a=fingerprint:sha-256 ${Array(32).fill('5A').join(':')}`, `a=setup:${setup}`, 'a=mid:0', `a=${direction}`, 'a=rtcp-mux',
    'a=rtpmap:111 opus/48000/2', 'a=rtpmap:0 PCMU/8000', 'a=rtpmap:126 telephone-event/8000', 'a=ssrc:4711 cname:x', '',
  ].join('\r\n') // biome-ignore format: one description

async function follow(side: Side, node: CallsUnderTest, body: string): Promise<string> {
  const invite = await side.peer.request('INVITE')
  side.peer.turnTo?.(node.engine.udp)
  side.answer(invite, 200, { body })
  await side.peer.request('ACK')
  side.target = /<([^>]*)>/.exec(invite.header('Contact'))?.[1] ?? ''
  return invite.body
}

const portIn = (text: string) => Number(/^m=audio (\d+)/m.exec(text)?.[1])
const fingerprint = (text: string) => /^a=fingerprint:(.*)$/m.exec(text)?.[1]

for (const held of [false, true]) {
  test(`a browser and a phone${held ? ', on hold,' : ''} are offered ways to the other node, with the media as it was`, async t => {
    const shared = createSharedCalls('hot-standby')
    const [a, b] = await Promise.all([shared.node('a', rooms[0]?.media), shared.node('b', rooms[1]?.media)])
    const [alice, bob] = [await createSide(a.engine.udp, 'alice'), await createSide(a.engine.udp, 'bob')]
    t.after(async () => {
      await Promise.all([a.close(), b.close()])
      for (const { peer } of [alice, bob]) peer.close()
    })
    for (const node of [a, b]) {
      node.bind('alice', alice.peer, { protocol: 'ws' })
      node.bind('bob', bob.peer)
    }
    alice.say('INVITE', { body: web('actpass', 1) })
    const offered = (await bob.invited()).body
    bob.answer(bob.invite!, 200, { body: sdp(5000) })
    await bob.peer.request('ACK')
    const answered = alice.learn(await alice.peer.status(200)).body
    alice.say('ACK', { sequence: alice.sequence })
    if (held) {
      bob.say('INVITE', { body: sdp(5000, 'a=sendonly\r\n') })
      alice.answer(await alice.peer.request('INVITE'), 200, { body: web('active', 2, 'recvonly') })
      await alice.peer.request('ACK')
      bob.sequence = Number.parseInt((await bob.peer.status(200)).header('CSeq'), 10)
      bob.say('ACK', { sequence: bob.sequence })
      await until(() => [...shared.items.values()].some(({ snapshot }) => decodeSnapshot(snapshot)?.held))
    }
    await a.engine.close()
    shared.dies('a')
    // A page that has come to this node asks for a new way by itself, and quicker than it is asked.
    alice.peer.turnTo?.(b.engine.udp)
    alice.say('INVITE', { body: web('actpass', 2, held ? 'recvonly' : 'sendrecv') })
    await alice.peer.status(491)
    alice.say('ACK', { sequence: alice.sequence })
    const browser = async () => {
      const first = await follow(alice, b, web('active', 2, held ? 'recvonly' : 'sendrecv'))
      const second = await follow(alice, b, web('active', 2, held ? 'recvonly' : 'sendrecv'))
      return [first, second]
    }
    const [[one = '', two = ''], phone] = await Promise.all([
      browser(),
      follow(bob, b, sdp(5000, held ? 'a=sendonly\r\n' : '')),
    ])
    assert.notEqual(portIn(phone), portIn(offered))
    assert.match(phone, /^m=audio \d+ RTP\/AVP /m)
    assert.notEqual(fingerprint(one), fingerprint(answered))
    assert.equal(fingerprint(two), fingerprint(one))
    assert.match(phone, held ? /a=recvonly/ : /a=sendrecv/)
    assert.equal(b.calls.list().length, 1)
    await until(() => rooms[1]?.media.load().rooms === 1)
    alice.say('BYE')
    bob.answer(await bob.peer.request('BYE'), 200)
    await until(() => b.records.length === 1)
    await until(() => rooms[1]?.media.load().rooms === 0)
  })
}
