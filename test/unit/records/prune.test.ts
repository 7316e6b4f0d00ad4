import assert from 'node:assert/strict'
import { it } from 'node:test'
import { openDatabase } from '../../../src/database/database.ts'
import { createEvents } from '../../../src/events.ts'
import { createSilentLog } from '../../../src/log.ts'
import { createRecords } from '../../../src/records/records.ts'

it('removes old records by itself, and leaves the young ones', async () => {
  const database = await openDatabase(':memory:', createSilentLog())
  const now = () => Date.parse('2026-03-31T00:00:00Z')
  const records = createRecords({ database, events: createEvents(), now, everyMs: 1, historyDays: 30, pruneMs: 5 })
  const call = {
    from: 'a@home.test',
    to: 'b@home.test',
    seconds: 0,
    result: 'answered',
    status: 200,
    reason: '',
  } as const
  for (const started of ['2026-02-01T00:00:00Z', '2026-03-30T00:00:00Z']) {
    records.add({ ...call, id: started, started, ended: started, legs: [] })
  }
  // A test that never sees the old one go fails by the runner's time limit.
  const keepAlive = setInterval(() => {}, 1000)
  while ((await records.list()).length !== 1) await new Promise(setImmediate)
  clearInterval(keepAlive)
  assert.deepEqual(
    (await records.list()).map(record => record.id),
    ['2026-03-30T00:00:00Z'],
  )
  await records.close()
  await database.close()
})
