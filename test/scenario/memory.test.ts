import assert from 'node:assert/strict'
import { test } from 'node:test'
import { residentBytes } from '../bench/support/processes.ts'
import { startVaartha } from '../support/server.ts'

// What a home pays for a server that waits for calls. The first start may find sources that were never compiled.

test('a server that has started holds less than 120 MB', async t => {
  const server = await startVaartha()
  t.after(() => server.close())
  await server.stop()
  await server.restart()
  const megabytes = residentBytes(server.pid) / 1e6
  assert.ok(megabytes < 120, `${megabytes.toFixed(0)} MB`)
})
