import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { it } from 'node:test'
import { checkMedia, checkSockets } from '../../../src/cli/examine.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { takeLock } from '../../../src/media/worker/lock.ts'
import { cacheDirectory, cachedWorker } from '../../../src/media/worker/places.ts'
import { createToolchain } from '../../support/toolchain.ts'

it('doctor explains where the media worker is, or what keeps it away', async t => {
  const tools = createToolchain()
  t.after(() => tools.close())
  tools.remove('apt-get')
  const env = { ...tools.env, XDG_CACHE_HOME: tools.cache }
  const target = cachedWorker(cacheDirectory(env), tools.source.version)
  const { config } = loadConfig({})
  const look = async (more: NodeJS.ProcessEnv = {}) => {
    const { state, text, advice } = await checkMedia(config, { ...env, ...more }, tools.source)
    return [state, text, advice ?? ''] as const
  }
  mkdirSync(dirname(target), { recursive: true })

  assert.deepEqual((await look())[0], 'odd')
  assert.match((await look())[2], /vaartha media build$/)
  tools.trouble('without-libuv', true)
  assert.equal((await look())[2], 'sudo apt-get install libuv1-dev')
  const lock = takeLock(`${target}.lock`)
  assert.match((await look())[1], /being built just now/)
  lock?.release()
  const [state, text] = await look({ MEDIASOUP_WORKER_BIN: '/nowhere/worker' })
  assert.deepEqual([state, text], ['bad', 'MEDIASOUP_WORKER_BIN is /nowhere/worker, which is not there'])
  writeFileSync(target, '#!/bin/sh\nexit 41\n', { mode: 0o755 })
  assert.deepEqual(await look(), ['good', `1.2.3, built here, runs here: ${target}`, ''])
})

it('doctor says whether packets of meetings are read by calls of our own, which nothing depends on', async () => {
  assert.equal((await checkSockets(async () => ({}))).state, 'good')
  const { state, advice } = await checkSockets(async () => undefined)
  assert.deepEqual([state, advice?.includes('koffi')], ['odd', true])
})
