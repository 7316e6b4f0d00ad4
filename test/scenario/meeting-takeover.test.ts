import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Baresip, startBaresip } from '../support/baresip.ts'
import { type Member, openMember } from '../support/member.ts'
import { type Pair, startPair, until } from '../support/pair.ts'
import type { TestServer } from '../support/server.ts'
import { secondsOf } from '../support/tone.ts'

// Two nodes and one Redis: the node that has a meeting is killed, and the meeting goes on at the other with the same members.

interface Seen {
  id: string
  since: string
  locked: boolean
  members: { id: number; user: string; since: string; muted: boolean }[]
}

const tones = { mum: 500, dad: 700, aunt: 1100 } as const
const kidTone = 900
let pair: Pair
const passwords: Record<string, string> = {}

before(async () => {
  pair = await startPair()
  for (const user of [...Object.keys(tones), 'kid']) passwords[user] = await pair.addUser(user)
  const { code, stderr } = await pair.a.cli(
    'group',
    'add',
    'family',
    '--members',
    'mum,dad,kid',
    '--moderators',
    'mum',
    '--no-announce',
  )
  assert.equal(code, 0, stderr)
})
after(() => pair?.close())

const meetings = (node: TestServer) => node.api<Seen[]>('/api/meetings')
const phone = (server: TestServer, user: keyof typeof tones) =>
  openMember({ server, user, password: passwords[user]!, tone: tones[user] })

/** Mum and dad as phones of our own and the kid as a baresip, in a meeting at the first node. */
async function meet(): Promise<{ mum: Member; dad: Member; kid: Baresip; seen: Seen }> {
  const [mum, dad] = [await phone(pair.a, 'mum'), await phone(pair.a, 'dad')]
  const kid = await startBaresip({
    user: 'kid',
    password: passwords['kid']!,
    domain: pair.a.domain,
    server: `127.0.0.1:${pair.a.ports.sip}`,
    tone: kidTone,
    answer: 'auto',
  })
  assert.equal((await mum.call('family')).status, 200)
  await Promise.all([mum.hears([tones.dad, kidTone]), dad.hears([tones.mum, kidTone])])
  const [seen] = await meetings(pair.a)
  return { mum, dad, kid, seen: seen! }
}

const byMember = (one: { id: number }, other: { id: number }) => one.id - other.id
const ended = (node: TestServer) =>
  node
    .log()
    .split('\n')
    .filter(line => line.includes('"meeting ended"')).length

test('killed with SIGKILL: all hear each other again at the other node, with the same entries, and hang up properly', async t => {
  const { mum, dad, kid, seen } = await meet()
  t.after(() => {
    for (const one of [mum, dad]) one.close()
    kid.kill()
  })
  assert.equal(await mum.info({ do: 'lock' }), 200)
  await until(async () => (await meetings(pair.a))[0]?.locked === true)
  const killed = performance.now()
  await pair.a.kill()
  for (const one of [mum, dad]) await one.turnTo(pair.b)
  await until(async () => (await meetings(pair.b)).length === 1, 8000)
  const known = performance.now()
  await Promise.all([mum.hears([tones.dad, kidTone]), dad.hears([tones.mum, kidTone])])
  const heard = performance.now()
  t.diagnostic(
    `meeting at the other node after ${Math.round(known - killed)} ms, all hear each other after ${Math.round(heard - killed)} ms`,
  )
  const [now] = await meetings(pair.b)
  assert.ok(now)
  assert.equal(now.id, seen.id)
  assert.equal(now.since, seen.since)
  assert.equal(now.locked, true)
  const entries = ({ members }: Seen) => members.map(({ id, user, since }) => ({ id, user, since })).toSorted(byMember)
  assert.deepEqual(entries(now), entries(seen))
  const before = Math.max(...kid.heard().map(sound => secondsOf(sound, tones.dad)), 0)
  await until(() => Math.max(...kid.heard().map(sound => secondsOf(sound, tones.dad))) > before + 1, 8000)

  // It is a meeting as any other: roster, mute, and the end of it.
  assert.equal(await mum.subscribe('family'), 200)
  await mum.until(() => mum.members.size === 3, 'all three in the roster')
  const dads = seen.members.find(({ user }) => user === 'dad')!.id
  assert.equal(await mum.info({ do: 'mute', member: dads }), 200)
  await mum.hears([kidTone], { not: [tones.dad] })
  await dad.hangUp()
  await mum.until(() => mum.members.size === 2, 'dad’s leaving')
  assert.equal(await mum.info({ do: 'end' }), 200)
  await mum.until(() => mum.ended, 'the end')
  await kid.event('CALL_CLOSED', 10_000)
  await until(async () => (await meetings(pair.b)).length === 0)
  assert.equal(ended(pair.b), 1)
  await pair.restart(pair.a)
})

