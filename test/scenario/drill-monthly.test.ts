import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import type { DrillView } from '../../src/drill/drills.ts'
import { type Pair, startPair, until } from '../support/pair.ts'
import { createPhone } from '../support/phone.ts'
import type { TestServer } from '../support/server.ts'
import { createUdpPeer } from '../support/sip-peer.ts'

// A pair that drills by the calendar. The clock of its two servers is moved to the day and hour, and the ten minutes from one
// look at the calendar to the next pass when the test says so.

const clock = pathToFileURL(join(import.meta.dirname, '../support/moved-clock.mjs')).href
const at = (day: string) => ({ CLOCK_STARTS_AT: `${day}T04:20:00Z` })

let pair: Pair
before(async () => {
  pair = await startPair({
    settings: {
      VAARTHA_CLUSTER_DRILL: 'monthly',
      VAARTHA_CLUSTER_DRILL_HOUR: '4',
      TZ: 'UTC',
      NODE_OPTIONS: `--import=${clock}`,
      ...at('2041-03-09'),
    },
  })
})
after(() => pair?.close())

const both = () => [pair.a, pair.b]
const view = (node: TestServer) => node.api<DrillView>('/api/drill')

/** The leader keeps the calendar, so there has to be one. */
async function tenMinutesPass(): Promise<void> {
  const all = () => pair.a.api<{ state: string; load: { leads?: number } }[]>('/api/nodes')
  await until(async () => (await all()).some(({ state, load }) => state === 'up' && load.leads === 1), 30_000)
  for (const { pid } of both()) process.kill(pid, 'SIGUSR2')
}

/** Stops both servers and starts them again on that day. */
async function restart(day: string): Promise<void> {
  await Promise.all(both().map(node => node.stop()))
  await Promise.all(both().map(node => pair.restart(node, at(day))))
}

/** Waits until both have so many reports; those of the first. */
async function reports(count: number): Promise<DrillView['reports']> {
  const has = async (node: TestServer) => (await view(node)).reports.length === count
  for (const node of both()) await until(() => has(node), 90_000)
  const [here, there] = [await view(pair.a), await view(pair.b)]
  assert.deepEqual(here.reports, there.reports)
  return here.reports
}

test('in its hour of the month the active node is drained, with nobody asking, and serves again', async () => {
  for (const node of both()) assert.equal((await view(node)).next, '2041-03-09T04:00:00.000Z')
  await tenMinutesPass()
  const begun = ({ running, reports }: DrillView) => running !== null || reports.length > 0
  for (const node of both()) await until(async () => begun(await view(node)), 30_000)
  // Its test calls are no calls of people, for which the day would be skipped.
  await tenMinutesPass()
  const [report] = await reports(1)
  assert.deepEqual(
    { by: report?.by, how: report?.how, target: report?.target, conductor: report?.conductor },
    { by: 'schedule', how: 'drain', target: 'a', conductor: 'b' },
  )
  assert.deepEqual(
    report?.calls.map(({ kept }) => kept),
    [true, true, true, true],
  )
  assert.match(pair.b.log(), /"by":"schedule".*"msg":"a drill begins"/)
  assert.match(pair.a.log(), /this node drains for a drill/)
  await until(() => /this node takes new work again after a drill/.test(pair.a.log()), 30_000)
  for (const node of both()) {
    assert.equal((await view(node)).next, '2041-04-01T04:00:00.000Z')
    await until(async () => (await node.api<unknown[]>('/api/accounts')).length === 0, 30_000)
  }
})

test('there is no other one in that month, and while people talk none in the next one', async t => {
  await restart('2041-03-10')
  await tenMinutesPass()
  const { domain, ports } = pair.a
  const [ann, ben] = await Promise.all(
    ['ann', 'ben'].map(async user => {
      const password = await pair.addUser(user)
      const phone = createPhone({ peer: await createUdpPeer(ports.sip), user, domain, password })
      t.after(() => phone.peer.close())
      return phone
    }),
  )
  await tenMinutesPass()
  await restart('2041-04-01')
  await Promise.all([ann!.register(), ben!.register()])
  await Promise.all([ann!.call('ben'), ben!.answer()])
  await pair.calls(pair.a, 1, 20_000)
  await tenMinutesPass()
  const [skipped, drill] = await reports(2)
  assert.equal(skipped?.result, 'skipped')
  assert.match(skipped?.why ?? '', /^people talk at a$/)
  assert.equal(drill?.began.slice(0, 10), '2041-03-09')
  assert.match(pair.a.log() + pair.b.log(), /"why":"people talk at a".*the drill of this month is put off/)
  assert.equal((await view(pair.b)).next, '2041-04-02T04:00:00.000Z')
  await pair.calls(pair.a, 1, 20_000)
  await Promise.all([ann!.hangUp(), ben!.takeBye()])
})
