import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createLocalBus } from '../../../src/cluster/local-bus.ts'
import { createNoMembers } from '../../../src/cluster/no-members.ts'
import { createNodes } from '../../../src/cluster/nodes.ts'
import { createSilentLog } from '../../../src/log.ts'
import { startTestHttp, type TestHttp } from '../../support/http.ts'

let http: TestHttp
let drains = 0
let undrains = 0
const members = createNoMembers({
  node: 'a',
  life: 'a-1',
  roles: ['sip'],
  priority: 10,
  version: '1.2.3',
  places: () => ({ sip: '192.0.2.1:5060', http: '' }),
})
before(async () => {
  const bus = createLocalBus({ node: 'a', log: createSilentLog() })
  members.onBeat(() => ({ calls: 7 }))
  const stats = () => ({
    ...{ leaseAge: 250, states: { joining: 0, up: 1, draining: 0, suspect: 0, down: 2 }, dropped: 3 },
    ...{ held: 4, waiting: 5, refused: 6, taken: 7, leading: true, term: 8 },
  })
  const drain = async () => {
    drains++
  }
  const undrain = () => void undrains++
  const nodes = createNodes({ members, bus, stats }, { drain, undrain }, createSilentLog())
  http = await startTestHttp({ nodes })
})
after(() => http.close())

test('the administrator reads who is there', async () => {
  assert.equal((await http.get('/api/nodes')).status, 401)
  const response = await http.ask('GET', '/api/nodes')
  const [node] = (await response.json()) as Record<string, unknown>[]
  assert.equal(node?.['node'], 'a')
  assert.equal(node?.['state'], 'up')
  assert.deepEqual(node?.['load'], { calls: 7 })
  const page = await (await http.get('/status', { authorization: `Bearer ${'a'.repeat(64)}` })).text()
  assert.match(page, /Nodes.*calls 7/s)
})

test('a node is told to drain and to serve again, and another one is not found', async () => {
  assert.equal((await http.ask('POST', '/api/nodes/b/drain')).status, 404)
  const response = await http.ask('POST', '/api/nodes/a/drain')
  assert.deepEqual(await response.json(), { node: 'a', state: 'draining' })
  assert.equal(drains, 1)
  assert.equal(members.self().state, 'draining')
  assert.equal((await http.ask('DELETE', '/api/nodes/b/drain')).status, 404)
  assert.deepEqual(await (await http.ask('DELETE', '/api/nodes/a/drain')).json(), { node: 'a', state: 'up' })
  assert.equal(undrains, 1)
  assert.equal(members.self().state, 'up')
})

test('figures of the cluster', async () => {
  const text = await (await http.get('/metrics')).text()
  for (const line of [
    'vaartha_cluster_nodes{state="down"} 2',
    'vaartha_cluster_lease_age_seconds 0.25',
    'vaartha_kept_refused 6',
    'vaartha_cluster_term 8',
  ]) {
    assert.ok(text.includes(line), line)
  }
})
