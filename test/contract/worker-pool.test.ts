import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { types } from 'mediasoup'
import { Refusal } from '../../src/errors.ts'
import { createEvents } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import { createPool, type PoolDeps, type PooledWorker } from '../../src/media/worker/pool.ts'
import type { AddressWatch, LocalAddress } from '../../src/network/interfaces.ts'
import { realWorker } from '../support/media-worker.ts'
import { freePorts } from '../support/server.ts'

const local = (address: string): LocalAddress => ({
  interface: 'lo',
  address,
  family: address.includes(':') ? 6 : 4,
  netmask: '',
  prefix: 8,
  internal: true,
  scope: 0,
})

function createAddresses(...addresses: string[]): AddressWatch & { change(...now: string[]): void } {
  const listeners = new Set<(now: LocalAddress[]) => void>()
  let now = addresses.map(local)
  return {
    current: () => now,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {},
    change(...next) {
      now = next.map(local)
      for (const listener of listeners) listener(now)
    },
  }
}

async function start(t: TestContext, other: Partial<PoolDeps> = {}, workers = 2) {
  const [port] = (await freePorts(1)) as [number]
  const events = createEvents()
  const died: PooledWorker[] = []
  const pool = createPool({
    binary: realWorker,
    config: { workers, port, trunkPorts: '46000-46999' },
    addresses: createAddresses('127.0.0.1'),
    publicAddress: '',
    log: createSilentLog(),
    events,
    onDied: worker => died.push(worker),
    ...other,
  })
  t.after(() => pool.close())
  return { pool, port, events, died }
}

const connect = async (worker: PooledWorker) =>
  (await worker.router()).createWebRtcTransport({ webRtcServer: worker.webRtcServer, enableUdp: true, enableTcp: true })
const places = (transport: types.WebRtcTransport) =>
  transport.iceCandidates.map(({ protocol, address, port }) => `${protocol} ${address} ${port}`).sort()
const lives = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('the pool of SFU workers', () => {
  it('starts a process when one is needed, and the next one when it has enough to do', async t => {
    const { pool, port } = await start(t)
    assert.deepEqual(pool.list(), [])
    const [first, same] = await Promise.all([pool.take(), pool.take()])
    assert.equal(first, same)
    assert.ok(lives(first.pid))
    assert.equal(await first.router(), await first.router())
    assert.deepEqual(places(await connect(first)), [`tcp 127.0.0.1 ${port}`, `udp 127.0.0.1 ${port}`])
    assert.equal(first.load(), 1)
    assert.equal(await pool.take(), first)
    for (let i = 0; i < 7; i++) await connect(first)
    const second = await pool.take()
    assert.notEqual(second.pid, first.pid)
    assert.deepEqual(places(await connect(second)), [`tcp 127.0.0.1 ${port + 1}`, `udp 127.0.0.1 ${port + 1}`])
    assert.equal(await pool.take(), second, 'the least loaded')
    for (let i = 0; i < 9; i++) await connect(second)
    assert.equal(await pool.take(), first, 'no more than are allowed')
    assert.equal(pool.list().length, 2)
    assert.ok(first.cpuSeconds() >= 0)
  })

  it('replaces a process that dies, and says what it carried', async t => {
    const { pool, died, events } = await start(t)
    const facts: unknown[] = []
    events.on('workerDied', fact => facts.push(fact))
    const first = await pool.take()
    await connect(first)
    process.kill(first.pid, 'SIGKILL')
    await first.died
    assert.deepEqual(died, [first])
    assert.deepEqual(facts, [{ pid: first.pid, legs: 1 }])
    const next = await pool.take()
    assert.notEqual(next.pid, first.pid)
    assert.equal((await connect(next)).iceCandidates.length, 2)
    // The second death in a row: the successor waits a moment, and whoever asks waits with it.
    process.kill(next.pid, 'SIGKILL')
    await next.died
    assert.ok(lives((await pool.take()).pid))
  })

  it('takes the next free port', async t => {
    const taken = createSocket('udp4').bind(0, '127.0.0.1')
    await once(taken, 'listening')
    t.after(() => taken.close())
    const { port } = taken.address()
    const { pool } = await start(t, { config: { workers: 2, port, trunkPorts: '46000-46999' } })
    const transport = await connect(await pool.take())
    const [candidate] = transport.iceCandidates
    assert.equal(candidate?.port, port + 2, 'the one after belongs to the second worker')
  })

  it('listens on new addresses, and transports that are there go on', async t => {
    const addresses = createAddresses('127.0.0.1')
    const { pool, port } = await start(t, { addresses })
    const worker = await pool.take()
    const [before] = [await connect(worker), worker.webRtcServer]
    const old = worker.webRtcServer
    addresses.change('127.0.0.1', '127.0.0.2')
    while (worker.webRtcServer === old) await new Promise(done => setImmediate(done))
    const after = await connect(worker)
    assert.deepEqual([...new Set(after.iceCandidates.map(c => c.address))], ['127.0.0.1', '127.0.0.2'])
    assert.ok(!before.closed && !old.closed)
    before.close()
    assert.ok(old.closed, 'the old port is given back with its last transport')
    // Nobody uses the newest one now, so that the next takes its place, at the first port.
    after.close()
    const idle = worker.webRtcServer
    addresses.change('127.0.0.2')
    while (worker.webRtcServer === idle) await new Promise(done => setImmediate(done))
    assert.deepEqual(places(await connect(worker)), [`tcp 127.0.0.2 ${port}`, `udp 127.0.0.2 ${port}`])
  })

  it('leaves out an address that cannot be bound', async t => {
    const { pool, port } = await start(t, { addresses: createAddresses('127.0.0.1', '192.0.2.77') })
    assert.deepEqual(places(await connect(await pool.take())), [`tcp 127.0.0.1 ${port}`, `udp 127.0.0.1 ${port}`])
  })

  it('refuses in plain words when a process does not start', async t => {
    const folder = mkdtempSync(join(tmpdir(), 'vaartha-pool-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'worker')
    writeFileSync(file, '#!/bin/sh\nexit 1\n', { mode: 0o755 })
    const { pool } = await start(t, { binary: async () => file })
    await assert.rejects(pool.take(), (error: Error) => {
      assert.ok(error instanceof Refusal)
      assert.equal(error.code, 'media-unavailable')
      return true
    })
    const unready = new Refusal('media-unavailable', 'the media worker is being built')
    const early = await start(t, { binary: () => Promise.reject(unready) })
    const began = performance.now()
    for (let i = 0; i < 6; i++) await assert.rejects(early.pool.take(), unready)
    assert.ok(performance.now() - began < 2000, 'nobody waits for what is not there')
  })

  it('ends every process when it is closed', async t => {
    const { pool, died } = await start(t)
    const { pid } = await pool.take()
    await Promise.all([pool.close(), pool.close()])
    assert.equal(lives(pid), false)
    assert.deepEqual([died, pool.list()], [[], []])
    await assert.rejects(pool.take(), /closing/)
  })
})
