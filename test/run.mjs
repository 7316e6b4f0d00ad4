// `npm test`: installs what tests need, then types, lint and every kind of test; ends with one line of counts.
// A word or more chooses stages: check unit contract scenario interop heavy matrix bench. Plain JavaScript: any Node can start it.
import { spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureInstalled, pinnedNode } from '../src/cli/install.mjs'
import { nodeFlags } from '../src/cli/node-flags.mjs'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const ci = process.env.CI !== undefined && process.env.CI !== 'false'

// program on the PATH → Debian package that brings it
const tools = {
  unit: {},
  contract: {
    'redis-server': 'redis-server',
    'redis-sentinel': 'redis-sentinel',
    'nats-server': 'nats-server',
    chromium: 'chromium',
    ffmpeg: 'ffmpeg',
  },
  scenario: {
    'redis-server': 'redis-server',
    'nats-server': 'nats-server',
    chromium: 'chromium',
    baresip: 'baresip',
    ffprobe: 'ffmpeg',
  },
  interop: {
    chromium: 'chromium',
    sipp: 'sip-tester',
    baresip: 'baresip',
    ip: 'iproute2',
    nft: 'nftables',
    'avahi-daemon': 'avahi-daemon',
    'avahi-resolve': 'avahi-utils',
    'dbus-daemon': 'dbus',
    dnsmasq: 'dnsmasq-base',
    nsd: 'nsd',
    'nats-server': 'nats-server',
    'redis-server': 'redis-server',
    'redis-sentinel': 'redis-sentinel',
  },
  // Nine browsers in one meeting, which take all of two cores: a stage of its own, so that nothing runs beside it.
  heavy: { chromium: 'chromium' },
  // All of the kill matrix, of which interop has a part; `--write` writes its table into docs/reliability.md.
  matrix: {
    baresip: 'baresip',
    ip: 'iproute2',
    nft: 'nftables',
    faketime: 'faketime',
    'nats-server': 'nats-server',
    'redis-server': 'redis-server',
  },
  bench: {
    sipp: 'sip-tester',
    kamailio: 'kamailio',
    'redis-server': 'redis-server',
    chromium: 'chromium',
    janus: 'janus',
  },
}

// Kinds of tests that carry browsers' media, for which a worker process is needed; see src/media/worker.
const withMedia = new Set(['contract', 'scenario', 'interop', 'heavy', 'matrix', 'bench'])

// Whole servers, browsers and phones that do things in time, and a machine that has to do something else meanwhile.
const inTime = new Set(['contract', 'scenario', 'interop', 'heavy'])
// More files than these do not fail for want of time.
const mostAgain = 4

const wanted = process.argv.slice(2).filter(word => word !== '--write')
const stages = wanted.length > 0 ? wanted : ['check', 'unit', 'contract', 'scenario', 'interop', 'heavy']

await ensureInstalled(root, { development: true })
// The rest needs a Node that strips types and globs; this file may have been started by an older one.
const node = pinnedNode(root)
if (process.execPath !== node && process.env.VAARTHA_TEST_NODE !== '1') {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, VAARTHA_TEST_NODE: '1' },
  })
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
  child.on('exit', code => process.exit(code ?? 1))
} else {
  process.exitCode = await runStages()
}

