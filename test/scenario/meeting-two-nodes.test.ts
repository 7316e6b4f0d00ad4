import assert from 'node:assert/strict'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { type Member, openMember } from '../support/member.ts'
import { type Pair, startPair, until } from '../support/pair.ts'
import type { TestServer } from '../support/server.ts'

// One group, called at both nodes of a pair: all who come are in one meeting, whichever node they call.

interface Seen {
  id: string
  recording: boolean
  address: string
  members: { id: number; user: string; muted: boolean; profile: string }[]
}

interface Recorded {
  meeting: string
  node: string
  seconds: number
  people: string[]
  files: { speaker: string }[]
}

const tones = { mum: 500, dad: 700, kid: 900, aunt: 1100 } as const
type Name = keyof typeof tones
let pair: Pair
const passwords: Record<string, string> = {}

before(async () => {
  pair = await startPair()
  for (const user of Object.keys(tones)) passwords[user] = await pair.addUser(user)
  const { code, stderr } = await pair.a.cli(
    ...[
      'group',
      'add',
      'family',
      '--members',
      'mum,dad,kid',
      '--moderators',
      'mum',
      '--ring',
      'nobody',
      '--no-announce',
    ],
  )
  assert.equal(code, 0, stderr)
  await until(async () => (await pair.b.api<unknown[]>('/api/groups')).length === 1)
})
after(() => pair?.close())

const meetings = (node: TestServer) => node.api<Seen[]>('/api/meetings')
const sizes = async () => [await meetings(pair.a), await meetings(pair.b)].map(all => all.map(m => m.members.length))

async function open(t: TestContext, server: TestServer, user: Name, browser = false): Promise<Member> {
  const one = await openMember({ server, user, password: passwords[user]!, tone: tones[user], browser })
  t.after(() => one.close())
  return one
}

/** How many are in each meeting, node by node. */
async function sizesAre(expected: number[][]): Promise<void> {
  await until(async () => JSON.stringify(await sizes()) === JSON.stringify(expected))
}

async function noMeetings(): Promise<void> {
  await until(async () => (await sizes()).flat().length === 0, 8000)
}

test('who calls the group at the other node is in the same meeting, hears all, and has the whole roster', async t => {
  const [mum, dad, aunt] = [await open(t, pair.a, 'mum'), await open(t, pair.b, 'dad'), await open(t, pair.b, 'aunt')]
  assert.equal((await mum.call('family')).status, 200)
  const answer = await dad.call('family')
  assert.equal(answer.status, 200)
  assert.equal((await aunt.call('family')).status, 200)
  await sizesAre([[3], []])
  const [seen] = await meetings(pair.a)
  assert.equal(answer.header('Vaartha-Meeting'), `${seen!.id};member=2`)
  await Promise.all([mum.hears([tones.dad, tones.aunt]), dad.hears([tones.mum, tones.aunt])])
  // Roster and requests in the dialog go the same way, and back.
  assert.equal(await dad.subscribe('family'), 200)
  await dad.until(() => dad.members.size === 3, 'all three in the roster')
  assert.equal(await dad.info({ do: 'mute', member: 2 }), 200)
  await aunt.hears([tones.mum], { not: [tones.dad] })
  assert.equal(await dad.info({ do: 'lock' }), 403)
  assert.equal(await mum.info({ do: 'remove', member: 3 }), 200)
  await aunt.until(() => aunt.ended, 'its removal')
  await dad.until(() => dad.members.size === 2, 'the removal in the roster')
  await dad.hangUp()
  await until(async () => (await sizes())[0]?.[0] === 1)
  await mum.hangUp()
  await noMeetings()
  // Whoever calls next has the meeting at its own node.
  assert.equal((await dad.call('family')).status, 200)
  await sizesAre([[], [1]])
  await dad.hangUp()
  await noMeetings()
})

test('a refusal comes through: a locked meeting', async t => {
  const [mum, aunt] = [await open(t, pair.a, 'mum'), await open(t, pair.b, 'aunt')]
  assert.equal((await mum.call('family')).status, 200)
  assert.equal(await mum.info({ do: 'lock' }), 200)
  assert.equal((await aunt.call('family')).status, 403)
  await mum.hangUp()
  await noMeetings()
})

test('two who call at the same instant, each at its own node, make one meeting, ten times', async t => {
  const [mum, dad] = [await open(t, pair.a, 'mum'), await open(t, pair.b, 'dad')]
  for (let race = 0; race < 10; race++) {
    const answers = await Promise.all([mum.call('family'), dad.call('family')])
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
    )
    await until(async () => String((await sizes()).flat()) === '2')
    await Promise.all([mum.hangUp(), dad.hangUp()])
    await noMeetings()
  }
})

