import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openBrowser, type TestBrowser } from '../support/browser.ts'
import { openMember } from '../support/member.ts'
import { type Pair, startPair, until } from '../support/pair.ts'
import { openWebPhone, type WebPhone, webUrl } from '../support/web-phone.ts'

// Two browsers and a phone in a meeting, and their node is killed: the pages connect to the other node by themselves, and
// the meeting is whole again there.

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

async function join(name: 'mum' | 'dad', count: number): Promise<WebPhone> {
  const one = await openWebPhone(browser, pair.a, { name, password: passwords[name]!, tone: tones[name] })
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
