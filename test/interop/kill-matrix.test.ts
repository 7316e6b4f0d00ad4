import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { type Baresip, startBaresip } from '../support/baresip.ts'
import { type Pair, startPair, until } from '../support/pair.ts'
import { createPhone } from '../support/phone.ts'
import type { TestServer } from '../support/server.ts'
import { createUdpPeer } from '../support/sip-peer.ts'
import { secondsOf } from '../support/tone.ts'

// What breaks, in which state of a call, and what is left of it: one row each. With VAARTHA_MATRIX=write the table in
// docs/reliability.md is made anew. Two baresips, registered at both nodes, in a call whose node is `a`.

interface Row {
  state: 'ringing' | 'established' | 'on hold'
  fault: string
  /** Breaks something, and resolves with how it is mended before the next row. */
  hit(pair: Pair): Promise<() => Promise<void>> | (() => Promise<void>)
  /** Node `a` is gone, so b is to have the call. */
  moves: boolean
  /** Calls that are left; what it says is asserted. */
  left: 0 | 1
}

interface Result {
  row: Row
  left: number
  taken: string
  gap: string
  lost: number
  next: string
}

const kill = async ({ a }: Pair) => {
  await a.kill()
  return () => pair.restart(a)
}
/** Asleep for longer than its lease, so that it wakes up without its calls. */
const pause = ({ a }: Pair) => {
  process.kill(a.pid, 'SIGSTOP')
  return async () => {
    const from = pair.b.log().length
    process.kill(a.pid, 'SIGCONT')
    await until(() => /"node":"a"[^\n]*"state":"up"/.test(pair.b.log().slice(from)), 20_000)
  }
}
const hangRedis = ({ redis }: Pair) => {
  process.kill(redis.pid, 'SIGSTOP')
  return async () => void process.kill(redis.pid, 'SIGCONT')
}

const rows: Row[] = [
  // A transaction dies with its node: the caller tries again, over the other node.
  { state: 'ringing', fault: 'SIGKILL of the active node', hit: kill, moves: true, left: 0 },
  { state: 'established', fault: 'SIGKILL of the active node', hit: kill, moves: true, left: 1 },
  { state: 'on hold', fault: 'SIGKILL of the active node', hit: kill, moves: true, left: 1 },
  { state: 'established', fault: 'SIGSTOP of the active node', hit: pause, moves: true, left: 1 },
  { state: 'established', fault: 'Redis hangs', hit: hangRedis, moves: false, left: 1 },
]

let pair: Pair
const passwords: Record<string, string> = {}
const results: Result[] = []
before(async () => {
  pair = await startPair()
  for (const user of ['alice', 'bob', 'mum', 'dad']) passwords[user] = await pair.addUser(user)
})
after(async () => {
  await pair?.close()
  if (process.env['VAARTHA_MATRIX'] === 'write') write()
})

for (const row of rows) {
  test(`${row.state}, ${row.fault}: ${row.left} of 1 calls left`, async t => {
    const [mum, dad] = [await baresip('mum', 440), await baresip('dad', 660)]
    t.after(() => Promise.all([mum.close(), dad.close()]))
    await bring(row.state, mum, dad)
    const [id] = await callsAt(pair.a)
    const registered = await registrations()
    const heard = () => Math.max(0, ...dad.heard().map(sound => secondsOf(sound, 440)))
    const had = heard()
    const began = performance.now()
    const since = () => performance.now() - began
    const mend = await row.hit(pair)
    // Mended once, also when the row fails.
    let mended: Promise<void> | undefined
    const mendOnce = () => (mended ??= mend())
    t.after(mendOnce)

    const next = passes(newCall, 20_000).then(() => since())
    next.catch(() => {})
    let taken = '–'
    if (row.moves && row.left === 1) {
      await until(async () => (await callsAt(pair.b)).includes(id!), 15_000)
      taken = `${(since() / 1000).toFixed(1)} s`
    }
    const passed = await next
    await wait(Math.max(0, 5000 - since()))
    const gap = row.state === 'established' ? Math.max(0, since() / 1000 - (heard() - had)) : undefined
    const lost = registered - (await registrations())
    const left = row.left === 0 ? 0 : await hangsUp(mum, dad)
    results.push({
      row,
      left,
      taken,
      gap: gap === undefined ? '–' : gap < 0.3 ? 'none' : `${gap.toFixed(1)} s`,
      lost,
      next: `${(passed / 1000).toFixed(1)} s`,
    })
    t.diagnostic(JSON.stringify({ ...results.at(-1), row: undefined }))
    await mendOnce()
    assert.equal(left, row.left)
    assert.equal(lost, 0)
    assert.ok(gap === undefined || gap < 0.5, `a gap of ${gap} s`)
  })
}

