import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { until } from '../../support/pair.ts'
import { type Fault, faults } from './faults.ts'
import { callsAt, type Ground, historyAt, makeGround, meetingsAt } from './ground.ts'
import { knows, type Live, type State, states } from './states.ts'
import { lineOf, type Result, writeTable } from './table.ts'
import { webStates } from './web-states.ts'

// Each fault hits calls in all states at the same time, and then meetings of browsers, which take all of two cores by
// themselves; a row is one fault and one state. VAARTHA_MATRIX says which:
// `quick`, the ones of `npm test`, `all`, `write` to have the table made anew as well, or parts of faults' names.

const which = process.env['VAARTHA_MATRIX'] ?? 'quick'
const quick = ['SIGKILL of the active node', 'partition between the nodes', 'Redis hangs']
const wanted = faults.filter(({ name }) =>
  which === 'quick'
    ? quick.includes(name)
    : ['all', 'write'].includes(which) || which.split('|').some(part => name.includes(part)),
)
const chosen = [...states, ...webStates].filter(
  ({ name, web }) => (process.env['VAARTHA_STATES'] ?? name).split(',').includes(name) && !(web && which === 'quick'),
)

/** What is lost by design: a transaction dies with its node, and the caller tries again over the other one. */
const lostWithNode = new Set(['ringing', 'early media'])
/** Sound is judged so long; a page takes up to six seconds to notice that its server has fallen silent. */
const judgedSeconds = (up: readonly Up[]) => (up.some(({ state }) => state.web) ? 10 : 6)
const mostGap: Record<string, number> = {
  established: 1,
  'meeting of phones': 5.9,
  'mesh of browsers': 3,
  'browsers and a phone in the SFU': 9,
}
/** Of the sound, where each network in between loses 10 %, and a stretch with a hole may count as none. */
const mostPart = 0.6

let ground: Ground | undefined
const results: Result[] = []
after(async () => {
  await ground?.close()
  if (which === 'write') writeTable(results)
})

/** Faults that need the same ground stand together, so each of the two is made once. */
async function groundFor({ media = false }: Fault): Promise<Ground> {
  if (ground !== undefined && (ground.media !== undefined) === media) return ground
  await ground?.close()
  ground = undefined
  ground = await makeGround({
    users: chosen.flatMap(({ users }) => users),
    groups: chosen.flatMap(({ group, users, quiet = false }) =>
      group === undefined ? [] : [{ name: group, members: users, quiet }],
    ),
    media,
  })
  return ground
}

const rounds = wanted.flatMap(fault => [
  { fault, name: fault.name, fitting: chosen.filter(({ web }) => !web) },
  { fault, name: `${fault.name}, browsers`, fitting: chosen.filter(({ web }) => web && fault.web) },
])

for (const { fault, name, fitting } of rounds.filter(one => one.fitting.length > 0)) {
  test(name, { timeout: 300_000 }, async t => {
    const ground = await groundFor(fault)
    t.after(() => ground.closePhones())
    await ground.settled()
    await fault.prepare?.(ground)
    const brought = await Promise.allSettled(
      fitting.map(async (state): Promise<Up> => ({ state, live: await state.bring(ground) })),
    )
    const up = brought.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
    // A row that cannot be made fails by itself.
    for (const [i, one] of brought.entries())
      if (one.status === 'rejected') await t.test(fitting[i]!.name, () => Promise.reject(one.reason))
    await fault.ready?.(ground)
    const rows = await hit(ground, fault, up)
    for (const row of rows) {
      t.diagnostic(lineOf(row))
      results.push(row)
      await t.test(row.state, () => holds(fault, row))
    }
    let clean = false
    await t.test('nothing is left over, each call is ended once and recorded once', async () => {
      for (const [i, { live }] of up.entries()) {
        const byes = live.byes?.() ?? 1
        assert.ok(rows[i]!.left ? byes === 1 : byes <= 1, `${rows[i]!.state} was ended by ${byes} BYEs`)
      }
      await isClean(ground, up)
      clean = true
    })
    // The next fault is judged by itself.
    if (!clean) await startAnew(ground)
  })
}