test('while Redis hangs, who calls at the other node is led to the meeting all the same', async t => {
  const [mum, dad, kid] = [await open(t, pair.a, 'mum'), await open(t, pair.b, 'dad'), await open(t, pair.b, 'kid')]
  assert.equal((await mum.call('family')).status, 200)
  await sizesAre([[1], []])
  process.kill(pair.redis.pid, 'SIGSTOP')
  try {
    assert.equal((await dad.call('family')).status, 200)
    await sizesAre([[2], []])
  } finally {
    process.kill(pair.redis.pid, 'SIGCONT')
  }
  assert.equal((await kid.call('family')).status, 200)
  await sizesAre([[3], []])
  for (const one of [mum, dad, kid]) await one.hangUp()
  await noMeetings()
})

test('an ad-hoc meeting is found from the other node', async t => {
  const [mum, dad] = [await open(t, pair.a, 'mum'), await open(t, pair.b, 'dad')]
  const made = await mum.call('meet')
  const user = /sip:(meet-[a-z0-9]{6})@/.exec(made.header('Contact'))?.[1]
  assert.ok(user)
  assert.equal((await dad.call(user)).status, 200)
  assert.equal(await dad.subscribe(user), 200)
  await dad.until(() => dad.members.size === 2, 'both in the roster')
  await sizesAre([[2], []])
  assert.equal((await dad.call('meet-xxxxxx')).status, 404)
  await mum.hangUp()
  await dad.hangUp()
  await noMeetings()
})

test('a roster that is followed where no meeting is follows it to the node where one begins', async t => {
  const [mum, dad] = [await open(t, pair.a, 'mum'), await open(t, pair.b, 'dad')]
  assert.equal(await dad.subscribe('family'), 200)
  await dad.until(() => dad.roster !== undefined, 'the quiet roster')
  assert.equal((await mum.call('family')).status, 200)
  await dad.until(() => dad.unsubscribed === 'deactivated', 'the end of the subscription')
  assert.equal(await dad.subscribe('family'), 200)
  await dad.until(() => dad.members.size === 1, 'the meeting')
  await mum.hangUp()
  await noMeetings()
})

test('browsers of a mesh call each other over their own nodes', async t => {
  const [mum, dad] = [await open(t, pair.a, 'mum', true), await open(t, pair.b, 'dad', true)]
  for (const one of [mum, dad]) {
    assert.equal((await one.call('family', ['Vaartha-Mesh: 1'])).status, 200)
    assert.equal(await one.subscribe('family'), 200)
  }
  await sizesAre([[2], []])
  await dad.until(() => dad.roster?.topology?.['shape'] === 'direct', 'the pair')
  const { epoch } = dad.roster!.topology!
  const [seen] = await meetings(pair.a)
  const header = `Vaartha-Mesh: ${seen!.id};epoch=${epoch};from=2;to=1`
  assert.equal((await dad.pair(dad.endpointOf('1'), header)).status, 200)
  assert.match(mum.invites[0]!.header('Vaartha-Mesh'), new RegExp(`^${seen!.id};epoch=${epoch};from=2;to=1$`))
  // What nobody wants is refused wherever it is asked, and rings nobody.
  const wrong = `Vaartha-Mesh: ${seen!.id};epoch=${epoch};from=2;to=7`
  assert.equal((await dad.pair(dad.endpointOf('1'), wrong)).status, 480)
  await dad.endPairs()
  await mum.hangUp()
  await dad.hangUp()
  await noMeetings()
})

test('the node that has the meeting is killed: it goes on at the other one, with who came through that', async t => {
  const [mum, dad] = [await open(t, pair.a, 'mum'), await open(t, pair.b, 'dad')]
  assert.equal((await mum.call('family')).status, 200)
  assert.equal((await dad.call('family')).status, 200)
  await Promise.all([mum.hears([tones.dad]), dad.hears([tones.mum])])
  // Two rosters that are followed: at the node itself, and over the other one.
  for (const one of [mum, dad]) {
    assert.equal(await one.subscribe('family'), 200)
    await one.until(() => one.members.size === 2, 'both in the roster')
  }
  const [before] = await meetings(pair.a)
  const killed = performance.now()
  await pair.a.kill()
  await mum.turnTo(pair.b)
  // Who calls in that moment waits until it is known, and comes into the same meeting.
  const kid = await open(t, pair.b, 'kid')
  assert.equal((await kid.call('family')).status, 200)
  t.diagnostic(`a third one was in ${Math.round(performance.now() - killed)} ms after the death`)
  await Promise.all([mum.hears([tones.dad, tones.kid]), dad.hears([tones.mum, tones.kid])])
  t.diagnostic(`all heard each other ${Math.round(performance.now() - killed)} ms after it`)
  const [now, ...more] = await meetings(pair.b)
  assert.deepEqual(more, [])
  assert.equal(now?.id, before?.id)
  assert.deepEqual(now?.members.map(({ id, user }) => `${id} ${user}`).toSorted(), ['1 mum', '2 dad', '3 kid'])
  // Nobody has subscribed anew.
  for (const one of [mum, dad]) await one.until(() => one.members.size === 3, 'all three in the roster')
  assert.equal(await mum.info({ do: 'mute', member: 3 }), 200)
  await dad.until(() => dad.members.get('3') === 'muted-via-focus', 'the mute in the roster')
  assert.equal(await dad.resubscribe(600), 200)
  for (const one of [mum, dad, kid]) await one.hangUp()
  await isQuiet(pair.b)
  await pair.restart(pair.a)
})

