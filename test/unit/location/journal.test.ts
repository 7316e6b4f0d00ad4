import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { createEvents, type FactName } from '../../../src/events.ts'
import { createJournal, type JournalOptions } from '../../../src/location/journal.ts'
import { createMemoryStore } from '../../../src/location/memory.ts'
import type { LocationStore } from '../../../src/location/store.ts'
import { createSilentLog } from '../../../src/log.ts'
import { someBinding } from '../../support/bindings.ts'

const hour = 3_600_000

/** Gives the work a fresh directory and a way to open stores on one journal in it, and cleans up behind it. */
async function inDirectory(
  work: (path: string, openStore: (options?: Partial<JournalOptions>) => ReturnType<typeof openOn>) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'vaartha-journal-'))
  const path = join(directory, 'registrations.journal')
  const opened: ReturnType<typeof openOn>[] = []
  try {
    await work(path, options => {
      const one = openOn({ path, ...options })
      opened.push(one)
      return one
    })
  } finally {
    for (const { store } of opened) await store.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

function openOn(options: Pick<JournalOptions, 'path'> & Partial<JournalOptions>) {
  const events = createEvents()
  const facts: FactName[] = []
  events.onAny(name => facts.push(name))
  const journal = createJournal({ log: createSilentLog(), events, gatherMs: 1, retryMs: 1, ...options })
  const store = createMemoryStore({ now: Date.now, journal })
  const fact = (name: FactName) => new Promise<void>(resolve => events.on(name as 'storeFailed', () => resolve()))
  return { journal, store, facts, fact }
}

async function put(store: LocationStore, user: string, contacts = 1, expiresAt = Date.now() + hour): Promise<void> {
  const aor = `sip:${user}@example.org`
  const { version } = await store.load(aor)
  const bindings = Array.from({ length: contacts }, (_, n) =>
    someBinding({ aor, contact: `sip:${user}@192.0.2.${n}`, expiresAt }),
  )
  assert.equal(await store.save(aor, version, bindings), true)
}
const contactsOf = async (store: LocationStore, user: string) =>
  (await store.load(`sip:${user}@example.org`)).bindings.length
const lines = (path: string) => readFileSync(path, 'utf8').split('\n').length - 1

test('what was saved is there after a restart, as it was but for its flow; what ended or was removed is not', () =>
  inDirectory(async (path, openStore) => {
    const first = openStore()
    const path3327 = ['<sip:edge;lr;ob>']
    const whole = someBinding({ expiresAt: Date.now() + hour, path: path3327, instance: 'urn:x', regId: 1, q: 0.5 })
    await first.store.save(whole.aor, 0, [whole])
    await put(first.store, 'removed')
    const { version } = await first.store.load('sip:removed@example.org')
    await first.store.save('sip:removed@example.org', version, [])
    await put(first.store, 'ended', 1, Date.now() - 1)
    await put(first.store, 'zoë', 2)
    await first.store.close()
    assert.equal(statSync(path).mode & 0o777, 0o600)

    const { store } = openStore()
    assert.deepEqual((await store.load(whole.aor)).bindings, [{ ...whole, flow: '' }])
    assert.equal(await contactsOf(store, 'zoë'), 2)
    assert.equal(await store.count(), 3)
  }))

test('a process killed in the midst of writing loses nothing that was flushed', () =>
  inDirectory(async (path, openStore) => {
    const writer = join(import.meta.dirname, '../../support/journal-writer.ts')
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', writer, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const exited = once(child, 'exit')
    let flushed = 0
    for await (const line of createInterface(child.stdout)) {
      flushed = Number(line)
      if (flushed >= 3000 && !child.killed) child.kill('SIGKILL')
    }
    await exited
    const { store } = openStore()
    assert.ok((await store.count()) >= flushed)
    for (let n = 0; n < flushed; n++) assert.equal(await contactsOf(store, `user${n}`), 1)
  }))

test('a torn last line is left out, and what is written next is not glued to it', () =>
  inDirectory(async (path, openStore) => {
    const first = openStore()
    await put(first.store, 'a')
    await put(first.store, 'b')
    await first.store.close()
    const whole = readFileSync(path)
    for (const cut of [1, 2, 40, 200]) {
      writeFileSync(path, whole.subarray(0, whole.length - cut))
      const second = openStore()
      assert.equal(await contactsOf(second.store, 'a'), 1)
      await put(second.store, 'c')
      await second.store.close()
      const third = openStore()
      assert.equal(await contactsOf(third.store, 'c'), 1)
      assert.equal(await contactsOf(third.store, 'a'), 1)
      await third.store.close()
    }
  }))

test('of an address whose last line is torn the line before counts', () =>
  inDirectory(async (path, openStore) => {
    const first = openStore()
    await put(first.store, 'a', 1)
    await first.journal.flush()
    await put(first.store, 'a', 2)
    await first.store.close()
    const whole = readFileSync(path)
    assert.equal(lines(path), 2)
    for (const [cut, contacts] of [
      [1, 2],
      [2, 1],
      [200, 1],
    ] as const) {
      writeFileSync(path, whole.subarray(0, whole.length - cut))
      const { store } = openStore()
      assert.equal(await contactsOf(store, 'a'), contacts)
      await store.close()
    }
  }))

test('rubbish in the file costs its own lines only', () =>
  inDirectory(async (path, openStore) => {
    const first = openStore()
    await put(first.store, 'a')
    await first.store.close()
    appendFileSync(path, 'rubbish\n{}\n[1,2]\n["x",3]\n["x",[null]]\n["x",[{}]]\n\n\0\0\0\n')
    appendFileSync(path, readFileSync(path, 'utf8').split('\n')[0]!.replaceAll('sip:a@', 'sip:b@'))
    const { store } = openStore()
    assert.deepEqual([await contactsOf(store, 'a'), await contactsOf(store, 'b'), await store.count()], [1, 1, 2])
  }))

test('a failing disk stops no registration; when it works again the whole is written', () =>
  inDirectory(async (path, openStore) => {
    let full = false
    const openFile: JournalOptions['openFile'] = async (name, flags, mode) => {
      const file = await open(name, flags, mode)
      const write = async (bytes: Uint8Array, from = 0) => {
        if (!full) return file.write(bytes, from)
        // A full disk takes a part before it refuses.
        await file.write(bytes, from, Math.min(10, bytes.length - from))
        throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      }
      return { write, datasync: () => file.datasync(), close: () => file.close() } as never
    }
    const { store, journal, facts, fact } = openStore({ openFile })
    await put(store, 'before')
    await journal.flush()
    full = true
    const failed = fact('storeFailed')
    await put(store, 'during')
    await failed
    assert.equal(store.healthy(), false)
    for (let n = 0; n < 20; n++) await put(store, `more${n}`)
    await journal.flush()
    assert.equal(await contactsOf(store, 'during'), 1)
    const recovered = fact('storeRecovered')
    full = false
    await recovered
    assert.equal(store.healthy(), true)
    assert.deepEqual(facts, ['storeFailed', 'storeRecovered'])
    await put(store, 'after')
    await store.close()
    const again = openStore()
    for (const user of ['before', 'during', 'more19', 'after']) assert.equal(await contactsOf(again.store, user), 1)
    assert.equal(existsSync(`${path}.new`), false)
  }))

test('a disk that is really full', t =>
  inDirectory(async (path, openStore) => {
    const disk = `${path}.disk`
    spawnSync('mkdir', [disk])
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'none', disk])
    if (mounted.status !== 0) return t.skip('a small disk may not be mounted here')
    try {
      const onDisk = join(disk, 'registrations.journal')
      const { store, fact } = openStore({ path: onDisk })
      await put(store, 'first')
      const failed = fact('storeFailed')
      writeFileSync(join(disk, 'ballast'), Buffer.alloc(240 * 1024))
      for (let n = 0; n < 500; n++) await put(store, `user${n}`, 1)
      await failed
      assert.equal(await contactsOf(store, 'user499'), 1)
      const recovered = fact('storeRecovered')
      rmSync(join(disk, 'ballast'))
      await recovered
      await store.close()
      const again = openStore({ path: onDisk })
      assert.equal(await again.store.count(), 501)
      await again.store.close()
    } finally {
      spawnSync('umount', [disk])
    }
  }))

