import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createLocalBus } from '../../../src/cluster/local-bus.ts'
import { createNoMembers } from '../../../src/cluster/no-members.ts'
import { createNodes } from '../../../src/cluster/nodes.ts'
import type { DrillView } from '../../../src/drill/drills.ts'
import { conclude, type DrillWish, nothingMeasured } from '../../../src/drill/report.ts'
import { createSilentLog } from '../../../src/log.ts'
import { startTestHttp, type TestHttp, token } from '../../support/http.ts'

const log = createSilentLog()
const about = { id: 'd1', how: 'kill', by: 'administrator', target: 'a<b>', conductor: 'c', seconds: 9 } as const
const began = '2026-03-01T04:00:00.000Z'
const wishes: DrillWish[] = []
let view: DrillView
let http: TestHttp

before(async () => {
  const bus = createLocalBus({ node: 'a', log })
  const places = () => ({ sip: '', http: '' })
  const members = createNoMembers({ node: 'a', life: 'a-1', roles: ['sip'], priority: 10, version: '1', places })
  const states = { joining: 0, up: 1, draining: 0, suspect: 0, down: 0 }
  const kept = { held: 0, waiting: 0, refused: 0, taken: 0 }
  const stats = () => ({ ...kept, leaseAge: 0, states, dropped: 0, leading: true, term: 1 })
  const nodes = createNodes({ members, bus, stats }, { drain: async () => undefined, undrain: () => undefined }, log)
  view = { running: null, reports: [conclude({ ...about, began }, nothingMeasured)], next: '2026-04-01T04:00:00.000Z' }
  http = await startTestHttp({
    nodes,
    drills: {
      async order(wish) {
        wishes.push(wish)
        return { id: 'd2', target: 'a', conductor: 'b' }
      },
      view: () => view,
    },
  })
})
after(() => http.close())

const page = async () => (await http.get('/status', { authorization: `Bearer ${token}` })).text()

test('nobody but an administrator breaks a node, or reads what that did', async () => {
  assert.equal((await http.get('/api/drill')).status, 401)
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"how":"kill"}' }
  assert.equal((await fetch(`${http.base}/api/drill`, post)).status, 401)
  assert.ok(!(await (await http.get('/status')).text()).includes('data-drill'))
  assert.deepEqual(wishes, [])
})

test('an order is checked and passed on', async () => {
  for (const wish of [{}, { how: 'burn' }, { how: 'kill', waitSeconds: 0 }, { how: 'kill', by: 'schedule' }]) {
    assert.equal((await http.ask('POST', '/api/drill', wish)).status, 400, JSON.stringify(wish))
  }
  const answer = await http.ask('POST', '/api/drill', { how: 'kill', target: 'a', waitSeconds: 9 })
  assert.equal(answer.status, 202)
  assert.deepEqual(await answer.json(), { id: 'd2', target: 'a', conductor: 'b' })
  assert.deepEqual(wishes, [{ how: 'kill', target: 'a', waitSeconds: 9, by: 'administrator' }])
})

test('reports are told whole, on the page too', async () => {
  assert.deepEqual(await (await http.ask('GET', '/api/drill')).json(), view)
  const text = await page()
  assert.match(text, /kill a&#60;b&#62;/)
  assert.match(text, /calls lost: 0 of 0 · /)
  assert.match(text, /The calendar wants the next one at <time datetime="2026-04-01T04/)
  assert.match(text, /data-drill="kill"/)
  const metrics = await (await http.get('/metrics')).text()
  assert.match(metrics, /^vaartha_drill_last_passed 0$/m)
  assert.match(metrics, /^vaartha_drill_last_began_seconds 1772337600$/m)
})

test('while one goes on its steps are shown in place of the buttons', async () => {
  const { how, by, id, target, conductor } = about
  view = { ...view, running: { id, how, by, target, conductor, began, steps: [{ at: 3, text: 'a is <killed>' }] } }
  const text = await page()
  assert.match(text, /<li>3 s: a is &#60;killed&#62;<\/li>/)
  assert.ok(!text.includes('data-drill="kill"'))
})

test('a node by itself says why it has none', async t => {
  const alone = await startTestHttp()
  t.after(() => alone.close())
  const answer = await alone.ask('POST', '/api/drill', { how: 'kill' })
  assert.equal(answer.status, 400)
  assert.match(((await answer.json()) as { message: string }).message, /a node by itself/)
  assert.deepEqual(await (await alone.ask('GET', '/api/drill')).json(), { running: null, reports: [], next: null })
})
