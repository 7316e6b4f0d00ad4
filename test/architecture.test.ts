import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, resolve } from 'node:path'
import { test } from 'node:test'

// Imports point down. A file may import from its own room or from a lower floor; type imports count.

const src = resolve(import.meta.dirname, '../src')

const floors: Record<string, number> = {
  schema: 0, config: 0, events: 0, errors: 0, log: 0, opened: 0, network: 0, database: 0, redis: 0,
  sip: 1, auth: 1, accounts: 1, records: 1, location: 1, discovery: 1, certificates: 1, media: 1, cluster: 1,
  registrar: 2, calls: 2, drill: 2,
  groups: 3,
  // It finds phones as calls do.
  messaging: 3,
  // The phone in the browser; the server asks it only whether it is built.
  web: 0,
  routes: 4, http: 4, 'media-node': 4,
  server: 5,
  cli: 6, main: 7,
} // biome-ignore format: one floor a line

// Inside the engine the same holds for its layers.
const layers: Record<string, number> = {
  message: 0, transport: 1, transaction: 2, resolve: 3, 'next-hop': 3, proxy: 4, dialog: 4, wire: 5, engine: 6,
} // biome-ignore format: one table

// The ground's rooms may use each other in this order only.
const ground: Record<string, number> = {
  schema: 0, events: 0, errors: 0, log: 0, opened: 1, config: 1, network: 1, database: 1, redis: 1,
} // biome-ignore format: one table

const files = globSync('**/*.ts', { cwd: src }).filter(file => !file.startsWith('web/'))

function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8')
  const found = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(m => m[1]!)
  return found.map(path => normalize(join(dirname(file), path)))
}

const roomOf = (file: string) => file.split('/')[0]!.replace(/\.ts$/, '')
const layerOf = (file: string) =>
  file.startsWith('sip/engine/') ? file.split('/')[2]!.replace(/\.ts$/, '') : undefined

test('every room has a floor', () => {
  const unknown = files.map(roomOf).filter(room => floors[room] === undefined)
  assert.deepEqual([...new Set(unknown)], [])
})

test('imports point down', () => {
  const wrong: string[] = []
  for (const file of files) {
    for (const target of importsOf(file)) {
      const [from, to] = [roomOf(file), roomOf(target)]
      if (from === to) {
        const [upper, lower] = [layerOf(file), layerOf(target)]
        if (
          upper !== undefined &&
          lower !== undefined &&
          upper !== lower &&
          (layers[lower] ?? 99) > (layers[upper] ?? 0)
        ) {
          wrong.push(`${file} → ${target}`)
        }
        continue
      }
      const sameGround = floors[from] === 0 && floors[to] === 0 && (ground[to] ?? 9) < (ground[from] ?? 0)
      if ((floors[to] ?? 9) >= (floors[from] ?? 0) && !sameGround) wrong.push(`${file} → ${target}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('no files import each other in a ring', () => {
  const graph = new Map(files.map(file => [file, importsOf(file)]))
  const done = new Set<string>()
  const visit = (file: string, path: string[]): void => {
    assert.ok(!path.includes(file), `ring: ${[...path, file].join(' → ')}`)
    if (done.has(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
})

test('files are small enough to read', () => {
  const long = files.filter(file => readFileSync(join(src, file), 'utf8').split('\n').length > 401)
  assert.deepEqual(long, [])
})

test('heavy or optional packages are imported in one file each', () => {
  const usersOf = (name: string) =>
    files.filter(file =>
      new RegExp(`^import (?!type).*from '${name}['/]|import\\('${name}'`, 'm').test(
        readFileSync(join(src, file), 'utf8'),
      ),
    )
  for (const name of [
    'ioredis',
    'bonjour-service',
    'drachtio-srf',
    '@peculiar/x509',
    'ws',
    'uqr',
    'mediasoup',
    'drachtio-fsmrf',
    'libopus-wasm',
    '@nats-io/transport-node',
    '@nats-io/jetstream',
  ]) {
    const users = usersOf(name)
    assert.ok(users.length <= 1, `${name}: ${users.join(', ')}`)
  }
  // Metrics are too many for one file.
  assert.deepEqual(
    usersOf('prom-client').filter(file => !/^http\/([a-z]+-)?metrics\.ts$/.test(file)),
    [],
  )
})
