import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { settings } from '../../../src/config/paths.ts'

interface Service {
  image: string
  network_mode: string
  restart: string
  ports?: unknown
  profiles?: string[]
  environment?: string[] | Record<string, string>
  command?: string[]
  volumes?: string[]
}

const root = resolve(import.meta.dirname, '../../..')
const text = readFileSync(resolve(root, 'docker-compose.yml'), 'utf8')
const compose = parse(text, { merge: true }) as { services: Record<string, Service>; volumes: Record<string, unknown> }
const { vaartha, redis, drachtio } = compose.services as Record<'vaartha' | 'redis' | 'drachtio', Service>

const pair = Object.entries(compose.services).filter(([, service]) => service.profiles?.includes('pair'))

test('only Vaartha starts unasked', () => {
  assert.deepEqual(Object.keys(compose.services).slice(0, 3), ['vaartha', 'redis', 'drachtio'])
  assert.equal(vaartha.profiles, undefined)
  assert.deepEqual(redis.profiles, ['redis'])
  assert.deepEqual(drachtio.profiles, ['drachtio'])
  const names = ['a', 'b', 'pair-redis', 'pair-replica', 'pair-sentinel', 'pair-nats']
  assert.deepEqual(Object.keys(compose.services).slice(3), names)
  assert.deepEqual(
    pair.map(([name]) => name),
    names,
  )
  const keys = Object.keys(compose).filter(key => !key.startsWith('x-'))
  assert.deepEqual(keys, ['services', 'volumes'], 'docker-compose 1.29 knows no other top-level keys')
})

test('what two nodes share listens on loopback, and nothing of it starts without a secret', () => {
  for (const [name, { command, environment }] of pair) {
    const { VAARTHA_CLUSTER_SECRET: own, SECRET: given } = environment as Record<string, string>
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Compose's own notation.
    assert.equal(own ?? given, '${VAARTHA_CLUSTER_SECRET:-}', name)
    if (command === undefined) continue
    assert.match(command[0]!, /\$\{SECRET:\?/, name)
    assert.match(command[0]!, /bind 127\.0\.0\.1|--addr 127\.0\.0\.1/, name)
  }
})

test('all are on the host’s network, come back after a restart and name a version', () => {
  for (const [name, service] of Object.entries(compose.services)) {
    assert.equal(service.network_mode, 'host', name)
    assert.equal(service.ports, undefined, name)
    assert.equal(service.restart, 'unless-stopped', name)
    if (service.image !== 'vaartha') assert.match(service.image, /:\d/, name)
  }
})

test('Redis and the engine’s admin port listen on loopback only, and no secret has a default', () => {
  const bind = redis.command!.indexOf('--bind')
  assert.deepEqual(redis.command!.slice(bind, bind + 3), ['--bind', '127.0.0.1', '--port'])
  assert.ok(redis.command!.join(' ').includes('--appendonly yes'))
  const environment = drachtio.environment as Record<string, string>
  assert.equal(environment['DRACHTIO_ADMIN_ADDRESS'], '127.0.0.1')
  // biome-ignore lint/suspicious/noTemplateCurlyInString: Compose's own notation.
  assert.equal(environment['DRACHTIO_SECRET'], '${VAARTHA_SIP_DRACHTIO_SECRET:-}')
  assert.match(drachtio.command![0]!, /\$\{DRACHTIO_SECRET:\?/)
})

test('every variable that is passed on is a setting', () => {
  const known = new Set(settings.map(s => s.variable))
  for (const variable of text.match(/VAARTHA_[A-Z_]+/g) ?? []) assert.ok(known.has(variable), variable)
  for (const line of vaartha.environment as string[]) assert.ok(!line.includes('='), `${line} would beat vaartha.yaml`)
})

test('named volumes are declared and mounted folders are there', () => {
  for (const { volumes } of Object.values(compose.services)) {
    for (const volume of volumes ?? []) {
      const source = volume.split(':')[0]!
      if (source.startsWith('.')) assert.ok(existsSync(resolve(root, source)), source)
      else assert.ok(source in compose.volumes, source)
    }
  }
})

// Where a Compose is installed it has the last word; the checks above hold on every machine.
const tools = [['docker-compose'], ['docker', 'compose']].filter(
  ([program, ...args]) => spawnSync(program!, [...args, 'version'], { stdio: 'ignore' }).status === 0,
)
for (const [program, ...args] of tools) {
  test(`${[program, ...args].join(' ')} accepts it with every profile`, () => {
    const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], COMPOSE_PROFILES: 'redis,drachtio,pair' }
    const result = spawnSync(program!, [...args, '-f', 'docker-compose.yml', 'config', '-q'], { cwd: root, env })
    assert.equal(result.status, 0, result.stderr.toString())
    assert.equal(result.stderr.toString(), '')
  })
}