test('what is closed while its disk fails is whole if the disk works at the last moment', () =>
  inDirectory(async (_path, openStore) => {
    let full = true
    const openFile: JournalOptions['openFile'] = async (name, flags, mode) => {
      if (full) throw Object.assign(new Error('read-only file system'), { code: 'EROFS' })
      return open(name, flags, mode)
    }
    const { store, fact } = openStore({ openFile, retryMs: hour })
    const failed = fact('storeFailed')
    await put(store, 'a')
    await failed
    full = false
    await store.close()
    assert.equal(await contactsOf(openStore().store, 'a'), 1)
  }))

test('a journal that is mostly dead is written anew, with what changes meanwhile', () =>
  inDirectory(async (path, openStore) => {
    let rewrites = 0
    const openFile: JournalOptions['openFile'] = async (name, flags, mode) => {
      const file = await open(name, flags, mode)
      if (name === path) return file
      const write = async (bytes: Uint8Array, from = 0) => {
        // Behind the states that are being written just now.
        if (rewrites++ === 0) await put(store, 'user0', 3)
        return file.write(bytes, from)
      }
      return { write, datasync: () => file.datasync(), close: () => file.close() } as never
    }
    const { store, journal } = openStore({ openFile })
    while (rewrites === 0) {
      for (let n = 0; n < 100; n++) await put(store, `user${n}`)
      await journal.flush()
    }
    assert.ok(lines(path) < 110, String(lines(path)))
    assert.equal(statSync(path).mode & 0o777, 0o600)
    await put(store, 'last')
    await store.close()
    const again = openStore()
    assert.equal(await again.store.count(), 103)
    assert.equal(await contactsOf(again.store, 'user0'), 3)
    assert.equal(await contactsOf(again.store, 'last'), 1)
  }))
