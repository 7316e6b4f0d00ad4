import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDirectBus } from '../../src/cluster/direct-bus.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import type { Media } from '../../src/media/media.ts'
import { createOrchestrator } from '../../src/media/nodes/orchestrator.ts'
import { serveMedia } from '../../src/media/nodes/serve.ts'
import { watchAddresses } from '../../src/network/interfaces.ts'
import { openFollower, startMediaCluster } from '../support/media-cluster.ts'
import { startMediaOverNats } from '../support/media-nats.ts'
import { createSdpPhone, startMedia } from '../support/media-room.ts'
import { until } from '../support/pair.ts'

// What it costs that another node carries the media: a call of two phones from its first leg to its last, asked of the
// media room itself, of one that several nodes share, and of another node's. And how long after the death of a media node
// a room of many is on the other one.

const say = (line: string) => process.stdout.write(`${line}\n`)
const calls = 400
const offer = (await createSdpPhone()).sdp()

async function call(media: Media): Promise<void> {
  const wish = { profile: 'plain', towards: '127.0.0.1', offer } as const
  const [one, other] = [await media.allocate(wish), await media.allocate(wish)]
  const room = await media.open({ kind: 'bridge', transient: true })
  await media.join(one.leg, room)
  await media.join(other.leg, room)
  await media.release(one.leg)
  await media.release(other.leg)
}

async function measure(name: string, media: Media): Promise<void> {
  for (let i = 0; i < 100; i++) await call(media)
  const times: number[] = []
  const cpu = process.cpuUsage()
  for (let i = 0; i < calls; i++) {
    const began = performance.now()
    const { leg } = await media.allocate({ profile: 'plain', towards: '127.0.0.1', offer })
    times.push(performance.now() - began)
    await media.release(leg)
    await call(media)
  }
  const { user, system } = process.cpuUsage(cpu)
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.floor(share * calls)]!.toFixed(2)
  const each = ((user + system) / 1000 / calls).toFixed(2)
  say(`| ${name} | ${at(0.5)} | ${at(0.99)} | ${each} |`)
}

say('| allocate a leg | median, ms | p99, ms | CPU ms for three legs and a bridge, both sides |')
say('| --- | ---: | ---: | ---: |')

const room = await startMedia()
await measure('of the media room itself', room.media)

const log = createSilentLog()
const peers: { node: string; link: string }[] = []
const bus = await createDirectBus({
  ...{ node: 's', listen: { address: '127.0.0.1', port: 0 }, secrets: ['x'.repeat(24)], peers: () => peers, log },
})
const addresses = watchAddresses({ listen: ['127.0.0.1'], include: [] })
const member = { node: 's', life: 's-1', state: 'up', roles: ['sip', 'media'], weight: 1 } as const
const members = { node: 's', list: () => [member], onChange: () => () => {}, onDeath: () => () => {} }
const shared = createOrchestrator({ local: room.media, members, bus, addresses, events: createEvents(), log })
await measure('of this node, among several', shared)

const far = await createDirectBus({
  ...{ node: 'm', listen: { address: '127.0.0.1', port: 0 }, secrets: ['x'.repeat(24)], peers: () => peers, log },
})
peers.push({ node: 's', link: bus.link() }, { node: 'm', link: far.link() })
const directory = mkdtempSync(join(tmpdir(), 'vaartha-media-'))
const serving = serveMedia({ media: room.media, bus: far, life: 'm-1', addresses, directory, log })
const remote = createOrchestrator({
  ...{ local: undefined, bus, addresses, events: createEvents(), log },
  members: { ...members, list: () => [{ ...member, node: 'm', roles: ['media'] }] },
})
await until(() => remote.state().sfu === 'ready')
await measure('of another node, over the sealed link', remote)
await remote.close()
await serving.close()
await bus.close()
await far.close()
rmSync(directory, { recursive: true, force: true })

const nats = await startMediaOverNats()
await measure('of another node, over NATS', nats.media)
await nats.close()
await room.close()
addresses.close()

for (const count of [3, 50]) {
  const cluster = await startMediaCluster()
  await until(() => cluster.media.state().sfu === 'ready')
  const all = await Promise.all(Array.from({ length: count }, (_, at) => openFollower(cluster.media, 400 + 10 * at)))
  const meeting = await cluster.media.open({ kind: 'meeting', transient: true })
  for (const { leg } of all) await cluster.media.join(leg, meeting)
  const from = cluster.nodes.find(node => node.room.carries().rooms > 0)!
  const died = performance.now()
  const dead = from.die()
  await until(() => all.every(one => one.offers > 0), 10_000)
  say(`\nmeeting of ${count}: all at the other node ${Math.round(performance.now() - died)} ms after the death`)
  await dead
  for (const { phone } of all) phone.rtp.close()
  await cluster.close()
}
process.exit(0)
