import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { configPage, configSample } from '../../../src/config/document.ts'
import { complete, loadConfig, projectRoot } from '../../../src/config/load.ts'
import { Refusal } from '../../../src/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'vaartha-config-'))

function load(yaml: string, environment: Record<string, string> = {}) {
  const file = join(folder, 'vaartha.yaml')
  writeFileSync(file, yaml)
  return loadConfig(environment, file).config
}

function problemsOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof Refusal && error.code === 'bad-config', String(error))
    return error.message
  }
  return assert.fail('the configuration was accepted')
}

test('an empty file gives the defaults, frozen', () => {
  const config = load('')
  assert.equal(config.sip.udp, 5060)
  assert.equal(config.data, resolve(projectRoot, 'data'))
  assert.throws(() => Object.assign(config.sip, { udp: 1 }), TypeError)
})

test('a section whose settings are all commented out is empty', () => {
  assert.equal(load('sip:\n  timers:\n  # t1: 3\n').sip.timers.t1, 500)
})

test('the environment wins over the file', () => {
  const config = load('sip:\n  udp: 7000\n  tcp: 7001\n', {
    VAARTHA_SIP_UDP: '8000',
    VAARTHA_NETWORK_LISTEN: '127.0.0.1, ::1',
    PATH: 'x',
  })
  assert.deepEqual([config.sip.udp, config.sip.tcp, config.network.listen], [8000, 7001, ['127.0.0.1', '::1']])
})

test('an unknown setting is refused with its line and the nearest known one', () => {
  const text = problemsOf(() => load('domain: a.example\nsip:\n  udpp: 5\n'))
  assert.match(text, /vaartha\.yaml:3: sip\.udpp: unknown setting; did you mean 'sip\.udp'\?/)
})

test('every mistake is named at once', () => {
  const text = problemsOf(() => load('sip:\n  udp: many\n  engine: asterisk\nzzzzzz: 1\n', { VAARTHA_SIP_UPD: '1' }))
  assert.match(text, /:2: sip\.udp: must be integer/)
  assert.match(text, /:3: sip\.engine: must be one of embedded, drachtio/)
  assert.match(text, /:4: zzzzzz: unknown setting$/m)
  assert.match(text, /VAARTHA_SIP_UPD: unknown setting; did you mean VAARTHA_SIP_UDP\?/)
})

test('broken YAML names its line', () => {
  assert.match(
    problemsOf(() => load('sip:\n  udp: [1\n')),
    /vaartha\.yaml:\d+: /,
  )
  assert.match(
    problemsOf(() => load('- a\n- b\n')),
    /must hold settings/,
  )
})

test('a named file that is missing is an error, the default one is not needed', () => {
  assert.match(
    problemsOf(() => loadConfig({}, join(folder, 'absent.yaml'))),
    /cannot be read/,
  )
  assert.match(
    problemsOf(() => loadConfig({ VAARTHA_SIP_UDP: 'x' })),
    /sip\.udp/,
  )
})

test('values out of range are refused', () => {
  assert.match(
    problemsOf(() => complete({ sip: { udp: 70000 } })),
    /sip\.udp/,
  )
})

test('docs/config.md and config/vaartha.yaml are what the schema says', () => {
  const read = (path: string) => readFileSync(join(projectRoot, path), 'utf8')
  assert.equal(read('docs/config.md'), configPage(), 'run `npm run docs`')
  assert.equal(load(configSample()).sip.tcp, 5060)
  assert.equal(read('config/vaartha.yaml'), configSample(), 'run `npm run docs`')
})

test('an external engine cannot take over calls, and the configuration says so', () => {
  const sip = { engine: 'drachtio' }
  for (const replication of ['lazy', 'hot-standby']) {
    const wrong = { sip, cluster: { name: 'a', replication } }
    assert.throws(() => complete(wrong), { code: 'bad-config', message: /sip\.engine: drachtio, because .* 481/ })
  }
  assert.equal(complete({ sip, cluster: { name: 'a', replication: 'none' } }).sip.engine, 'drachtio')
  assert.equal(complete({ sip }).cluster.replication, 'hot-standby')
})
