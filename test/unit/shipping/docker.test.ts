import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { test } from 'node:test'
import { nodeFlags } from '../../../src/cli/node-flags.mjs'

// What a Dockerfile promises, read from its text: no engine is needed to see that it names files that are there.

const root = resolve(import.meta.dirname, '../../..')
const lines = readFileSync(resolve(root, 'Dockerfile'), 'utf8')
  .replace(/^\s*#.*\n/gm, '')
  .replace(/\\\n\s*/g, '')
  .split('\n')
  .filter(line => line !== '')
const instructions = lines.map(line => {
  const [word = '', ...rest] = line.split(/\s+/)
  return { word, rest, text: line.slice(word.length).trim() }
})
const final = instructions.slice(instructions.findLastIndex(i => i.word === 'FROM'))
const last = (word: string) => final.findLast(i => i.word === word)?.text ?? ''
const copied = instructions
  .filter(i => i.word === 'COPY' && !i.rest[0]?.startsWith('--from'))
  .flatMap(i => i.rest.slice(0, -1))

test('every stage stands on the official Node image of the pinned major version, or on a stage before it', () => {
  const { dependencies } = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8')) as {
    dependencies: { node: string }
  }
  const known = [`node:${dependencies.node.split('.')[0]}-bookworm-slim`]
  for (const { rest } of instructions.filter(i => i.word === 'FROM')) {
    assert.ok(known.includes(rest[0]!), rest[0])
    known.push(rest[2] ?? '')
  }
  assert.deepEqual(known.slice(1), ['packages', 'web', 'worker', 'sources', ''])
})

test('what is copied is there, and .dockerignore lets through that and nothing else', () => {
  const ignore = readFileSync(resolve(root, '.dockerignore'), 'utf8').split('\n')
  const letThrough = ignore.filter(line => line.startsWith('!')).map(line => line.slice(1))
  assert.ok(ignore.includes('*'))
  assert.deepEqual([...new Set(copied.map(source => source.split('/')[0]))].sort(), letThrough.sort())
  for (const source of copied) assert.ok(existsSync(resolve(root, source)), `${source} is not there`)
})

test('the media worker is built on the release whose libraries it finds in the image', () => {
  const file = /MEDIASOUP_WORKER_BIN=(\S+)/.exec(last('ENV'))?.[1]
  assert.ok(final.some(i => i.word === 'COPY' && i.rest[0] === '--from=worker' && i.rest.at(-1) === file))
  assert.ok(
    final.some(i => i.word === 'RUN' && i.text.startsWith(`${file} ||`)),
    'that it runs there is tried',
  )
})

test('the server runs as an ordinary user that owns the volume', () => {
  assert.equal(last('USER'), 'node')
  assert.equal(last('VOLUME'), '/data')
  assert.ok(final.some(i => i.word === 'ENV' && i.text.includes('VAARTHA_DATA=/data')))
  assert.ok(final.some(i => i.word === 'RUN' && /install -d -o node .*\/data/.test(i.text)))
})

test('Node is process 1, so that it gets the signal that ends it', () => {
  const [program, file] = JSON.parse(last('ENTRYPOINT')) as string[]
  assert.equal(program, 'node')
  assert.ok(existsSync(resolve(root, file!.replace('/app/', ''))))
  assert.deepEqual(JSON.parse(last('CMD')), ['serve'])
  assert.equal(last('STOPSIGNAL'), 'SIGTERM')
})

test('Node runs with the flags that it has everywhere', () => {
  const options = /NODE_OPTIONS="([^"]*)"/.exec(last('ENV'))?.[1]
  assert.equal(options, nodeFlags.join(' '))
})

test('the health check needs nothing but Node', () => {
  const [program, file] = JSON.parse(last('HEALTHCHECK').replace(/^.*CMD /, '')) as string[]
  assert.equal(program, 'node')
  assert.ok(copied.includes(dirname(file!)), `${file} is not copied`)
  assert.ok(existsSync(resolve(root, file!)), `${file} is not there`)
})

test('it builds with the builders that Debian has', () => {
  const text = readFileSync(resolve(root, 'Dockerfile'), 'utf8')
  assert.doesNotMatch(text, /^# *syntax=|<<|--link|--mount/m)
})
