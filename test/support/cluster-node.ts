import { createInterface } from 'node:readline'
import { createCluster } from '../../src/cluster/cluster.ts'
import { complete } from '../../src/config/load.ts'
import { createEvents } from '../../src/events.ts'
import { createLog } from '../../src/log.ts'
import { createRedisLink } from '../../src/redis/link.ts'

// A node of a cluster without SIP, as a process of its own that may be killed or put to sleep. It prints what it hears, a
// JSON object a line, and does what it is told by lines. While it leads, it acts: it adds its name to a list in Redis.

const settings = JSON.parse(process.argv[2]!) as { name: string; redis: string; nats?: string }
const log = createLog({ level: process.argv[3] ?? 'silent', format: 'json' })
const { cluster, store } = complete({
  store: { redis: settings.redis, timeoutMs: 300 },
  cluster: {
    name: settings.name,
    secret: 'a secret that all the nodes share',
    address: '127.0.0.1',
    port: 0,
    nats: settings.nats ?? '',
    heartbeatMs: 100,
    leaseMs: 500,
    returnSeconds: 1,
  },
})
const say = (what: object) => process.stdout.write(`${JSON.stringify(what)}\n`)
const redis = createRedisLink({ config: store, events: createEvents(), log })
await redis.ready()
const life = `${settings.name}-${process.pid}`
const rooms = await createCluster({
  config: { cluster, store },
  node: settings.name,
  life,
  version: '1',
  address: () => '127.0.0.1',
  places: () => ({ sip: '', http: '' }),
  redis,
  log,
})
const { members, leader, replication, bus } = rooms
members.onChange(member => say({ life: member.life, state: member.state }))
members.onDeath(member => say({ dead: member.life }))
members.onReturn(() => say({ returned: life }))
leader.onChange(leading => say({ leading, term: leader.term() }))
replication.onLost((_kind, id, owner) => say({ lost: id, owner }))
bus.subscribe('>', (subject, fact, from) => say({ subject, fact, from }))
bus.answer('echo', async question => ({ from: life, question }))
const acting = setInterval(() => {
  if (leader.isLeader()) redis.ask('act', client => client.rpush('acts', `${leader.term()}|${life}`)).catch(() => {})
}, 10)

const verbs: Record<string, (word: string) => unknown> = {
  lease: () => members.holdsLease(),
  members: () => members.list().map(({ node, life: one, state, weight }) => ({ node, life: one, state, weight })),
  save: async id => await replication.save({ kind: 'call', id, dialogs: [id], snapshot: id }, { must: true }),
  owns: id => replication.owns('call', id),
  sure: id => replication.sure('call', id),
  end: id => replication.end('call', id),
  take: id => replication.takeOver(id),
  async adopt(of) {
    let count = 0
    for await (const _ of replication.adopt(of, 'call')) count++
    return count
  },
  publish: subject => bus.publish(subject, { by: life }),
  keep: id => bus.keep('kept.fact', id, { by: life }),
  ask: async node => await bus.ask(node, 'echo', 'hello', 500).catch((error: Error) => error.message),
  drain: () => members.drain(),
  async close() {
    clearInterval(acting)
    await rooms.close()
    await redis.close()
    process.stdin.pause()
  },
}
createInterface(process.stdin).on('line', line => {
  const [number = '', verb = '', word = ''] = line.split(' ')
  void Promise.resolve(verbs[verb]!(word)).then(answer => say({ to: Number(number), answer: answer ?? null }))
})
