import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import type { DrillView } from '../../src/drill/drills.ts'
import type { DrillReport } from '../../src/drill/report.ts'
import { openBrowser } from '../support/browser.ts'
import { type Pair, startPair, until } from '../support/pair.ts'
import { createPhone } from '../support/phone.ts'
import type { TestServer } from '../support/server.ts'
import { createUdpPeer } from '../support/sip-peer.ts'

// A pair that is drained and killed by its own drill, as an administrator has it done. How long things take is for the
// report to say; what has to hold on the busiest machine is asserted here.

let pair: Pair
before(async () => {
  pair = await startPair()
})
after(() => pair?.close())

const view = (node: TestServer) => node.api<DrillView>('/api/drill')

/** Waits for a step of the drill that goes on; a server answers no more than some requests a second for minutes. */
async function step(node: TestServer, pattern: RegExp): Promise<void> {
  for (const late = performance.now() + 60_000; ; await wait(100)) {
    const { running } = await view(node)
    if (running?.steps.some(({ text }) => pattern.test(text))) return
    if (performance.now() > late) throw new Error(`no step ${pattern}: ${JSON.stringify(running)}`)
  }
}

function isWhole(
  { id, calls, noRelay, records, failBackMs, newCallMs, registerMs }: DrillReport,
  target: string,
): void {
  const what = `drill ${id} of ${target}`
  assert.equal(noRelay, '', what)
  assert.deepEqual(calls.map(call => call.media).toSorted(), ['direct', 'direct', 'direct', 'relay'], what)
  for (const call of calls) {
    assert.ok(call.kept, what)
    assert.ok(call.takenMs !== null, what)
    if (call.media === 'direct') assert.equal(call.gapMs, 0, what)
  }
  // One more through the node that has come back.
  assert.deepEqual(records, { wanted: 5, here: 5, there: 5 }, what)
  assert.ok(registerMs !== null && newCallMs !== null && failBackMs !== null, what)
}

/** The same report at both nodes, and nothing that it needed is left at either. */
async function isEverywhere(id: string): Promise<void> {
  for (const node of [pair.a, pair.b]) {
    await until(async () => (await view(node)).reports.some(report => report.id === id), 20_000)
    await until(async () => (await node.api<unknown[]>('/api/accounts')).length === 0, 10_000)
    await until(
      async () => (await node.api<{ bindings: unknown[] }>('/api/registrations')).bindings.length === 0,
      10_000,
    )
    await pair.calls(node, 0, 20_000)
  }
}

test('the button of the page drains the active node, and shows each step and what was found', async t => {
  const browser = await openBrowser()
  t.after(() => browser.close())
  const { link } = await pair.b.api<{ link: string }>('/api/admin/link', 'POST')
  const { page } = await browser.open(link, 0)
  await page.click('button[type=submit]')
  page.on('dialog', dialog => void dialog.accept())
  await page.click('[data-drill=drain]')
  await page.waitForSelector('#drill li', { timeout: 20_000 })
  assert.match((await page.textContent('#drill')) ?? '', /drain a, conducted by b/)
  await page.waitForSelector('#drill tbody tr', { timeout: 60_000 })
  const [report] = (await view(pair.b)).reports
  t.diagnostic(JSON.stringify(report?.verdict.map(({ what, found }) => `${what}: ${found}`)))
  isWhole(report!, 'a')
  assert.equal(report?.how, 'drain')
  assert.match(
    (await page.textContent('#drill tbody')) ?? '',
    new RegExp(`drain a.*${report?.result}.*calls lost: 0 of 4`, 's'),
  )
  await isEverywhere(report!.id)
})

test('the command kills the active node: its calls go on, and when it is back calls pass through it', async t => {
  const going = pair.b.cli('drill', 'failover', '--wait', '120', '--json')
  await step(pair.b, /waiting for a/)
  const again = await pair.b.cli('drill', 'failover')
  assert.match(again.stderr, /a drill begins only while all are up|a drill of a goes on/)
  assert.equal(again.code, 1)
  await pair.restart(pair.a)
  const { code, stdout, stderr } = await going
  const report = JSON.parse(stdout) as DrillReport
  t.diagnostic(JSON.stringify(report.verdict.map(({ what, found }) => `${what}: ${found}`)))
  isWhole(report, 'a')
  assert.ok(report.deadMs !== null)
  assert.equal(code, report.result === 'passed' ? 0 : 1)
  assert.match(stderr, /b conducts the drill: kill a\n.*a is killed.*waiting for a/s)
  await isEverywhere(report.id)
  assert.match(pair.a.log(), /"conductor":"b".*this node is killed by a drill/)
  assert.match(pair.b.log(), /an administrator has ordered a drill/)
  const told = await pair.a.cli('drill', 'report')
  assert.match(told.stdout, /^kill a, conducted by b, .*calls lost +0 of 4 +0 +yes/s)
  const metrics = await (await fetch(`http://127.0.0.1:${pair.a.ports.http}/metrics`)).text()
  assert.match(metrics, /vaartha_drill_last_calls_lost 0/)
})

test('a drained node whose conductor dies serves again at once, and nothing of the drill is left', async () => {
  const going = pair.a.cli('drill', 'failover', '--drain')
  const over = going.then(({ stderr }) => assert.fail(`it is over too early: ${stderr}`))
  await Promise.race([step(pair.b, /a drains/), over])
  over.catch(() => undefined)
  await pair.b.kill()
  const { code, stdout } = await going
  assert.match(stdout, /BROKEN: its conductor b died/)
  assert.equal(code, 1)
  const nodes = () => pair.a.api<{ node: string; state: string }[]>('/api/nodes')
  await until(async () => (await nodes()).some(({ node, state }) => node === 'a' && state === 'up'), 10_000)
  await pair.restart(pair.b)
  await isEverywhere((await view(pair.a)).reports[0]!.id)
})

test('a node that is not there, and one that drains, are no matter for a drill', async t => {
  const unknown = await pair.a.cli('drill', 'failover', '--node', 'c')
  assert.match(unknown.stderr, /^vaartha: there is no node c\n$/)
  await pair.a.api('/api/nodes/b/drain', 'POST')
  t.after(() => pair.a.api('/api/nodes/b/drain', 'DELETE'))
  await until(async () =>
    (await pair.a.api<{ state: string }[]>('/api/nodes')).some(({ state }) => state === 'draining'),
  )
  const drained = await pair.a.cli('drill', 'failover')
  assert.match(drained.stderr, /node b is draining: a drill begins only while all are up/)
  assert.equal(drained.code, 1)
})

test('where nothing is kept of calls, people who talk keep a node from being killed', async t => {
  const none = await startPair({ settings: { VAARTHA_CLUSTER_REPLICATION: 'none' } })
  t.after(() => none.close())
  const { domain, ports } = none.a
  const phones = await Promise.all(
    ['ann', 'ben'].map(async user => {
      const password = await none.addUser(user)
      const phone = createPhone({ peer: await createUdpPeer(ports.sip), user, domain, password })
      t.after(() => phone.peer.close())
      await phone.register()
      return phone
    }),
  )
  const [ann, ben] = phones
  await Promise.all([ann?.call('ben'), ben?.answer()])
  await none.calls(none.a, 1)
  const { code, stderr } = await none.b.cli('drill', 'failover')
  assert.equal(code, 1)
  assert.match(stderr, /replication is none, so what goes on at a would be lost \(calls: 1, meetings: 0\)/)
  await none.calls(none.a, 1)
  await Promise.all([ann?.hangUp(), ben?.takeBye()])
})
