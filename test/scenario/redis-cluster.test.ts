import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { type Pair, startPair, until } from '../support/pair.ts'
import { type ReplicatedCluster, startReplicatedCluster } from '../support/redis.ts'
import { createRover, type Rover } from '../support/rover.ts'
import type { TestServer } from '../support/server.ts'

// A pair on a Redis Cluster with replicas. The master that says who is alive dies; people go on; then the node of their
// call dies too.

interface Line {
  id: string
  answered?: string
}

let cluster: ReplicatedCluster
let pair: Pair
const rovers: Rover[] = []
before(async () => {
  cluster = await startReplicatedCluster()
  const redis = { url: cluster.url, port: 0, pid: 0, stop: cluster.stop }
  pair = await startPair({ redis }).catch(async (error: unknown) => {
    await cluster.stop()
    throw error
  })
})
after(async () => {
  for (const rover of rovers) rover.close()
  await pair?.close()
})

async function roverOf(user: string, by: 'outbound' | 'udp'): Promise<Rover> {
  const password = await pair.addUser(user)
  const servers = [pair.a.ports.sip, pair.b.ports.sip]
  const rover = await createRover({ user, password, domain: pair.a.domain, servers, by })
  rovers.push(rover)
  await rover.registered()
  return rover
}

const isWell = async (node: TestServer) => {
  const said = await (await fetch(`http://127.0.0.1:${node.ports.http}/health/ready`)).json()
  return (said as { degraded: boolean }).degraded === false
}
const users = async (node: TestServer) =>
  [...new Set((await node.api<{ bindings: { aor: string }[] }>('/api/registrations')).bindings.map(({ aor }) => aor))]
    .sort()
    .join()

test('a master of the Redis Cluster dies: calls and registrations go on, all converges, and a node may die after that', async t => {
  const { a, b } = pair
  const [mum, dad, kid] = [await roverOf('mum', 'outbound'), await roverOf('dad', 'udp'), await roverOf('kid', 'udp')]
  const { talk } = await mum.call('dad')
  assert.ok(talk)

  let going = true
  const failures: string[] = []
  let made = 0
  const calling = (async () => {
    for (; going; await wait(100)) {
      const { talk: one, status } = await kid.call('mum')
      const ended = one === undefined ? status : await one.hangUp()
      if (ended === 200) made++
      else failures.push(`${status} ${ended}`)
    }
  })()
  const since = performance.now()
  await cluster.killMasterOf('vaartha:{nodes}')
  const served = performance.now() - since
  const late = await roverOf('gran', 'outbound')
  await until(async () => (await users(a)) === (await users(b)) && (await users(b)).includes('gran'), 15_000)
  for (const node of [a, b]) await until(() => isWell(node), 15_000)
  t.diagnostic(
    `a replica served after ${Math.round(served)} ms, both nodes well after ${Math.round(performance.now() - since)} ms`,
  )
  going = false
  await calling
  assert.deepEqual(failures, [])
  assert.ok(made > 3, `${made} calls`)
  assert.ok(!talk.isOver() && late.talks.size === 0)

  const [line] = (await a.api<Line[]>('/api/calls')).filter(({ answered }) => answered)
  await a.kill()
  await pair.calls(b, 1, 15_000)
  await until(() => talk.moves > 0, 10_000)
  const [other] = dad.talks
  assert.equal(await talk.hangUp(), 200)
  await until(() => other!.isOver(), 10_000)
  await pair.restart(a)
  for (const node of [a, b]) {
    const lines = async () => (await node.api<Line[]>('/api/history?limit=1000')).filter(({ id }) => id === line!.id)
    await until(async () => (await lines()).length > 0, 10_000)
    assert.equal((await lines()).length, 1)
  }
})
