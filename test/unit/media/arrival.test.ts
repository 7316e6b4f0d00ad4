import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { Refusal } from '../../../src/errors.ts'
import { createSilentLog } from '../../../src/log.ts'
import type { MediaState } from '../../../src/media/media.ts'
import { type Arrival, type ArrivalDeps, createArrival, inWords } from '../../../src/media/worker/arrival.ts'
import { takeLock } from '../../../src/media/worker/lock.ts'
import { installPackages } from '../../../src/media/worker/packages.ts'
import { cacheDirectory, cachedWorker, mediasoupPackage, systemId } from '../../../src/media/worker/places.ts'
import { readRecipe } from '../../../src/media/worker/recipe.ts'
import { until } from '../../support/directory.ts'
import { createToolchain, type Toolchain } from '../../support/toolchain.ts'

function toolchain(t: TestContext): Toolchain {
  const tools = createToolchain()
  t.after(() => tools.close())
  return tools
}

/** An arrival with the tools, begun; `seen` are its states. */
function begin(t: TestContext, tools: Toolchain, other: Partial<ArrivalDeps> = {}) {
  const seen: MediaState[] = []
  const waiting = new Set<() => void>()
  const arrival = createArrival({
    cache: tools.cache,
    source: tools.source,
    env: tools.env,
    build: 'auto',
    jobs: 2,
    pollMs: 5,
    packagesMs: 5,
    log: createSilentLog(),
    onState(state) {
      seen.push(state)
      for (const look of waiting) look()
    },
    ...other,
  })
  t.after(() => arrival.close())
  arrival.start()
  const reaches = (wanted: (state: MediaState) => boolean) =>
    new Promise<void>(done => {
      const look = () => {
        if (wanted(arrival.state()) && waiting.delete(look)) done()
      }
      waiting.add(look)
      look()
    })
  return { arrival, seen, reaches }
}

const refused = (arrival: Arrival, why: RegExp) =>
  assert.rejects(arrival.binary(), (error: Error) => {
    assert.ok(error instanceof Refusal)
    assert.equal(error.code, 'media-unavailable')
    assert.match(error.message, why)
    return true
  })

/** Something that behaves as a worker does when nobody tells it a version. */
function putWorker(file: string, status = 41): string {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `#!/bin/sh\nexit ${status}\n`, { mode: 0o755 })
  return file
}

describe('a worker that is there', { concurrency: true }, () => {
  it('is taken from the operator, else from mediasoup’s package, else from the cache, and nothing is built', async t => {
    const tools = toolchain(t)
    const cached = putWorker(cachedWorker(tools.cache, tools.source.version))
    assert.equal(await begin(t, tools).arrival.binary(), cached)
    const brought = putWorker(join(tools.source.directory, 'worker/out/Release/mediasoup-worker'))
    assert.equal(await begin(t, tools).arrival.binary(), brought)
    const given = putWorker(join(tools.cache, 'given'))
    const { arrival, seen } = begin(t, tools, { env: { ...tools.env, MEDIASOUP_WORKER_BIN: given } })
    assert.equal(await arrival.binary(), given)
    assert.deepEqual(seen, [{ sfu: 'ready', why: 'the one that MEDIASOUP_WORKER_BIN names' }])
    assert.deepEqual(tools.calls(), [])
  })

  it('is said to be wrong when the operator’s does not run, and no other is taken', async t => {
    const tools = toolchain(t)
    putWorker(cachedWorker(tools.cache, tools.source.version))
    const wrong = {
      nowhere: /which is not there/,
      text: /is no program/,
      status: /is no mediasoup worker.*ended with 3/,
    }
    for (const [name, why] of Object.entries(wrong)) {
      const file = join(tools.cache, name)
      if (name !== 'nowhere') putWorker(file, 3)
      if (name === 'text') chmodSync(file, 0o644)
      const { arrival } = begin(t, tools, { env: { ...tools.env, MEDIASOUP_WORKER_BIN: file } })
      await refused(arrival, why)
      assert.equal(arrival.state().sfu, 'unavailable')
    }
  })

  it('is built anew when it does not run any more', async t => {
    const tools = toolchain(t)
    const file = putWorker(cachedWorker(tools.cache, tools.source.version), 127)
    assert.equal(await begin(t, tools).arrival.arrived(), file)
    assert.equal(tools.calls().filter(call => call === 'link').length, 1)
  })
})

