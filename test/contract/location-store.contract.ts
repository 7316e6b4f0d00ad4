import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { Binding, LocationStore } from '../../src/location/store.ts'
import { someBinding } from '../support/bindings.ts'

/** What every location store does. `open` gives an empty one whose clock is `clock.now`, in ms since 1970. */
export function locationStoreContract(open: (clock: { now: number }) => Promise<LocationStore>): void {
  const aor = 'sip:ann@example.org'
  const start = Date.now()
  const later = (seconds: number) => start + seconds * 1000

  async function opened(work: (store: LocationStore, clock: { now: number }) => Promise<void>): Promise<void> {
    const clock = { now: start }
    const store = await open(clock)
    try {
      await work(store, clock)
    } finally {
      await store.close()
      await store.close()
    }
  }

  it('has nothing for an address that nobody registered', () =>
    opened(async store => {
      assert.deepEqual(await store.load(aor), { version: 0, bindings: [], expired: [] })
      assert.equal(await store.count(), 0)
    }))

  it('gives back all that was saved, best first', () =>
    opened(async store => {
      const old = someBinding({ contact: 'sip:old@192.0.2.1', expiresAt: later(60), updatedAt: later(-9) })
      const fresh = someBinding({ contact: 'sip:new@192.0.2.2', expiresAt: later(60), updatedAt: later(0) })
      const path = ['<sip:edge@192.0.2.9;lr;ob>']
      const best = someBinding({ path, instance: 'urn:uuid:1', regId: 2, expiresAt: later(60), updatedAt: later(-99) })
      const lessLiked = [old, fresh].map(binding => ({ ...binding, q: 0.5 }))
      assert.equal(await store.save(aor, 0, [...lessLiked, best]), true)
      const { bindings } = await store.load(aor)
      assert.deepEqual(bindings, [best, lessLiked[1], lessLiked[0]])
    }))

  it('refuses to save over a state that has moved, and over one that came again', () =>
    opened(async store => {
      const binding = someBinding({ expiresAt: later(60) })
      assert.equal(await store.save(aor, 0, [binding]), true)
      assert.equal(await store.save(aor, 0, []), false)
      const { version } = await store.load(aor)
      assert.equal(await store.save(aor, version, []), true)
      assert.equal(await store.save(aor, 0, [binding]), true)
      assert.equal(await store.save(aor, version, []), false)
      assert.equal((await store.load(aor)).bindings.length, 1)
    }))

  it('of many that save the same state at once lets one win', () =>
    opened(async store => {
      const binding = someBinding({ expiresAt: later(60) })
      const won = await Promise.all(Array.from({ length: 20 }, async () => store.save(aor, 0, [binding])))
      assert.equal(won.filter(Boolean).length, 1)
    }))

  it('tells the expired from the live', () =>
    opened(async (store, clock) => {
      const short = someBinding({ contact: 'sip:short@192.0.2.1', expiresAt: later(10) })
      const long = someBinding({ contact: 'sip:long@192.0.2.1', expiresAt: later(20) })
      await store.save(aor, 0, [short, long])
      clock.now = later(10)
      const loaded = await store.load(aor)
      assert.deepEqual(loaded.bindings, [long])
      assert.deepEqual(loaded.expired, [short])
    }))

  it('lists every live binding, page by page', () =>
    opened(async store => {
      const aors = Array.from({ length: 57 }, (_, n) => `sip:user${n}@example.org`)
      for (const each of aors) await store.save(each, 0, [someBinding({ aor: each, expiresAt: later(60) })])
      await store.save('sip:gone@example.org', 0, [someBinding({ aor: 'sip:gone@example.org', expiresAt: later(-1) })])
      const met: Binding[] = []
      let cursor: string | undefined
      do {
        const page = await store.list(cursor, 10)
        met.push(...page.bindings)
        cursor = page.cursor
      } while (cursor !== undefined)
      assert.deepEqual(new Set(met.map(binding => binding.aor)), new Set(aors))
    }))

  it('passes over nothing in a list while others go', () =>
    opened(async store => {
      const aors = Array.from({ length: 30 }, (_, n) => `sip:user${n}@example.org`)
      for (const each of aors) await store.save(each, 0, [someBinding({ aor: each, expiresAt: later(60) })])
      const met = new Set<string>()
      let page = await store.list(undefined, 10)
      for (const binding of page.bindings) met.add(binding.aor)
      for (const each of aors.slice(0, 5)) await store.save(each, (await store.load(each)).version, [])
      while (page.cursor !== undefined) {
        page = await store.list(page.cursor, 10)
        for (const binding of page.bindings) met.add(binding.aor)
      }
      for (const each of aors.slice(5)) assert.ok(met.has(each), each)
    }))

  it('counts', () =>
    opened(async store => {
      await store.save(aor, 0, [someBinding({ expiresAt: later(60) })])
      assert.equal(await store.count(), 1)
      assert.equal(store.healthy(), true)
    }))
}
