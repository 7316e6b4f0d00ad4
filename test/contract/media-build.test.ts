import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { it } from 'node:test'
import { promisify } from 'node:util'
import { trial } from '../../src/media/worker/find.ts'
import { realWorker } from '../support/media-worker.ts'

const main = resolve(import.meta.dirname, '../../src/main.ts')

it('`vaartha media build` prints the path of a worker that runs, the same that the server finds', async () => {
  const worker = await realWorker()
  const { stdout } = await promisify(execFile)(process.execPath, [main, 'media', 'build'])
  assert.equal(stdout, `${worker}\n`)
  assert.equal(await trial(worker, process.env), undefined)
})