async function runStages() {
  const total = { passed: 0, failed: 0, skipped: 0 }
  // All at once and before anything else, because two apt-get do not run side by side.
  const media = stages.some(stage => withMedia.has(stage))
  ensureTools(Object.assign({}, ...stages.map(stage => tools[stage])), media ? await packagesForWorker() : [])
  const worker = media ? buildWorker() : undefined
  // Each server would build the phone by itself otherwise, several at once.
  if (stages.includes('scenario') || stages.includes('heavy')) await run(node, [join(root, 'src/web/build.mjs')])
  for (const stage of stages) {
    if (withMedia.has(stage) && (await worker) !== 0) {
      say(`${stage}: not run, for there is no media worker; the lines above say why`)
      total.failed++
      continue
    }
    const began = Date.now()
    const counts = stage === 'check' ? await check() : stage === 'bench' ? await bench() : await testsOf(stage)
    for (const key of Object.keys(total)) total[key] += counts[key]
    const seconds = ((Date.now() - began) / 1000).toFixed(1)
    say(`${stage}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped in ${seconds} s`)
    if (counts.skipped > 0)
      say(`ATTENTION: ${counts.skipped} tests of ${stage} were SKIPPED; their reasons stand above`)
  }
  if (ci && total.skipped > 0) {
    say('a skipped test counts as failed in CI')
    total.failed += total.skipped
    total.skipped = 0
  }
  const skips = total.skipped > 0 ? `, ${total.skipped} skipped` : ''
  process.stdout.write(`${total.passed} passed, ${total.failed} failed${skips}\n`)
  return total.failed === 0 ? 0 : 1
}

function say(text) {
  process.stdout.write(`── ${text}\n`)
}

/** Debian packages that building the media worker needs; none where there is one. */
async function packagesForWorker() {
  const { findWorker, WrongWorker } = await import('../src/media/worker/find.ts')
  const { missingPackages } = await import('../src/media/worker/packages.ts')
  const { cacheDirectory, mediasoupPackage } = await import('../src/media/worker/places.ts')
  const { env } = process
  try {
    const found = await findWorker({ env, cache: cacheDirectory(env), source: mediasoupPackage() })
    return found === undefined ? await missingPackages(env) : []
  } catch (error) {
    // The build is where it is told in plain words.
    if (error instanceof WrongWorker) return []
    throw error
  }
}

/** Has the media worker built, unless it is there: two minutes, in which types and units are looked at. Its exit code. */
function buildWorker() {
  return run(node, [...nodeFlags, join(root, 'src/main.ts'), 'media', 'build', '--gentle'])
}

/** Types and lint; each counts as one test. */
async function check() {
  const results = [
    // The phone's pages and its service worker each know another world than the server does.
    await run(join(root, 'node_modules/.bin/tsc'), ['-p', root]),
    await run(join(root, 'node_modules/.bin/tsc'), ['-p', join(root, 'src/web')]),
    await run(join(root, 'node_modules/.bin/tsc'), ['-p', join(root, 'src/web/worker')]),
    await run(join(root, 'node_modules/.bin/biome'), [
      'check',
      '--error-on-warnings',
      '--max-diagnostics=50',
      'src',
      'test',
    ]),
  ]
  const passed = results.filter(code => code === 0).length
  return { passed, failed: results.length - passed, skipped: 0 }
}

/** Runs each benchmark by itself, one after the other. */
async function bench() {
  const files = fs.globSync('test/bench/*.bench.ts', { cwd: root }).sort()
  let failed = 0
  for (const file of files) {
    say(file)
    failed += (await run(node, ['--expose-gc', '--disable-warning=ExperimentalWarning', file])) === 0 ? 0 : 1
  }
  return { passed: files.length - failed, failed, skipped: 0 }
}

/** Runs a stage; of one that works in time, files with failures are run once more, each failed test has to pass then. */
async function testsOf(stage) {
  const patterns = { unit: 'test/{unit/**/,}*.test.ts', matrix: 'test/interop/kill-matrix.test.ts' }
  const files = fs.globSync(patterns[stage] ?? `test/${stage}/**/*.test.ts`, { cwd: root }).sort()
  const first = await nodeTests(stage, files)
  const again = files.filter(file => first.failures.some(failure => runs(file, failure.file)))
  const known = first.failures.length > 0 && first.failures.every(({ file }) => again.some(one => runs(one, file)))
  if (!inTime.has(stage) || !known || again.length > mostAgain) return first
  say(
    `ATTENTION: ${first.failed} tests of ${stage} FAILED, which may be the machine's fault; once more: ${again.join(' ')}`,
  )
  const second = await nodeTests(stage, again)
  const missing = first.failures.filter(({ name }) => !second.names.has(name)).length
  const failed = second.failed + missing
  return { passed: first.passed + first.failed - failed, failed, skipped: first.skipped }
}