interface Up {
  state: State
  live: Live
}

/** Breaks it, measures, carries on, and mends. */
async function hit(ground: Ground, fault: Fault, up: readonly Up[]): Promise<Result[]> {
  const users = up.flatMap(({ live }) => live.phones.map(({ user }) => user))
  const registered = await ground.bindings(ground.pair.b, users)
  const missed = () => Promise.all(up.map(({ live }) => live.missed?.()))
  const before = await missed()
  const began = performance.now()
  const since = () => (performance.now() - began) / 1000
  const mend = await fault.hit(ground)
  try {
    for (const { live } of up) live.broken?.()
    const next = passes(() => ground.newCall(fault.lossy), 30_000).then(since, () => Infinity)
    const taken = await Promise.all(
      up.map(async ({ state, live: { ids } }) => {
        if (!fault.moves || lostWithNode.has(state.name)) return undefined
        const found = until(() => knows(ground, 'b', ids), 15_000)
        return found.then(since, () => Infinity)
      }),
    )
    const passed = await next
    await wait(Math.max(0, judgedSeconds(up) - since()) * 1000)
    const judged = since()
    const after = await missed()
    const gaps = after.map((all, i) => all && Math.max(0, ...all.map((now, k) => now - before[i]![k]!)))
    const lost = registered - (await ground.bindings(ground.pair.b, users))
    const patience = ({ state }: Up) => (fault.moves && lostWithNode.has(state.name) ? 5000 : 15_000)
    const ends = await Promise.allSettled(up.map(one => one.live.finish(patience(one))))
    return up.map(({ state }, i) => {
      const end = ends[i]!
      return {
        fault: fault.name,
        state: state.name,
        left: end.status === 'fulfilled',
        why: end.status === 'rejected' ? (end.reason as Error) : undefined,
        taken: taken[i],
        gap: gaps[i],
        part: fault.lossy && gaps[i] !== undefined ? gaps[i] / judged : undefined,
        lost,
        next: passed,
      }
    })
  } finally {
    await mend()
  }
}

function holds(fault: Fault, row: Result): void {
  const left = !(fault.moves && lostWithNode.has(row.state))
  if (left && row.why) throw row.why
  assert.equal(row.left, left, 'a call that was to be lost is left')
  assert.equal(row.lost, 0)
  assert.ok(row.next < 20)
  assert.ok((row.taken ?? 0) < 15)
  if (row.part !== undefined) assert.ok(row.part < mostPart, `${row.part} of the sound are missing`)
  else assert.ok((row.gap ?? 0) < (mostGap[row.state] ?? 0.1), `a gap of ${row.gap} s`)
}

async function isClean(ground: Ground, up: readonly Up[]): Promise<void> {
  await Promise.all([ground.closePhones(), ...up.map(({ live }) => live.close?.())])
  const { a, b } = ground.pair
  for (const [name, node] of Object.entries({ a, b })) {
    const isEmpty = async () => [...(await callsAt(node)), ...(await meetingsAt(node))].length === 0
    const left = () => Promise.all(['/api/calls', '/api/meetings'].map(path => node.api(path)))
    await until(isEmpty, 40_000).catch(async () => assert.fail(`${name} still has ${JSON.stringify(await left())}`))
  }
  const ids = up
    .filter(({ state }) => state.group === undefined && !lostWithNode.has(state.name))
    .flatMap(({ live }) => live.ids)
  for (const node of [a, b]) {
    await until(async () => {
      const recorded = await historyAt(node)
      return ids.every(id => recorded.includes(id))
    }, 20_000)
    const recorded = await historyAt(node)
    for (const id of ids) assert.equal(recorded.filter(one => one === id).length, 1, `${id} is recorded once`)
  }
}

async function startAnew({ pair }: Ground): Promise<void> {
  for (const node of [pair.a, pair.b]) {
    await node.stop()
    await pair.restart(node)
  }
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
