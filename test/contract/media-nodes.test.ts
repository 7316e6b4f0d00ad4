import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Follower, openFollower, startMediaCluster, type TestMediaNode } from '../support/media-cluster.ts'
import { startMediaOverNats } from '../support/media-nats.ts'
import { until } from '../support/pair.ts'

// Media of a SIP node that two media nodes carry: what happens when one of them dies, drains, or is told to give a room away.

const tones = [400, 900, 1500]

async function meet(t: TestContext) {
  const cluster = await startMediaCluster()
  const all: Follower[] = []
  const talking: (() => Promise<void>)[] = []
  t.after(async () => {
    await Promise.all(talking.map(stop => stop()))
    for (const { phone } of all) phone.rtp.close()
    await cluster.close()
  })
  const { media, nodes } = cluster
  await until(() => media.state().sfu === 'ready')
  all.push(...(await Promise.all(tones.map(tone => openFollower(media, tone)))))
  const room = await media.open({ kind: 'meeting', transient: true })
  for (const { leg } of all) await media.join(leg, room)
  for (const { phone } of all) talking.push(phone.talk())
  await hearEachOther(all)
  const from = nodes.find(node => carries(node).rooms > 0)!
  const to = nodes.find(node => node !== from)!
  return { ...cluster, all, room, from, to }
}

/** Each hears the two others, and not itself. */
async function hearEachOther(all: readonly Follower[], ms = 6000): Promise<void> {
  const share = ({ phone }: Follower, tone: number) => phone.rtp.share(tone, phone.rtp.sounds().slice(-15))
  await until(
    () =>
      all.every(one =>
        all.every(other =>
          one === other ? share(one, one.phone.rtp.tone) < 0.1 : share(one, other.phone.rtp.tone) > 0.15,
        ),
      ),
    ms,
  )
}

/** The same by what comes from now on. */
async function hearAnew(all: readonly Follower[]): Promise<void> {
  const before = all.map(({ phone }) => phone.rtp.sounds().length)
  await until(() => all.every(({ phone }, at) => phone.rtp.sounds().length > before[at]! + 20), 6000)
  await hearEachOther(all)
}

const carries = (node: TestMediaNode) => node.room.carries()

test('a media node dies: all in its room are on the other one, and hear each other, within two seconds', async t => {
  const { from, to, all, events } = await meet(t)
  const lost: number[] = []
  events.on('mediaNodeLost', ({ legs }) => lost.push(legs))
  const died = performance.now()
  const dead = from.die()
  await until(() => all.every(one => one.offers === 1), 5000)
  const moved = Math.round(performance.now() - died)
  await dead
  await hearAnew(all)
  t.diagnostic(`asked and answered after ${moved} ms`)
  assert.deepEqual(lost, [3])
  assert.equal(carries(to).rooms, 1)
  assert.ok(all.every(one => one.events.some(event => event.type === 'rebuilt')))
})

test('a node drains: its room moves, those who have moved hear those who have not, and nothing is left behind', async t => {
  const { from, to, all, say } = await meet(t)
  const [slow, ...quick] = all as [Follower, ...Follower[]]
  const answering = Promise.withResolvers<void>()
  slow.patience = answering.promise
  const gaps = all.map(watchGap)
  say(from.name, 'draining')
  await until(() => quick.every(one => one.offers > 0), 5000)
  // One is there still, and the others are not: a link between the two rooms carries their words.
  await hearAnew(all)
  assert.deepEqual([carries(from).rooms, carries(to).rooms], [1, 1])
  answering.resolve()
  await until(() => slow.offers > 0 && carries(from).rooms === 0, 8000)
  await hearEachOther(all)
  t.diagnostic(`largest gaps: ${gaps.map(stop => `${Math.round(stop())} ms`).join(', ')}`)
  assert.ok(all.every(one => one.events.every(event => event.type !== 'lost' && event.type !== 'rebuilt')))
  await until(() => carries(from).ports === 0, 8000)
})