/** Whether a test file is this one, or starts it in a place of its own. */
function runs(testFile, file) {
  const path = join(root, testFile)
  const folder = `${dirname(path)}/`
  return (
    path === file ||
    (file.startsWith(folder) && fs.readFileSync(path, 'utf8').includes(`/${file.slice(folder.length)}`))
  )
}

/** Runs files with node:test and reads the counts from its TAP closing lines. */
async function nodeTests(stage, files) {
  if (files.length === 0) return { passed: 0, failed: 0, skipped: 0, failures: [], names: new Set() }
  const folder = fs.mkdtempSync(join(tmpdir(), 'vaartha-test-'))
  const report = join(folder, 'report.tap')
  // Node leaves one core idle by default, which is half of a small machine; whole servers run one at a time.
  // One more for unit tests, of which some wait for timers.
  const cores = Math.max(2, availableParallelism())
  const parallel = stage === 'unit' ? cores + 1 : stage === 'contract' ? cores : 1
  const code = await run(
    node,
    [
      '--disable-warning=ExperimentalWarning',
      '--expose-gc',
      '--test',
      `--test-concurrency=${parallel}`,
      `--test-timeout=${stage === 'matrix' ? 1_800_000 : 600_000}`,
      '--test-reporter=dot',
      '--test-reporter-destination=stdout',
      '--test-reporter=tap',
      `--test-reporter-destination=${report}`,
      ...files,
    ],
    stage === 'matrix' ? { VAARTHA_MATRIX: process.argv.includes('--write') ? 'write' : 'all' } : {},
  )
  const tap = fs.existsSync(report) ? fs.readFileSync(report, 'utf8') : ''
  fs.rmSync(folder, { recursive: true, force: true })
  const count = word => Number(new RegExp(`^# ${word} (\\d+)$`, 'm').exec(tap)?.[1] ?? 0)
  const counts = {
    passed: count('pass'),
    failed: count('fail') + count('cancelled'),
    skipped: count('skipped') + count('todo'),
  }
  for (const line of tap.split('\n'))
    if (/^\s*(not ok|ok .*# SKIP|# \|)/.test(line)) process.stdout.write(`${line.trim()}\n`)
  if (code !== 0 && counts.failed === 0) counts.failed = 1
  const failures = Array.from(
    tap.matchAll(/^not ok \d+ - (.*)\n(?: .*\n)*? {2}location: '(.*):\d+:\d+'$/gm),
    ([, name, file]) => ({ name, file }),
  )
  return {
    ...counts,
    failures,
    names: new Set(Array.from(tap.matchAll(/^(?:not )?ok \d+ - (.*)$/gm), found => found[1])),
  }
}

function run(command, args, more = {}) {
  // A hundred test files load the same sources, each in a process of its own.
  const env = { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'vaartha-compile-cache'), ...more }
  return new Promise(done => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env })
    child.on('error', error => {
      say(`${command}: ${error.message}`)
      done(1)
    })
    child.on('exit', code => done(code ?? 1))
  })
}

/** Installs Debian packages when this user may; otherwise says which ones are missing and stops. */
function ensureTools(needed, more) {
  const missing = [
    ...new Set([
      ...Object.entries(needed)
        .filter(([program]) => !onPath(program))
        .map(([, name]) => name),
      ...more,
    ]),
  ]
  if (missing.length === 0) return
  const may = process.getuid?.() === 0 && onPath('apt-get')
  if (!may) {
    say(`these Debian packages are needed: sudo apt-get install ${missing.join(' ')}`)
    process.stdout.write('0 passed, 1 failed\n')
    process.exit(1)
  }
  say(`installing Debian packages: ${missing.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  spawnSync('apt-get', ['update', '-q'], { stdio: 'ignore', env })
  const got = spawnSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing], {
    stdio: 'inherit',
    env,
  })
  if (got.status !== 0) process.exit(1)
}

function onPath(program) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some(folder => fs.existsSync(join(folder, program)))
}
