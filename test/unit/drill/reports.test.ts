import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { noDrills } from '../../../src/drill/drills.ts'
import { type DrillReport, nothingMeasured } from '../../../src/drill/report.ts'
import { createReports } from '../../../src/drill/reports.ts'
import { Refusal } from '../../../src/errors.ts'
import { createSilentLog } from '../../../src/log.ts'

const report = (day: number, result: DrillReport['result'] = 'passed'): DrillReport => ({
  ...{ id: `${result}-${day}`, how: 'drain', by: 'schedule', target: 'a', conductor: 'b', seconds: 9 },
  began: new Date(Date.UTC(2026, 0, day)).toISOString(),
  ...{ ...nothingMeasured, result, why: '', verdict: [] },
})

test('reports outlive a start, newest first, each once, and of the skipped ones only the last', t => {
  const directory = mkdtempSync(join(tmpdir(), 'vaartha-drills-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const open = () =>
    createReports({ file: join(directory, 'drills.json'), redis: undefined, prefix: 'x', log: createSilentLog() })
  const first = open()
  assert.deepEqual(first.list(), [])
  for (const one of [report(2), report(1), report(2), report(3, 'skipped'), report(4, 'skipped')]) first.take(one)
  const ids = ['skipped-4', 'passed-2', 'passed-1']
  assert.deepEqual(first.list().map(one => one.id), ids) // biome-ignore format: one line
  assert.deepEqual(open().list(), first.list())
  for (let day = 10; day < 60; day++) first.take(report(day))
  assert.equal(open().list().length, 24)
  assert.equal(first.list()[0]?.id, 'passed-59')
  writeFileSync(join(directory, 'drills.json'), '{"half"')
  assert.deepEqual(open().list(), [])
  writeFileSync(join(directory, 'drills.json'), '[{"id":"of another version"}]')
  assert.deepEqual(open().list(), [])
})

test('a node by itself refuses drills', async () => {
  await assert.rejects(
    noDrills.order({ how: 'kill', by: 'administrator' }),
    (error: unknown) => error instanceof Refusal && error.code === 'bad-request' && /by itself/.test(error.message),
  )
})