describe('a worker that must be built', { concurrency: true }, () => {
  it('is refused meanwhile, in plain words, and is there at the end with nothing beside it', async t => {
    const tools = toolchain(t)
    const { arrival, seen } = begin(t, tools)
    await refused(arrival, /^the media worker is being built on this machine/)
    const file = await arrival.arrived()
    assert.equal(file, cachedWorker(tools.cache, tools.source.version))
    assert.equal(await arrival.binary(), file)
    assert.deepEqual(
      tools
        .calls()
        .filter(call => call.includes('/'))
        .sort(),
      [...tools.sources].sort(),
    )
    assert.deepEqual(
      readdirSync(tools.cache).filter(name => !name.endsWith('.lock')),
      [file.split('/').at(-1)],
    )
    const shares = seen.map(state => state.progress ?? 0).slice(0, -1)
    assert.deepEqual(
      shares,
      shares.toSorted((a, b) => a - b),
    )
    assert.deepEqual(seen.at(-1), { sfu: 'ready', why: 'built on this machine' })
  })

  it('is not built where the configuration forbids it', async t => {
    const tools = toolchain(t)
    const { arrival } = begin(t, tools, { build: 'never' })
    await refused(arrival, /media\.build forbids/)
    assert.deepEqual(tools.calls(), [])
  })

  it('is built once when several begin at the same time', async t => {
    const tools = toolchain(t)
    const all = Array.from({ length: 4 }, () => begin(t, tools))
    const files = await Promise.all(all.map(({ arrival }) => arrival.arrived()))
    assert.equal(new Set(files).size, 1)
    assert.equal(tools.calls().filter(call => call === 'link').length, 1)
    assert.equal(tools.calls().filter(call => call.includes('/')).length, tools.sources.length)
    assert.ok(all.some(({ seen }) => seen.some(state => /another Vaartha/.test(state.why))))
  })

  it('goes on after an interruption with what was finished', async t => {
    const tools = toolchain(t)
    tools.trouble('hangs', true)
    const first = begin(t, tools)
    await first.reaches(({ progress = 0 }) => progress === 0.8)
    // The others may all be finished before the one that hangs has begun.
    await until(() => tools.calls().includes(tools.sources[2] as string))
    await first.arrival.close()
    tools.trouble('hangs', false)
    await begin(t, tools).arrival.arrived()
    const times = (file: string) => tools.calls().filter(call => call === file).length
    assert.deepEqual(tools.sources.map(times), [1, 1, 2, 1, 1], 'only what hung is compiled again')
  })

  it('begins anew when the compiler or a library is another one than at the interruption', async t => {
    const tools = toolchain(t)
    const folder = `${cachedWorker(tools.cache, tools.source.version)}.build`
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'conditions'), 'other')
    writeFileSync(join(folder, '0-lib.cpp.o'), 'stale')
    await begin(t, tools).arrival.arrived()
    assert.ok(tools.calls().includes('src/lib.cpp'))
  })

  it('says what the compiler says, once, and keeps nothing that does not run', async t => {
    const tools = toolchain(t)
    tools.trouble('fails', true)
    const failing = begin(t, tools)
    await assert.rejects(failing.arrival.arrived(), /error: no such thing/)
    assert.match(inWords(failing.arrival.state()), /^is not there: .*error: no such thing/)
    tools.trouble('fails', false)
    tools.trouble('useless', true)
    await assert.rejects(begin(t, tools).arrival.arrived(), /is no mediasoup worker that runs here/)
    assert.equal(existsSync(cachedWorker(tools.cache, tools.source.version)), false)
    tools.trouble('useless', false)
    await begin(t, tools).arrival.arrived()
  })

  it('is tried again after a while', async t => {
    const tools = toolchain(t)
    tools.trouble('fails', true)
    const { arrival, reaches } = begin(t, tools, { retryMs: 5 })
    await assert.rejects(arrival.arrived())
    tools.trouble('fails', false)
    await reaches(({ sfu }) => sfu === 'ready')
  })

  it('names the packages that are missing, and goes on by itself when they have been installed', async t => {
    const tools = toolchain(t)
    tools.remove('apt-get')
    tools.trouble('without-usrsctp', true)
    tools.trouble('without-absl_btree', true)
    const { arrival, reaches } = begin(t, tools)
    await assert.rejects(arrival.arrived(), /sudo apt-get install libusrsctp-dev libabsl-dev$/)
    await refused(arrival, /sudo apt-get install/)
    tools.trouble('without-usrsctp', false)
    tools.trouble('without-absl_btree', false)
    await reaches(({ sfu }) => sfu === 'ready')
    assert.ok(await arrival.binary())
  })

  it('needs every package when there is no pkg-config to ask', async t => {
    const tools = toolchain(t)
    for (const program of ['apt-get', 'g++', 'pkg-config', 'flatc']) tools.remove(program)
    const { arrival } = begin(t, tools)
    const all =
      'g++ pkg-config flatbuffers-compiler libsrtp2-dev libusrsctp-dev libuv1-dev libssl-dev libflatbuffers-dev'
    await assert.rejects(arrival.arrived(), new RegExp(`apt-get install ${all.replaceAll('+', '\\+')} libabsl-dev$`))
  })
})

