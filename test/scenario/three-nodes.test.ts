import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Pair, startPair, until } from '../support/pair.ts'
import { createRover, type Rover } from '../support/rover.ts'
import { freePorts, startVaartha, type TestServer } from '../support/server.ts'

// A pair and a third node: a call of the first is adopted by the second, while its phones have gone to the third.

interface Line {
  id: string
  answered?: string
}

let pair: Pair
let c: TestServer
const rovers: Rover[] = []
const settings = { VAARTHA_CLUSTER_SECRET: 'a secret that three nodes have' }
before(async () => {
  pair = await startPair({ settings })
  const [port] = await freePorts(1)
  c = await startVaartha({
    settings: {
      ...settings,
      VAARTHA_STORE_REDIS: pair.redis.url,
      VAARTHA_CLUSTER_NAME: 'c',
      VAARTHA_CLUSTER_ADDRESS: '127.0.0.1',
      VAARTHA_CLUSTER_PORT: String(port),
      VAARTHA_CLUSTER_PRIORITY: '30',
      VAARTHA_CLUSTER_RETURN_SECONDS: '0',
      // It takes over no call before somebody asks it to, so that the other one does.
      VAARTHA_CLUSTER_REPLICATION: 'lazy',
    },
  })
})
after(async () => {
  for (const rover of rovers) rover.close()
  await c?.close()
  await pair?.close()
})

test('the phones of a call register at a third node: the one that has adopted it tells them over that, and they hang up', async () => {
  const { a, b } = pair
  const servers = [a.ports.sip, c.ports.sip]
  for (const user of ['mum', 'dad']) {
    const password = await pair.addUser(user)
    rovers.push(await createRover({ user, password, domain: a.domain, servers, by: 'tcp' }))
  }
  const [mum, dad] = rovers as [Rover, Rover]
  await Promise.all(rovers.map(rover => rover.registered()))
  const { talk } = await mum.call('dad')
  assert.ok(talk)
  await until(async () => (await a.api<Line[]>('/api/calls'))[0]?.answered !== undefined)
  const [line] = await a.api<Line[]>('/api/calls')
  await a.kill()
  await pair.calls(b, 1, 15_000)
  const [other] = dad.talks
  await until(() => talk.moves > 0 && other!.moves > 0, 15_000)
  assert.equal((await c.api<Line[]>('/api/calls')).length, 0)
  assert.equal(await talk.hangUp(), 200)
  await until(() => other!.isOver(), 10_000)
  await pair.calls(b, 0)
  for (const node of [b, c]) {
    const lines = async () => (await node.api<Line[]>('/api/history')).filter(({ id }) => id === line!.id)
    await until(async () => (await lines()).length > 0, 10_000)
    assert.equal((await lines()).length, 1)
  }
  // And a call that is made over the two others alone.
  const again = await mum.call('dad')
  assert.ok(again.talk, `refused with ${again.status}`)
  assert.equal(await again.talk.hangUp(), 200)
})