const callsAt = async (node: TestServer) => (await node.api<{ id: string }[]>('/api/calls')).map(({ id }) => id)

function baresip(user: string, tone: number): Promise<Baresip> {
  const { domain, ports } = pair.a
  const account = `;sipnat=outbound;outbound2="sip:127.0.0.1:${pair.b.ports.sip}"`
  const server = `127.0.0.1:${ports.sip}`
  return startBaresip({ user, password: passwords[user]!, domain, server, tone, account })
}

async function bring(state: Row['state'], mum: Baresip, dad: Baresip): Promise<void> {
  await until(async () => (await registrations()) >= 4, 10_000)
  await mum.command('dial', `sip:dad@${pair.a.domain}`)
  await dad.event('CALL_INCOMING')
  if (state === 'ringing') return
  await dad.command('accept')
  await Promise.all([mum.event('CALL_ESTABLISHED'), dad.event('CALL_ESTABLISHED')])
  await until(() => Math.max(0, ...dad.heard().map(sound => secondsOf(sound, 440))) > 1, 10_000)
  if (state !== 'on hold') return
  await mum.command('hold')
  await dad.printed(/a=(?:sendonly|inactive)/)
}

/** Bindings of the two in the call that the standby knows. */
async function registrations(): Promise<number> {
  const page = JSON.stringify(await pair.b.api('/api/registrations'))
  return (page.match(/"contact":"sip:(?:mum|dad)[-@]/g) ?? []).length
}

/** Tries as people do, again and again. */
async function passes(work: () => Promise<void>, ms: number): Promise<void> {
  for (const late = performance.now() + ms; ; ) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() > late) throw error
    }
  }
}

/** Two phones without a past register at the standby, and one calls the other. */
async function newCall(): Promise<void> {
  const { domain, ports } = pair.b
  const make = async (user: string) =>
    createPhone({ peer: await createUdpPeer(ports.sip), user, domain, password: passwords[user]! })
  const [alice, bob] = [await make('alice'), await make('bob')]
  try {
    for (const phone of [alice, bob]) assert.equal((await phone.register(600, 10_000)).status, 200)
    const [answer] = await Promise.all([alice.call('bob'), bob.answer()])
    assert.equal(answer.status, 200)
    await Promise.all([alice.hangUp(), bob.takeBye()])
    for (const phone of [alice, bob]) await phone.register(0, 10_000)
  } finally {
    for (const { peer } of [alice, bob]) peer.close()
  }
}

/** 1 when the one hears that the other has hung up. */
async function hangsUp(mum: Baresip, dad: Baresip): Promise<number> {
  await mum.command('hangup')
  return dad.event('CALL_CLOSED', 15_000).then(
    () => 1,
    () => 0,
  )
}

function write(): void {
  const file = join(resolve(import.meta.dirname, '../..'), 'docs/reliability.md')
  const text = readFileSync(file, 'utf8')
  const lines = results.map(
    ({ row, left, taken, gap, lost, next }) =>
      `| ${row.state} | ${row.fault} | 1 | ${left} | ${taken} | ${gap} | ${lost} | ${next} |`,
  )
  const head = [
    '| state of the call | what breaks | calls | left | taken over | audio gap | registrations lost | new call has passed |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
  ]
  const [start, end] = ['<!-- matrix -->\n', '\n<!-- end of matrix -->']
  const [from, to] = [text.indexOf(start), text.indexOf(end)]
  assert.ok(from >= 0 && to > from)
  writeFileSync(file, `${text.slice(0, from + start.length)}${[...head, ...lines].join('\n')}${text.slice(to)}`)
}
