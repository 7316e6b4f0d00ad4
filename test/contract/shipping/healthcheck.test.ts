import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'

const script = resolve(import.meta.dirname, '../../../docker/healthcheck.mjs')

/** Runs the health check as the container does; its exit code is 0 for healthy. `run` is what the server left behind. */
async function check(run: object | undefined, settings: Record<string, string> = {}): Promise<number> {
  const data = mkdtempSync(join(tmpdir(), 'vaartha-health-'))
  const config = join(data, 'vaartha.yaml')
  writeFileSync(config, '')
  if (run !== undefined) writeFileSync(join(data, 'run.json'), JSON.stringify(run))
  const env = { PATH: process.env['PATH'], VAARTHA_DATA: data, VAARTHA_CONFIG: config, ...settings }
  try {
    return await new Promise(done => {
      execFile(process.execPath, [script], { env }, error => done(error === null ? 0 : Number(error.code)))
    })
  } finally {
    rmSync(data, { recursive: true })
  }
}

/** Serves `status` at /health and 404 elsewhere while `work` runs. */
async function withApi<T>(status: number, work: (api: string) => Promise<T>): Promise<T> {
  const server = createServer((request, response) => response.writeHead(request.url === '/health' ? status : 404).end())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

describe('health check of the container', { concurrency: true }, () => {
  test('healthy while the server answers', async () => {
    assert.equal(await withApi(200, api => check({ pid: process.pid, api })), 0)
  })

  test('unhealthy when it answers with an error', async () => {
    assert.equal(await withApi(500, api => check({ pid: process.pid, api })), 1)
  })

  test('unhealthy when nobody answers, or before it has started', async () => {
    const gone = await withApi(200, async api => api)
    assert.equal(await check({ pid: process.pid, api: gone }), 1)
    assert.equal(await check(undefined), 1)
  })

  test('with HTTP off it is enough to live', async () => {
    assert.equal(await check(undefined, { VAARTHA_HTTP_ENABLED: 'false' }), 0)
  })
})
