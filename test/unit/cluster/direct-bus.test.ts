import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, test } from 'node:test'
import type { Json } from '../../../src/cluster/bus.ts'
import { createDirectBus, type DirectBus } from '../../../src/cluster/direct-bus.ts'
import { createLocalBus } from '../../../src/cluster/local-bus.ts'
import { Refusal } from '../../../src/errors.ts'
import { createSilentLog } from '../../../src/log.ts'

const log = createSilentLog()
const opened: { close(): Promise<void> }[] = []
after(async () => {
  for (const one of opened) await one.close()
})

async function openBus(node: string, peers: () => { node: string; link: string }[], secrets = ['x'.repeat(24)]) {
  const bus = await createDirectBus({ node, listen: { address: '127.0.0.1', port: 0 }, secrets, peers, log })
  opened.push(bus)
  return bus
}

async function openPair(secrets?: [string[], string[]]): Promise<[DirectBus, DirectBus]> {
  const peers: { node: string; link: string }[] = []
  const a = await openBus('a', () => peers, secrets?.[0])
  const b = await openBus('b', () => peers, secrets?.[1])
  peers.push({ node: 'a', link: a.link() }, { node: 'b', link: b.link() })
  return [a, b]
}

test('a question is answered, and Refusals come through', async () => {
  const [a, b] = await openPair()
  b.answer('add', async (question, from) => ({ sum: (question as number[]).reduce((x, y) => x + y), from }))
  b.answer('refuse', async () => {
    throw new Refusal('busy-here', 'not now')
  })
  b.answer('break', async () => {
    throw new TypeError('a bug')
  })
  assert.deepEqual(await a.ask('b', 'add', [1, 2]), { sum: 3, from: 'a' })
  await assert.rejects(a.ask('b', 'refuse', null), { code: 'busy-here', message: 'not now' })
  await assert.rejects(a.ask('b', 'break', null), { code: 'server-error' })
  await assert.rejects(a.ask('b', 'unknown', null), { code: 'node-unavailable' })
  await assert.rejects(a.ask('c', 'add', null), { code: 'node-unavailable' })
  b.answer('never', () => new Promise(() => {}))
  await assert.rejects(a.ask('b', 'never', null, 30), { code: 'node-unavailable' })
  const cut = a.ask('b', 'never', null, 5000)
  await a.ask('b', 'add', [1])
  await b.close()
  await assert.rejects(cut, { code: 'node-unavailable' })
  await assert.rejects(a.ask('b', 'add', [1]), { code: 'node-unavailable' })
})

test('facts reach who listens; a kept one reaches who was away, once', async () => {
  const [a, b] = await openPair()
  const heard: Json[] = []
  const got = (count: number) =>
    new Promise<void>(resolve => {
      const look = setInterval(() => {
        if (heard.length < count) return
        clearInterval(look)
        resolve()
      }, 2)
    })
  b.subscribe('calls.*.ended', (subject, fact, from) => heard.push([subject, fact, from]))
  await a.ask('b', 'none', null).catch(() => undefined)
  a.publish('calls.1.ended', { n: 1 })
  a.publish('calls.ended', { n: 2 })
  await a.keep('calls.3.ended', 'id-3', { n: 3 })
  await a.keep('calls.3.ended', 'id-3', { n: 3 })
  await got(2)
  assert.deepEqual(heard, [
    ['calls.1.ended', { n: 1 }, 'a'],
    ['calls.3.ended', { n: 3 }, 'a'],
  ])
  // One that has not been reached yet gets it with the first connection.
  const [c, d] = await openPair()
  const later: Json[] = []
  d.subscribe('>', (_subject, fact) => later.push(fact))
  await c.keep('later', 'id-4', 'kept')
  assert.deepEqual(later, ['kept'])
  assert.equal(c.stats().kept, 0)
})

test('nodes with different secrets do not talk', async () => {
  const [a, b] = await openPair([['x'.repeat(24)], ['y'.repeat(24)]])
  b.answer('secret', async () => 'told')
  await assert.rejects(a.ask('b', 'secret', null), { code: 'node-unavailable' })
})

test('one secret that both believe is enough, in either order', async () => {
  const [x, y, z] = ['x', 'y', 'z'].map(letter => letter.repeat(24)) as [string, string, string]
  for (const secrets of [
    [[x], [x, y]],
    [
      [x, y],
      [y, x],
    ],
    [
      [z, x],
      [y, x],
    ],
  ] as [string[], string[]][]) {
    const [a, b] = await openPair(secrets)
    a.answer('who', async () => 'a')
    b.answer('who', async () => 'b')
    assert.equal(await a.ask('b', 'who', null), 'b')
    assert.equal(await b.ask('a', 'who', null), 'a')
  }
})

test('strangers hear nothing, and what they send harms nobody', async () => {
  const [a, b] = await openPair()
  b.answer('well', async () => 'yes')
  const port = Number(b.link().split(':')[1])
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.from([0, 0, 0, 2, 123, 125]),
    Buffer.from([255, 255, 255, 255]),
    Buffer.alloc(4096),
  ]) {
    const socket = connect(port, '127.0.0.1')
    let answered = 0
    socket.on('data', chunk => {
      answered += chunk.length
    })
    socket.on('error', () => {})
    socket.write(bytes)
    await once(socket, 'close')
    // The hello alone.
    assert.ok(answered < 200)
  }
  assert.equal(await a.ask('b', 'well', null), 'yes')
})

test('nothing can be read on the wire, and who repeats the hello of the other is refused', async () => {
  const b = await openBus('b', () => [], ['z'.repeat(24), 'y'.repeat(24)])
  const mirror = connect(Number(b.link().split(':')[1]), '127.0.0.1')
  mirror.on('error', () => {})
  mirror.on('data', chunk => mirror.write(chunk))
  await once(mirror, 'close')
})

test('one node by itself asks and tells itself', async () => {
  const bus = createLocalBus({ node: 'a', log })
  const heard: unknown[] = []
  const stop = bus.subscribe('x.>', (_subject, fact) => heard.push(fact))
  await bus.keep('x.y.z', 'id', 1)
  await bus.keep('x.y.z', 'id', 1)
  await bus.keep('y.x', 'id-2', 2)
  stop()
  await bus.keep('x.y.z', 'id-3', 3)
  assert.deepEqual(heard, [1])
  bus.answer('twice', async question => (question as number) * 2)
  assert.equal(await bus.ask('a', 'twice', 4), 8)
  await assert.rejects(bus.ask('b', 'twice', 4), { code: 'node-unavailable' })
})