test('whose party asks for something else meanwhile stays, is heard all the same, and moves later', async t => {
  const { from, to, all, media } = await meet(t)
  const [busy] = all as [Follower]
  busy.patience = new Promise(() => {})
  await media.migrate(busy.leg, to.name)
  await until(() => busy.events.some(event => event.type === 'more'))
  busy.phone.take(await media.accept(busy.leg, busy.phone.sdp()))
  await hearAnew(all)
  assert.deepEqual([carries(from).rooms, carries(to).rooms], [1, 1])
  await media.release(busy.leg)
  await until(() => carries(from).rooms === 0 && carries(from).ports === 0, 8000)
})

/** The longest time between two packets that came, until the returned function is called. */
function watchGap({ phone }: Follower): () => number {
  const from = phone.rtp.heard.length
  return () => {
    const times = phone.rtp.heard.slice(from).map(packet => packet.at)
    return Math.max(...times.slice(1).map((at, index) => at - times[index]!))
  }
}

test('a live room is given to another node, with its recording and its music', async t => {
  const { from, to, all, media, room } = await meet(t)
  const directory = mkdtempSync(join(tmpdir(), 'vaartha-parts-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const stop = await media.record(room, { directory, name: 'one', perSpeaker: false })
  const gaps = all.map(watchGap)
  await media.migrate(all[0]!.leg, to.name)
  await until(() => carries(from).rooms === 0 && all.every(one => one.offers > 0), 8000)
  await hearEachOther(all)
  const largest = gaps.map(one => one())
  t.diagnostic(`largest gaps: ${largest.map(ms => `${Math.round(ms)} ms`).join(', ')}`)
  const files = await stop()
  assert.deepEqual(
    files.map(one => one.file.split('/').at(-1)).map(name => name?.startsWith('one')),
    [true, true],
  )
  for (const { file, bytes } of files) assert.equal(statSync(file).size, bytes)
  for (const { leg } of all) await media.release(leg)
  await until(() => carries(to).ports === 0 && carries(to).rooms === 0)
})

test('one that takes questions and answers none is left within two seconds; without any node calls are refused', async t => {
  const { media, all, from, to } = await meet(t)
  from.hang()
  const began = performance.now()
  await until(() => all.every(one => one.offers === 1), 5000)
  t.diagnostic(`asked and answered after ${Math.round(performance.now() - began)} ms`)
  await hearEachOther(all)
  to.hang()
  const asked = performance.now()
  await assert.rejects(media.allocate({ profile: 'plain', towards: '127.0.0.1', near: 'one' }), {
    code: 'media-unavailable',
  })
  assert.ok(performance.now() - asked < 3000)
  assert.equal(media.state().sfu, 'unavailable')
  await until(() => all.every(one => one.events.some(event => event.type === 'lost')), 15_000)
})

test('a SIP node that is silent has nothing on any media node after a while', async t => {
  const cluster = await startMediaCluster({ forgetMs: 3000 })
  t.after(() => cluster.close())
  await until(() => cluster.media.state().sfu === 'ready')
  const one = await openFollower(cluster.media, 400)
  const room = await cluster.media.open({ kind: 'echo' })
  await cluster.media.join(one.leg, room)
  one.phone.rtp.close()
  const at = cluster.nodes.find(node => carries(node).rooms > 0)!
  await cluster.cut()
  await until(() => carries(at).rooms === 0 && carries(at).ports === 0, 10_000)
})

test('a NATS that hangs holds no call up, and what it brings late is done once', async t => {
  const { media, nats, carries: carried, close } = await startMediaOverNats()
  t.after(close)
  const wish = { profile: 'plain', towards: '127.0.0.1' } as const
  await media.allocate(wish)
  process.kill(nats.pid, 'SIGSTOP')
  const began = performance.now()
  try {
    await media.allocate(wish)
    await assert.rejects(media.allocate({ ...wish, offer: 'nonsense' }), { code: 'bad-request' })
  } finally {
    process.kill(nats.pid, 'SIGCONT')
  }
  assert.ok(performance.now() - began < 2000)
  const { leg } = await media.allocate(wish)
  await media.release(leg)
  await until(() => carried().ports === 2)
})
