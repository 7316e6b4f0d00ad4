import assert from 'node:assert/strict'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openMember } from '../support/member.ts'
import { type Pair, startPair, until } from '../support/pair.ts'
import type { TestServer } from '../support/server.ts'

// A call of two phones is recorded, and its node is killed.

interface Recorded {
  meeting: string
  node: string
  seconds: number
  files: { speaker: string }[]
}

const tones = { mum: 500, dad: 700 } as const
let pair: Pair

before(async () => {
  pair = await startPair({ settings: { VAARTHA_CALLS_RECORD: 'everybody' } })
})
after(() => pair?.close())

test('the other node records on without a new tone, and the first part is listed when its node is there again', async t => {
  const open = async (user: keyof typeof tones) => {
    const one = await openMember({ server: pair.a, user, password: await pair.addUser(user), tone: tones[user] })
    t.after(() => one.close())
    return one
  }
  const [mum, dad] = [await open('mum'), await open('dad')]
  assert.equal((await mum.call('dad')).status, 200)
  await Promise.all([mum.hears([tones.dad]), dad.hears([tones.mum])])
  await mum.press('*9')
  const directory = join(pair.a.data, 'recordings')
  const sizes = () => (existsSync(directory) ? readdirSync(directory) : []).map(file => join(directory, file))
  await until(() => sizes().some(file => file.endsWith('.opus') && statSync(file).size > 1000), 20_000)
  await pair.a.kill()
  for (const one of [mum, dad]) await one.turnTo(pair.b)
  await pair.calls(pair.b, 1, 15_000)
  await until(async () => (await pair.b.api<{ recording: boolean }[]>('/api/calls'))[0]?.recording === true, 15_000)
  const began = performance.now()
  await Promise.all([mum.hears([tones.dad]), dad.hears([tones.mum])])
  t.diagnostic(`longest time without the other one’s voice since then: ${mum.longestWithout(tones.dad, began)} ms`)
  const own = join(pair.b.data, 'recordings')
  await until(() => existsSync(own) && readdirSync(own).some(file => statSync(join(own, file)).size > 1000), 15_000)
  await mum.hangUp()
  await pair.calls(pair.b, 0, 8000)
  await pair.restart(pair.a)
  const recordings = (node: TestServer) => node.api<Recorded[]>('/api/recordings')
  for (const node of [pair.a, pair.b]) await until(async () => (await recordings(node)).length === 2, 15_000)
  const parts = await recordings(pair.b)
  assert.equal(parts[0]?.meeting, parts[1]?.meeting)
  assert.deepEqual(parts.map(({ node }) => node).toSorted(), ['a', 'b'])
  for (const { seconds, files } of parts) assert.ok(seconds >= 1 && files.some(({ speaker }) => speaker === ''))
})