test('who hangs up before anybody knows of the death is heard, and the others stay', async t => {
  const { mum, dad, kid, seen } = await meet()
  t.after(() => {
    for (const one of [mum, dad]) one.close()
    kid.kill()
  })
  await pair.a.kill()
  for (const one of [mum, dad]) await one.turnTo(pair.b)
  await dad.hangUp()
  await until(async () => (await meetings(pair.b))[0]?.members.length === 2, 8000)
  await mum.hears([kidTone], { not: [tones.dad] })
  const [now] = await meetings(pair.b)
  assert.equal(now?.id, seen.id)
  await mum.hangUp()
  await kid.command('hangup')
  await until(async () => (await meetings(pair.b)).length === 0, 8000)
  await pair.restart(pair.a)
})

test('a lazy group: its meeting comes when somebody in it asks for something', async t => {
  const { code, stderr } = await pair.a.cli('group', 'add', 'later', '--members', 'mum,dad', '--replication', 'lazy')
  assert.equal(code, 0, stderr)
  const [mum, dad] = [await phone(pair.a, 'mum'), await phone(pair.a, 'dad')]
  t.after(() => {
    for (const one of [mum, dad]) one.close()
  })
  assert.equal((await mum.call('later')).status, 200)
  await Promise.all([mum.hears([tones.dad]), dad.hears([tones.mum])])
  await pair.a.kill()
  for (const one of [mum, dad]) await one.turnTo(pair.b)
  await until(() => /"state":"down"/.test(pair.b.log()))
  assert.equal((await meetings(pair.b)).length, 0)
  assert.equal(await mum.info({ do: 'mute', member: 1 }), 200)
  await mum.hears([tones.dad])
  assert.equal(await mum.info({ do: 'unmute', member: 1 }), 200)
  await dad.hears([tones.mum])
  await mum.hangUp()
  await dad.hangUp()
  await until(async () => (await meetings(pair.b)).length === 0, 8000)
  await pair.restart(pair.a)
})

test('a node that wakes up late lets go of its meeting without a word', async t => {
  const { mum, dad, kid, seen } = await meet()
  t.after(() => {
    for (const one of [mum, dad]) one.close()
    kid.kill()
  })
  const before = ended(pair.a)
  process.kill(pair.a.pid, 'SIGSTOP')
  for (const one of [mum, dad]) await one.turnTo(pair.b)
  await until(async () => (await meetings(pair.b))[0]?.id === seen.id, 12_000)
  await Promise.all([mum.hears([tones.dad, kidTone]), dad.hears([tones.mum, kidTone])])
  process.kill(pair.a.pid, 'SIGCONT')
  await until(async () => (await meetings(pair.a)).length === 0, 8000)
  assert.equal(ended(pair.a), before)
  assert.equal(mum.ended || dad.ended, false)
  await Promise.all([mum.hears([tones.dad, kidTone]), dad.hears([tones.mum, kidTone])])
  await mum.hangUp()
  await dad.hangUp()
  await kid.command('hangup')
  await until(async () => (await meetings(pair.b)).length === 0, 8000)
})