describe('around the build', { concurrency: true }, () => {
  it('installs packages with apt-get, after reading its lists', async t => {
    const tools = toolchain(t)
    const file = join(tools.source.directory, 'apt.log')
    await installPackages(['g++', 'libuv1-dev'], tools.env, file)
    const [update, install] = tools.calls()
    assert.match(update!, / update$/)
    assert.match(install!, / install -y --no-install-recommends g\+\+ libuv1-dev$/)
    assert.match(readFileSync(file, 'utf8'), /update\n.*install/)
  })

  it('gives up a lock with the process that holds it', async t => {
    const tools = toolchain(t)
    const file = join(tools.source.directory, 'lock')
    const module = resolve(import.meta.dirname, '../../../src/media/worker/lock.ts')
    const script = `(await import('${module}')).takeLock('${file}'); console.log('mine'); setInterval(() => {}, 1000)`
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(owner.stdout, 'data')
    assert.equal(takeLock(file), undefined)
    owner.kill('SIGKILL')
    await once(owner, 'exit')
    const lock = takeLock(file)
    assert.ok(lock)
    assert.equal(takeLock(file), undefined)
    lock.release()
    takeLock(file)!.release()
    rmSync(file)
  })

  it('keeps workers apart by version, processor and system, outside the clone', () => {
    assert.equal(cacheDirectory({ XDG_CACHE_HOME: '/c' }), '/c/vaartha')
    assert.equal(cacheDirectory({ HOME: '/home/ann' }), '/home/ann/.cache/vaartha')
    assert.match(cachedWorker('/c', '3.1.2'), new RegExp(`^/c/mediasoup-worker-3\\.1\\.2-${process.arch}-\\w+`))
    assert.equal(systemId('/nowhere/os-release'), process.platform)
  })

  it('finds in mediasoup’s package all that is to be compiled', () => {
    const { directory, version } = mediasoupPackage()
    assert.match(version, /^3\.\d+\.\d+$/)
    const { sources, schemas, includes } = readRecipe(directory)
    assert.ok(sources.length > 100 && schemas.length > 20)
    for (const file of [...sources, ...schemas, ...includes]) assert.ok(existsSync(file), file)
  })
})
