import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { leaseKey } from '../../src/cluster/kept-store.ts'
import { createRedisReplication } from '../../src/cluster/redis-replication.ts'
import type { Kept } from '../../src/cluster/replication.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { createRedisLink } from '../../src/redis/link.ts'
import { sayMembers } from '../support/cluster.ts'
import { startRedis } from '../support/redis.ts'
import { writeSection } from './support/page.ts'

// What it costs to keep calls in a Redis on this machine, and how long 10,000 of a dead node take to be another's: the
// store alone, without the dialogs that are installed then. `--write` puts the table into docs/benchmarks.md.

const calls = 10_000
const log = createSilentLog()
const redis = await startRedis()
const look = new Redis(redis.url)

async function open(life: string, strategy: 'lazy' | 'hot-standby' = 'hot-standby') {
  const config = { redis: redis.url, prefix: 'bench', timeoutMs: 5000, leaseMs: 0 }
  const link = createRedisLink({ config, events: createEvents(), log })
  await link.ready()
  const members = sayMembers(life)
  const replication = createRedisReplication({ strategy, redis: link, config, members, log })
  return {
    members,
    replication,
    async close() {
      await replication.close()
      await link.close()
    },
  }
}

/** As large as an ordinary call's snapshot, and not to be compressed. */
function call(n: number): Kept {
  const id = `${n}-${randomBytes(8).toString('hex')}`
  const tag = () => randomBytes(6).toString('hex')
  const dialogs = [`${id}@192.0.2.1;${tag()};${tag()}`, `${id}-b@192.0.2.2;${tag()};${tag()}`]
  return { kind: 'call', id, dialogs, snapshot: JSON.stringify({ id, state: randomBytes(1100).toString('base64') }) }
}

function at(times: number[], share: number): string {
  const sorted = times.toSorted((a, b) => a - b)
  return `${(sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(2)} ms`
}

async function timed(kept: Kept[], work: (one: Kept) => Promise<unknown>) {
  const times: number[] = []
  const cpu = process.cpuUsage()
  for (const one of kept) {
    const began = performance.now()
    await work(one)
    times.push(performance.now() - began)
  }
  const { user, system } = process.cpuUsage(cpu)
  return { p50: at(times, 0.5), p99: at(times, 0.99), cpu: `${Math.round((user + system) / kept.length)} µs` }
}

const first = await open('first')
const second = await open('second')
await look.set(leaseKey('bench', 'first'), '1')
first.members.say('second', 'up')
second.members.say('first', 'up')
const memory = async () => Number(/used_memory:(\d+)/.exec(await look.info('memory'))?.[1])
const all = Array.from({ length: calls }, (_, n) => call(n))
// The compiler has seen everything once before anything is measured.
await timed(Array.from({ length: 2000 }, (_, n) => call(-n)), one => first.replication.save(one, { must: true }).then(() => first.replication.end('call', one.id))) // biome-ignore format: one call

const before = await memory()
const saved = await timed(all, one => first.replication.save(one, { must: true }))
const bytes = Math.round((await memory()) - before) / calls
const changed = await timed(all.slice(0, 5000), one => {
  return first.replication.save({ ...one, snapshot: `${one.snapshot} ` }, { must: true })
})

await look.del(leaseKey('bench', 'first'))
second.members.say('first', 'down')
const cpu = process.cpuUsage()
const began = performance.now()
let taken = 0
for await (const _ of second.replication.adopt('first', 'call')) taken++
const adoptMs = performance.now() - began
const adoptCpu = process.cpuUsage(cpu)
const woke = performance.now()
let heard = 0
first.replication.onLost(() => heard++)
first.members.comeBack()
while (heard < calls) await new Promise(resolve => setImmediate(resolve))
const lostMs = performance.now() - woke
const ended = await timed(all.slice(0, 5000), one => second.replication.end('call', one.id))
await first.close()
await second.close()
look.disconnect()
await redis.stop()

const size = Buffer.byteLength(all[0]!.snapshot)
const text = `One process, one redis-server on loopback, snapshots of ${size} bytes with two dialogs each. The CPU is that of the node.

| | p50 | p99 | CPU each |
| --- | --- | --- | --- |
| a new call is kept (hot-standby: what answering waits for) | ${saved.p50} | ${saved.p99} | ${saved.cpu} |
| a change is kept | ${changed.p50} | ${changed.p99} | ${changed.cpu} |
| an end is written | ${ended.p50} | ${ended.p99} | ${ended.cpu} |

- Redis holds ${Math.round(bytes).toLocaleString('en')} bytes for each call, indexes included: ${((bytes * calls) / 1e6).toFixed(1)} MB for ${calls.toLocaleString('en')}.
- ${taken.toLocaleString('en')} calls of a dead node become another's in ${(adoptMs / 1000).toFixed(2)} s (${((adoptCpu.user + adoptCpu.system) / 1e6).toFixed(2)} s of CPU): the store alone, without installing dialogs.
- A node that wakes up late finds out that ${heard.toLocaleString('en')} are not its own any more in ${(lostMs / 1000).toFixed(2)} s.
`
process.stdout.write(text)
if (process.argv.includes('--write')) writeSection('replication', text)