test('the node that only passed is killed: who came through it is heard, and reached as soon as it registers', async t => {
  const [mum, dad] = [await open(t, pair.a, 'mum'), await open(t, pair.b, 'dad')]
  assert.equal((await mum.call('family')).status, 200)
  assert.equal((await dad.call('family')).status, 200)
  await Promise.all([mum.hears([tones.dad]), dad.hears([tones.mum])])
  await pair.b.kill()
  await dad.turnTo(pair.a)
  await Promise.all([mum.hears([tones.dad]), dad.hears([tones.mum])])
  await until(() => /phone reached|"state":"down"/.test(pair.a.log()), 8000)
  assert.equal(await dad.info({ do: 'mute', member: 2 }), 200)
  await mum.hears([], { not: [tones.dad] })
  await dad.hangUp()
  await until(async () => (await meetings(pair.a))[0]?.members.length === 1)
  await mum.hangUp()
  await isQuiet(pair.a)
  await pair.restart(pair.b)
})

test('a recorded meeting whose node is killed is recorded on, and no part of it is lost', async t => {
  const [mum, dad] = [await open(t, pair.a, 'mum'), await open(t, pair.b, 'dad')]
  for (const one of [mum, dad]) assert.equal((await one.call('family')).status, 200)
  assert.equal(await mum.info({ do: 'record' }), 200)
  // A page of sound is written each second.
  const sizes = (node: TestServer) => {
    const directory = join(node.data, 'recordings')
    const files = existsSync(directory) ? readdirSync(directory) : []
    return files.filter(file => file.endsWith('.opus')).map(file => statSync(join(directory, file)).size)
  }
  const isWritten = (node: TestServer) => until(() => sizes(node).some(size => size > 1000), 15_000)
  await isWritten(pair.a)
  await pair.a.kill()
  for (const one of [mum, dad]) await one.turnTo(pair.b)
  await until(async () => (await meetings(pair.b))[0]?.recording === true, 15_000)
  await Promise.all([mum.hears([tones.dad]), dad.hears([tones.mum])])
  await isWritten(pair.b)
  for (const one of [mum, dad]) await one.hangUp()
  await isQuiet(pair.b)
  await pair.restart(pair.a)
  const recordings = (node: TestServer) => node.api<Recorded[]>('/api/recordings')
  for (const node of [pair.a, pair.b]) await until(async () => (await recordings(node)).length === 2, 15_000)
  const parts = await recordings(pair.a)
  assert.equal(parts[0]?.meeting, parts[1]?.meeting)
  assert.deepEqual(parts.map(({ node }) => node).toSorted(), ['a', 'b'])
  assert.deepEqual(parts[0]?.people.toSorted(), ['sip:dad@vaartha.local', 'sip:mum@vaartha.local'])
  for (const { seconds, files } of parts) assert.ok(seconds >= 1 && files.some(({ speaker }) => speaker === 'mum'))
})

test('a browser that came through the node that dies is told to come by a new way, and its media goes on', async t => {
  const [mum, dad] = [await open(t, pair.a, 'mum'), await open(t, pair.b, 'dad', true)]
  assert.equal((await mum.call('family')).status, 200)
  assert.equal((await dad.call('family', ['Vaartha-Mesh: 0'])).status, 200)
  await sizesAre([[2], []])
  await pair.b.kill()
  await dad.turnTo(pair.a)
  await dad.until(() => dad.told.some(one => one['rejoin'] === true), 'the wish to come anew')
  assert.equal((await dad.comeBack('family', ['Vaartha-Mesh: 0'])).status, 200)
  const [now] = await meetings(pair.a)
  assert.deepEqual(now?.members.map(({ id, user }) => `${id} ${user}`).toSorted(), ['1 mum', '2 dad'])
  await dad.hangUp()
  await mum.hangUp()
  await isQuiet(pair.a)
  await pair.restart(pair.b)
})

async function isQuiet(node: TestServer): Promise<void> {
  await until(async () => (await meetings(node)).length === 0, 8000)
}
