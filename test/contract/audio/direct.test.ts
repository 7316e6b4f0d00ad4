import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { test } from 'node:test'
import { loadLibc } from '../../../src/media/audio/libc.ts'
import { type DirectMediaSocket, isDirect, type MediaSocket } from '../../../src/media/audio/media-socket.ts'
import { createPorts, type Ports } from '../../../src/media/audio/sockets.ts'
import { createWatched } from '../../../src/media/audio/watched.ts'

const loopback = '127.0.0.1'
const libc = await loadLibc()
const skip = libc ? false : 'koffi is not here'

async function peerOf(t: { after(end: () => void): void }): Promise<Socket & { port: number }> {
  const peer = createSocket('udp4')
  const listening = once(peer, 'listening')
  peer.bind(0, loopback)
  await listening
  t.after(() => peer.close())
  return Object.assign(peer, { port: peer.address().port })
}

function open(kind: 'node' | 'direct', range = { first: 46_000, last: 46_099 }): Ports {
  return createPorts(range, { libc: kind === 'direct' ? libc : undefined })
}

function direct(socket: MediaSocket): DirectMediaSocket {
  assert.ok(isDirect(socket))
  return socket
}

for (const kind of ['node', 'direct'] as const) {
  const options = { skip: kind === 'direct' && skip }

  test(`${kind}: a socket takes datagrams and where they came from, and sends to any place`, options, async t => {
    const ports = open(kind)
    const socket = await ports.openOne(loopback, 65_536)
    t.after(() => ports.close(socket))
    const got: string[] = []
    socket.receive((bytes, from) => got.push(`${bytes} ${from.address}:${from.port}`), assert.fail)
    const [one, two] = [await peerOf(t), await peerOf(t)]
    one.send('first', socket.port, loopback)
    while (got.length < 1) await new Promise(setImmediate)
    two.send('second, longer', socket.port, loopback)
    while (got.length < 2) await new Promise(setImmediate)
    assert.deepEqual(got, [`first ${loopback}:${one.port}`, `second, longer ${loopback}:${two.port}`])
    for (const peer of [one, two, one]) {
      const heard = once(peer, 'message')
      socket.send(Buffer.from('answer…'), 6, peer.port, loopback)
      const [bytes, from] = await heard
      assert.equal(`${bytes} ${from.port}`, `answer ${socket.port}`)
    }
  })

  test(`${kind}: a port in use is stepped over, and a closed one is free again`, options, async t => {
    const others = open('node')
    const taken = await others.openOne(loopback, 65_536)
    t.after(() => others.close(taken))
    const ports = open(kind, { first: taken.port, last: taken.port + 1 })
    const one = await ports.openOne(loopback, 65_536)
    assert.equal(one.port, taken.port + 1)
    await assert.rejects(ports.openOne(loopback, 65_536), { code: 'media-unavailable' })
    await ports.close(one)
    const again = await ports.openOne(loopback, 65_536)
    assert.equal(again.port, one.port)
    await ports.close(again)
  })
}

test('what has come is read without the loop of events, and nothing after the close', { skip }, async t => {
  const ports = open('direct')
  const socket = direct(await ports.openOne(loopback, 65_536))
  const got: string[] = []
  let failed = 0
  socket.receive(
    bytes => got.push(String(bytes)),
    () => failed++,
  )
  const peer = await peerOf(t)
  assert.equal(socket.read(1), 0)
  for (const text of ['a', 'bb', 'a', '']) {
    // Over loopback a datagram is there when it is sent; this socket's own event has not come yet.
    peer.once('message', () => peer.send(text, socket.port, loopback, () => socket.read(1)))
    const before = got.length
    socket.send(Buffer.from('ask'), 3, peer.port, loopback)
    while (got.length === before) await new Promise(setImmediate)
  }
  assert.deepEqual(got, ['a', 'bb', 'a', ''])
  const gone = await open('node').openOne(loopback, 65_536)
  await gone.close()
  await socket.connect(gone.port, loopback)
  // Nobody is there: the system says so with what is sent or read next, and the socket goes on.
  while (failed === 0) {
    socket.sendConnected(Buffer.from('x'), 1)
    socket.read(1)
    await new Promise(setImmediate)
  }
  socket.disconnect()
  await socket.connect(peer.port, loopback)
  const heard = once(peer, 'message')
  socket.sendConnected(Buffer.from('there'), 5)
  assert.equal(String((await heard)[0]), 'there')
  await ports.close(socket)
  assert.equal(socket.read(1), 0)
  socket.send(Buffer.from('x'), 1, peer.port, loopback)
})

test('what is watched is read at once, of a flood of one port the first part, and the others are not held up', {
  skip,
}, async t => {
  const ports = open('direct')
  const watched = createWatched(libc!)
  assert.equal(watched.read(), 0)
  const sockets = [
    direct(await ports.openOne(loopback, 1 << 20)),
    direct(await ports.openOne(loopback, 65_536)),
  ] as const
  t.after(() => ports.close(...sockets))
  const taken = [0, 0]
  for (const [i, socket] of sockets.entries()) {
    socket.receive(() => taken[i]!++, assert.fail)
    watched.add(socket)
  }
  const peer = await peerOf(t)
  assert.equal(watched.read(), 0)
  let most = 0
  for (let i = 0; i < 600; i++) peer.send('flood', sockets[0].port, loopback)
  await new Promise<void>(done => {
    peer.send('in between', sockets[1].port, loopback, () => {
      // All are sent before this thread's loop of events looks at the sockets again.
      most = watched.read()
      assert.equal(taken[1], 1)
      done()
    })
  })
  assert.ok(most > 200 && most <= 256, `${most} at once`)
  while (taken[0]! < 600) await new Promise(setImmediate)
  watched.delete(sockets[1])
  await new Promise<void>(done => {
    peer.send('not watched', sockets[1].port, loopback, () => {
      assert.equal(watched.read(), 0)
      done()
    })
  })
  while (taken[1]! < 2) await new Promise(setImmediate)
})

test('IPv6 goes by Node’s sockets, also where IPv4 does not', { skip }, async t => {
  const ports = open('direct')
  const [four, six] = [await ports.openOne(loopback, 65_536), await ports.openOne('::1', 65_536)]
  t.after(() => ports.close(four, six))
  assert.deepEqual([isDirect(four), isDirect(six)], [true, false])
})
