import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openMember } from '../support/member.ts'
import { type Pair, startPair, until } from '../support/pair.ts'
import type { TestServer } from '../support/server.ts'

// A node that is told to stop gives its meetings to the other one before it goes.

interface Seen {
  id: string
  since: string
  locked: boolean
  members: { id: number; user: string; muted: boolean }[]
}

const tones = { mum: 500, dad: 700, kid: 900 } as const
let pair: Pair
const passwords: Record<string, string> = {}

before(async () => {
  pair = await startPair({ settings: { VAARTHA_CLUSTER_DRAIN_SECONDS: '10' } })
  for (const user of Object.keys(tones)) passwords[user] = await pair.addUser(user)
  const { code, stderr } = await pair.a.cli(
    ...['group', 'add', 'family', '--members', 'mum,dad', '--moderators', 'mum', '--ring', 'nobody', '--no-announce'],
  )
  assert.equal(code, 0, stderr)
  await until(async () => (await pair.b.api<unknown[]>('/api/groups')).length === 1)
})
after(() => pair?.close())

const meetings = (node: TestServer) => node.api<Seen[]>('/api/meetings')

test('SIGTERM: the meeting goes to the other node with all that it was, and its members hear each other on', async t => {
  const open = async (user: keyof typeof tones, browser = false) => {
    const one = await openMember({ server: pair.a, user, password: passwords[user]!, tone: tones[user], browser })
    t.after(() => one.close())
    return one
  }
  const [mum, dad, kid] = [await open('mum'), await open('dad'), await open('kid', true)]
  for (const one of [mum, dad]) assert.equal((await one.call('family')).status, 200)
  assert.equal((await kid.call('family', ['Vaartha-Mesh: 0'])).status, 200)
  await Promise.all([mum.hears([tones.dad]), dad.hears([tones.mum])])
  assert.equal(await mum.info({ do: 'mute', member: 3 }), 200)
  assert.equal(await mum.info({ do: 'lock' }), 200)
  const [before] = await meetings(pair.a)
  for (const one of [mum, dad]) await one.turnTo(pair.b)

  const began = performance.now()
  const stopped = pair.a.stop()
  // The page is told while its node still lives, and the way of its INVITE leads to the other one.
  await kid.until(() => kid.told.some(one => one['rejoin'] === true), 'the wish to come anew')
  let came = await kid.comeBack('family', ['Vaartha-Mesh: 0'])
  if (came.status === 503) {
    // On a busy machine the node may be gone by then, and a page tries the next one.
    await kid.turnTo(pair.b)
    came = await kid.comeBack('family', ['Vaartha-Mesh: 0'])
  }
  assert.equal(came.status, 200)
  assert.equal(await stopped, 0)
  t.diagnostic(`the node was gone after ${Math.round(performance.now() - began)} ms`)
  await Promise.all([mum.hears([tones.dad]), dad.hears([tones.mum])])
  const gaps = [mum.longestWithout(tones.dad, began), dad.longestWithout(tones.mum, began)]
  t.diagnostic(`longest time without the other one's voice: ${gaps.join(' and ')} ms`)
  assert.ok(Math.max(...gaps) < 3000, `gaps of ${gaps} ms`)

  const [now, ...more] = await meetings(pair.b)
  assert.deepEqual(more, [])
  assert.deepEqual(now, { ...before, members: now!.members })
  const entries = ({ members }: Seen) => members.map(({ id, user, muted }) => `${id} ${user} ${muted}`).toSorted()
  assert.deepEqual(entries(now!), entries(before!))
  assert.equal(mum.ended || dad.ended || kid.ended, false)

  // And back, as when one node after the other is upgraded.
  await kid.turnTo(pair.b)
  await kid.hangUp()
  await pair.restart(pair.a)
  for (const one of [mum, dad]) await one.turnTo(pair.a)
  const again = performance.now()
  assert.equal(await pair.b.stop(), 0)
  await Promise.all([mum.hears([tones.dad]), dad.hears([tones.mum])])
  t.diagnostic(`and on the way back: ${mum.longestWithout(tones.dad, again)} ms`)
  const [back] = await meetings(pair.a)
  assert.equal(back?.id, before?.id)
  assert.deepEqual(back?.members.map(({ user }) => user).toSorted(), ['dad', 'mum'])
  assert.equal(await mum.info({ do: 'end' }), 200)
  await dad.until(() => dad.ended, 'the end')
  await until(async () => (await meetings(pair.a)).length === 0, 8000)
  await pair.restart(pair.b)
})
