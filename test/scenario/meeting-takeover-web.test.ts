import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openBrowser, type TestBrowser } from '../support/browser.ts'
import { openMember } from '../support/member.ts'
import { type Pair, startPair, until } from '../support/pair.ts'
import { openWebPhone, type WebPhone, webUrl } from '../support/web-phone.ts'

// Two browsers and a phone in a meeting, and their node is killed, or stands still: the pages connect to the other node by
// themselves, and the meeting is whole again there.

const tones = { mum: 600, dad: 800, kid: 1000 } as const
let pair: Pair
let browser: TestBrowser
const passwords: Record<string, string> = {}

before(async () => {
  pair = await startPair()
  browser = await openBrowser()
  for (const user of Object.keys(tones)) passwords[user] = await pair.addUser(user)
  const members = ['--members', 'mum,dad,kid', '--moderators', 'mum', '--ring', 'nobody', '--no-announce']
  const { code, stderr } = await pair.a.cli('group', 'add', 'family', ...members)
  assert.equal(code, 0, stderr)
  await until(async () => (await fetch(webUrl(pair.a))).status === 200, 30_000)
})
after(async () => {
  await browser?.close()
  await pair?.close()
})

async function join(name: 'mum' | 'dad', count: number, at = pair.a): Promise<WebPhone> {
  const one = await openWebPhone(browser, at, { name, password: passwords[name]!, tone: tones[name] })
  await one.call('family')
  await one.shows(`${count} in the meeting`)
  return one
}

test('killed with SIGKILL: two browsers and a phone hear each other again at the other node', async t => {
  const mum = await join('mum', 1)
  const kid = await openMember({ server: pair.a, user: 'kid', password: passwords['kid']!, tone: tones.kid })
  t.after(() => kid.close())
  assert.equal((await kid.call('family')).status, 200)
  const dad = await join('dad', 3)
  await mum.hears([tones.dad, tones.kid])
  await dad.hears([tones.mum, tones.kid])
  await kid.hears([tones.mum, tones.dad])
  const [before] = await pair.a.api<{ id: string; members: { id: number; user: string }[] }[]>('/api/meetings')
  const killed = performance.now()
  await pair.a.kill()
  await kid.turnTo(pair.b)
  await until(async () => (await pair.b.api<unknown[]>('/api/meetings')).length === 1, 8000)
  const known = performance.now()
  await Promise.all([
    mum.hears([tones.dad, tones.kid]),
    dad.hears([tones.mum, tones.kid]),
    kid.hears([tones.mum, tones.dad]),
  ])
  const whole = performance.now()
  t.diagnostic(
    `meeting at the other node after ${Math.round(known - killed)} ms, whole ${Math.round(whole - known)} ms later`,
  )
  const [now] = await pair.b.api<{ id: string; members: { id: number; user: string }[] }[]>('/api/meetings')
  assert.equal(now?.id, before?.id)
  const entries = (seen: typeof now) => seen?.members.map(({ id, user }) => `${id} ${user}`).sort()
  assert.deepEqual(entries(now), entries(before))
  await mum.shows('3 in the meeting')
  await mum.button('Leave').click()
  await dad.shows('2 in the meeting')
})

test('stopped with SIGSTOP: a browser notices that its server does not answer, and goes on at the other node', async t => {
  await pair.restart(pair.a)
  const list = () => pair.b.api<{ id: string }[]>('/api/meetings')
  for (const { id } of await list()) await pair.b.api(`/api/meetings/${id}/end`, 'POST')
  await until(async () => (await list()).length === 0, 5000)
  const mum = await join('mum', 1, pair.b)
  const dad = await join('dad', 2, pair.b)
  await mum.hears([tones.dad])
  process.kill(pair.b.pid, 'SIGSTOP')
  const stopped = performance.now()
  try {
    await until(async () => (await pair.a.api<unknown[]>('/api/meetings')).length === 1, 20_000)
    const there = performance.now()
    await Promise.all([mum.hears([tones.dad]), dad.hears([tones.mum])])
    const heard = performance.now()
    t.diagnostic(
      `meeting at the other node after ${Math.round(there - stopped)} ms, heard ${Math.round(heard - there)} ms later`,
    )
  } finally {
    process.kill(pair.b.pid, 'SIGCONT')
  }
})
