import assert from 'node:assert/strict'
import { after, before, type TestContext, test } from 'node:test'
import { type MediaServers, startMediaServers } from '../support/media-servers.ts'
import { type Member, openMember } from '../support/member.ts'
import { until } from '../support/pair.ts'

// A SIP node without media and two media nodes: meetings and calls are carried by these, and go on when one of them is
// killed, put to sleep, or drained.

const tones = { mum: 500, dad: 700, aunt: 1100 } as const
let servers: MediaServers
const passwords: Record<string, string> = {}

before(async () => {
  servers = await startMediaServers()
  for (const user of Object.keys(tones)) passwords[user] = await servers.sip.addUser(user)
  const added = await servers.sip.cli('group', 'add', 'family', '--members', 'mum,dad,aunt', '--no-announce')
  assert.equal(added.code, 0, added.stderr)
})
after(() => servers?.close())

const phone = (user: keyof typeof tones) =>
  openMember({ server: servers.sip, user, password: passwords[user]!, tone: tones[user] })

async function meet(t: TestContext): Promise<Member[]> {
  const all = await Promise.all((Object.keys(tones) as (keyof typeof tones)[]).map(phone))
  t.after(() => {
    for (const one of all) one.close()
  })
  // The others are rung, and answer.
  assert.equal((await all[0]!.call('family')).status, 200)
  await hearEachOther(all)
  return all
}

const hearEachOther = (all: readonly Member[]) =>
  Promise.all(all.map(one => one.hears(all.filter(other => other !== one).map(other => other.tone))))

const nodes = () =>
  servers.sip.api<{ node: string; state: string; load: Record<string, number | undefined> }[]>('/api/nodes')

async function part(all: readonly Member[]): Promise<void> {
  for (const one of all) await one.hangUp()
  await until(async () => (await servers.sip.api<unknown[]>('/api/meetings')).length === 0, 8000)
  // Nothing of it is left on any node.
  await until(async () => (await nodes()).every(({ state, load }) => state === 'down' || !load['legs']), 8000)
}

test('the media node of a meeting is killed: everybody hears everybody again, over the other one', async t => {
  const all = await meet(t)
  const name = await servers.carrier()
  const offers = all.map(one => one.offers.length)
  const killed = performance.now()
  await servers.media[name].kill()
  await until(() => all.every((one, at) => one.offers.length > offers[at]!), 8000)
  const asked = performance.now() - killed
  await hearEachOther(all)
  t.diagnostic(
    `asked after ${Math.round(asked)} ms, all hear each other after ${Math.round(performance.now() - killed)} ms`,
  )
  const other = name === 'm' ? 'n' : 'm'
  await until(async () => (await servers.carrier()) === other, 8000)
  await part(all)
  await servers.media[name].restart()
  await until(async () => {
    return (await nodes()).some(({ node, state }) => node === name && state === 'up')
  }, 10_000)
})

test('the media node of a meeting is put to sleep: the others go on, and it has nothing of theirs when it wakes up', async t => {
  const all = await meet(t)
  const name = await servers.carrier()
  process.kill(servers.media[name].pid, 'SIGSTOP')
  const stopped = performance.now()
  try {
    await until(() => all.every(one => one.offers.length > 0), 8000)
    await hearEachOther(all)
    t.diagnostic(`all hear each other ${Math.round(performance.now() - stopped)} ms after SIGSTOP`)
  } finally {
    process.kill(servers.media[name].pid, 'SIGCONT')
  }
  await until(
    async () => (await nodes()).some(one => one.node === name && one.state === 'up' && !one.load['legs']),
    20_000,
  )
  await hearEachOther(all)
  await part(all)
})

test('the media node of a meeting is drained: it moves without a gap, and the node ends with nothing left', async t => {
  const all = await meet(t)
  const name = await servers.carrier()
  const drained = await servers.sip.cli('nodes', '--drain', name)
  assert.equal(drained.code, 0, drained.stderr)
  await until(() => all.every(one => one.offers.length > 0), 8000)
  await hearEachOther(all)
  assert.equal(await servers.media[name].stop(), 0)
  assert.match(servers.media[name].log(), /"left":0/)
  await hearEachOther(all)
  const metrics = await fetch(`http://127.0.0.1:${servers.sip.ports.http}/metrics`).then(answer => answer.text())
  assert.match(metrics, /vaartha_media_node_legs\{node="[mn]"\} 3/)
  assert.match(metrics, /vaartha_media_moves_total\{why="moved",result="done"\} 3/)
  const { stdout } = await servers.sip.cli('nodes')
  assert.match(stdout, /\bmedia\b/)
  await part(all)
})
