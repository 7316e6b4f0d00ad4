import { setTimeout as wait } from 'node:timers/promises'
import { startPair, until } from '../support/pair.ts'
import { createPhone, phoneSdp } from '../support/phone.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { freePorts, startVaartha, type TestServer } from '../support/server.ts'
import { createUdpPeer, type Peer, sipResponse, tagIn } from '../support/sip-peer.ts'
import { writeSection } from './support/page.ts'
import { cpuSeconds } from './support/processes.ts'

// What it costs that calls outlive their node: CPU and time of a call with each strategy, and how long the calls of a
// killed node take to be the other's. `--write` puts the tables into docs/benchmarks.md, `--quick` tries the bench itself.

const options = process.argv.slice(2)
const quick = options.includes('--quick')
const many = quick ? 100 : 5000
const some = quick ? 100 : 1000
const strategies = ['none', 'lazy', 'hot-standby'] as const

interface Cost {
  /** CPU milliseconds of the server for one call, set up and hung up. */
  cpu: number
  /** From the callee's 200 to the caller's, in ms. */
  p50: number
  p99: number
}

const report = [...(await costs()), '', ...(await adoption())]
const text = report.join('\n')
process.stdout.write(`${text}\n`)
if (options.includes('--write')) writeSection('failover', text)

async function costs(): Promise<string[]> {
  const found = new Map<string, Cost[]>()
  // Each strategy twice, in turn: the machine is not equally fast all the time.
  for (let round = 0; round < 2; round++) {
    for (const strategy of strategies) {
      const redis = await startRedis()
      const server = await startNode(redis, strategy)
      try {
        found.set(strategy, [...(found.get(strategy) ?? []), await measure(server)])
      } finally {
        await server.kill()
        await redis.stop()
      }
    }
  }
  const best = (strategy: string, of: keyof Cost) => Math.min(...(found.get(strategy) ?? []).map(cost => cost[of]))
  const base = best('none', 'cpu')
  return [
    `Of ${some} calls one after the other, the better of two runs each; Redis on loopback.`,
    '',
    '| strategy | CPU of the server for a call | more than `none` | 200 OK passes, median | p99 |',
    '| --- | --- | --- | --- | --- |',
    ...strategies.map(strategy => {
      const cpu = best(strategy, 'cpu')
      const more = strategy === 'none' ? '–' : `${(((cpu - base) / base) * 100).toFixed(0)} %`
      const [p50, p99] = [best(strategy, 'p50').toFixed(2), best(strategy, 'p99').toFixed(2)]
      return `| ${strategy} | ${cpu.toFixed(2)} ms | ${more} | ${p50} ms | ${p99} ms |`
    }),
  ]
}

async function startNode(redis: RedisServer, strategy: string): Promise<TestServer> {
  const [port] = await freePorts(1)
  return startVaartha({
    settings: {
      VAARTHA_STORE_REDIS: redis.url,
      VAARTHA_CLUSTER_NAME: 'a',
      VAARTHA_CLUSTER_SECRET: 'a secret of benchmarks, long enough',
      VAARTHA_CLUSTER_ADDRESS: '127.0.0.1',
      VAARTHA_CLUSTER_PORT: String(port),
      VAARTHA_CLUSTER_REPLICATION: strategy,
      VAARTHA_CLUSTER_DRAIN_SECONDS: '0',
      VAARTHA_CALLS_MOST: '100000',
    },
  })
}

async function measure(server: TestServer): Promise<Cost> {
  const people = await register(server, name => server.addUser(name))
  const times: number[] = []
  const one = async () => {
    const answered = answer(people.callee)
    await Promise.all([people.caller.call('bob'), answered])
    times.push(performance.now() - (await answered))
    await Promise.all([people.caller.hangUp(), people.takeBye()])
  }
  for (let n = 0; n < some / 10; n++) await one()
  times.length = 0
  const before = cpuSeconds(server.pid)
  for (let n = 0; n < some; n++) await one()
  const cpu = ((cpuSeconds(server.pid) - before) / some) * 1000
  people.close()
  const sorted = times.toSorted((a, b) => a - b)
  return { cpu, p50: sorted[Math.floor(some * 0.5)]!, p99: sorted[Math.floor(some * 0.99)]! }
}

async function register(server: TestServer, add: (name: string) => Promise<string>) {
  const { domain, ports } = server
  const peers = [await createUdpPeer(ports.sip), await createUdpPeer(ports.sip)] as const
  const [caller, bob] = await Promise.all(
    (['alice', 'bob'] as const).map(async (user, at) => {
      const phone = createPhone({ peer: peers[at]!, user, domain, password: await add(user) })
      await phone.register(3600)
      return phone
    }),
  )
  return {
    caller: caller!,
    callee: peers[1],
    callerPeer: peers[0],
    takeBye: () => bob!.takeBye(),
    close() {
      for (const peer of peers) peer.close()
    },
  }
}

/** Answers the next call at once; when that was. */
async function answer(peer: Peer): Promise<number> {
  const invite = await peer.request('INVITE')
  const headers = [`Contact: <sip:bob@127.0.0.1:${peer.port}>`]
  const ok = sipResponse(invite, 200, { tag: `t${invite.header('Call-ID')}`, headers, body: phoneSdp(peer.port) })
  const when = performance.now()
  peer.send(ok)
  await peer.request('ACK')
  return when
}

async function adoption(): Promise<string[]> {
  const pair = await startPair({ settings: { VAARTHA_CALLS_MOST: '100000' } })
  const { caller, callee, callerPeer, close } = await register(pair.a, pair.addUser)
  for (let n = 0; n < many; n++) await Promise.all([caller.call('bob'), answer(callee)])
  // What was kept last has come to Redis.
  await wait(1000)
  const reached = [0, 0]
  const ends = [callerPeer, callee].map((peer, at) => follow(peer, pair.b.ports.sip, () => reached[at]!++))
  const killed = performance.now()
  await pair.a.kill()
  const ms = () => Math.round(performance.now() - killed)
  const took = () => /"calls":(\d+),"ms":(\d+),"msg":"calls taken over"/.exec(pair.b.log())
  await until(() => took() !== null, 60_000)
  const known = ms()
  const [, calls = '', work = ''] = took() ?? []
  await until(() => reached[0]! >= many && reached[1]! >= many, 120_000)
  const all = ms()
  for (const end of ends) end()
  close()
  await pair.b.kill()
  await pair.close()
  return [
    '| a node with so many calls is killed | |',
    '| --- | --- |',
    `| calls, dialogs | ${calls}, ${Number(calls) * 2} |`,
    `| taken over by the other node, from when it knows of the death | ${(Number(work) / 1000).toFixed(1)} s |`,
    `| the same, from SIGKILL on | ${(known / 1000).toFixed(1)} s |`,
    `| every phone has answered the other node's re-INVITE, from SIGKILL on | ${(all / 1000).toFixed(1)} s |`,
  ]
}

/** Answers each re-INVITE of the other node as a phone that changes nothing. */
function follow(peer: Peer, to: number, onOne: () => void): () => void {
  let going = true
  const run = async () => {
    while (going) {
      const invite = await peer.request('INVITE', 120_000)
      peer.turnTo?.(to)
      if (tagIn(invite.header('To')) !== '') {
        const headers = [`Contact: <sip:phone@127.0.0.1:${peer.port}>`]
        peer.send(sipResponse(invite, 200, { headers, body: phoneSdp(peer.port) }))
        onOne()
      }
      void peer.untaken().splice(0)
    }
  }
  // Its last wait ends when the peer is closed and the program goes.
  run().catch(() => undefined)
  return () => {
    going = false
  }
}
