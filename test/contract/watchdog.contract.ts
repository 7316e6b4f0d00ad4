import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Refusal } from '../../src/errors.ts'
import { createEvents, type Events, type Facts } from '../../src/events.ts'
import type { LocationStore } from '../../src/location/store.ts'
import { createWatchdog, type Watchdog } from '../../src/location/watchdog.ts'
import { createSilentLog } from '../../src/log.ts'
import { someBinding } from '../support/bindings.ts'

const aor = 'sip:ann@example.org'
type Ended = Facts['unregistered']

/** Resolves when so many bindings have ended. */
function ended(events: Events, count: number): Promise<Ended[]> {
  const facts: Ended[] = []
  return new Promise(resolve => {
    const off = events.on('unregistered', fact => {
      facts.push(fact)
      if (facts.length < count) return
      off()
      resolve(facts)
    })
  })
}

// The watchdog looks once a second. This clock is the real one, moved so that the first second ends soon.
const shift = 800 - (Date.now() % 1000)
const now = () => Date.now() + shift

/** What the watchdog does over any store. `open` gives an empty one on the given clock. */
export function watchdogContract(open: (now: () => number) => Promise<LocationStore>): void {
  async function opened(
    work: (watchdog: Watchdog, events: Events, store: LocationStore) => Promise<void>,
    change: (store: LocationStore) => LocationStore = store => store,
  ): Promise<void> {
    const events = createEvents()
    const store = await open(now)
    const deps = { node: 'node-1', events, log: createSilentLog(), now, retryMs: 1 }
    const watchdog = createWatchdog({ ...deps, store: change(store) })
    try {
      await work(watchdog, events, store)
    } finally {
      await watchdog.close()
      await watchdog.close()
    }
  }
  const live = (other: Parameters<typeof someBinding>[0] = {}) => someBinding({ expiresAt: now() + 60_000, ...other })
  const dying = (other: Parameters<typeof someBinding>[0] = {}) => live({ expiresAt: now() + 150, ...other })

  it('drops what has expired without being asked, and keeps the rest', () =>
    opened(async (watchdog, events, store) => {
      const gone = ended(events, 2)
      const other = 'sip:bob@example.org'
      await watchdog.save(aor, 0, [dying({ contact: 'sip:dying@192.0.2.1' }), live({ contact: 'sip:live@192.0.2.1' })])
      await watchdog.save(other, 0, [dying({ aor: other, contact: 'sip:bob@192.0.2.1' })])
      assert.deepEqual(
        new Set(await gone),
        new Set([
          { aor, contact: 'sip:dying@192.0.2.1', why: 'expired' },
          { aor: other, contact: 'sip:bob@192.0.2.1', why: 'expired' },
        ]),
      )
      const { bindings, expired } = await store.load(aor)
      assert.deepEqual([bindings.map(({ contact }) => contact), expired], [['sip:live@192.0.2.1'], []])
      assert.deepEqual(await store.load(other), { version: 0, bindings: [], expired: [] })
    }))

  it('lets live what was renewed in time', () =>
    opened(async (watchdog, events) => {
      const witness = ended(events, 1)
      await watchdog.save(aor, 0, [dying()])
      const { version } = await watchdog.load(aor)
      await watchdog.save(aor, version, [live()])
      const other = 'sip:bob@example.org'
      await watchdog.save(other, 0, [dying({ aor: other })])
      assert.equal((await witness)[0]?.aor, other)
      assert.equal((await watchdog.load(aor)).bindings.length, 1)
    }))

  it('watches what was there before', () =>
    opened(async (watchdog, events, store) => {
      await store.save(aor, 0, [dying()])
      const gone = ended(events, 1)
      await watchdog.start()
      assert.equal((await gone)[0]?.why, 'expired')
    }))

  it('a closed connection ends its bindings and no others', () =>
    opened(async (watchdog, events) => {
      await watchdog.save(aor, 0, [
        live({ contact: 'sip:a@192.0.2.1', flow: 'flow-1' }),
        live({ contact: 'sip:b@192.0.2.1', flow: 'flow-2' }),
        live({ contact: 'sip:c@192.0.2.1', flow: 'flow-1', node: 'node-2' }),
      ])
      const gone = ended(events, 1)
      watchdog.flowClosed('flow-1')
      assert.deepEqual(await gone, [{ aor, contact: 'sip:a@192.0.2.1', why: 'flow-closed' }])
      const left = (await watchdog.load(aor)).bindings.map(({ contact }) => contact)
      assert.deepEqual(left.sort(), ['sip:b@192.0.2.1', 'sip:c@192.0.2.1'])
    }))

  it('Outbound keeps its binding, without the flow (RFC 5626)', () =>
    opened(async (watchdog, events) => {
      const outbound = { instance: 'urn:uuid:1', regId: 1 }
      await watchdog.save(aor, 0, [
        live({ ...outbound, contact: 'sip:a@192.0.2.1' }),
        live({ contact: 'sip:b@192.0.2.1' }),
      ])
      const gone = ended(events, 1)
      watchdog.flowClosed('flow-1')
      await gone
      const { bindings } = await watchdog.load(aor)
      assert.deepEqual(
        bindings.map(({ contact, flow }) => [contact, flow]),
        [['sip:a@192.0.2.1', '']],
      )
    }))

  it('a flow that closes while its REGISTER is on the way ends that binding too', () =>
    opened(async (watchdog, events) => {
      const gone = ended(events, 1)
      watchdog.flowClosed('flow-1')
      await watchdog.save(aor, 0, [live()])
      assert.equal((await gone)[0]?.why, 'flow-closed')
    }))

  it('loses to nobody who saves in between', () => {
    let meddle = true
    return opened(
      async (watchdog, events, store) => {
        await watchdog.save(aor, 0, [live({ contact: 'sip:a@192.0.2.1' })])
        const gone = ended(events, 1)
        watchdog.flowClosed('flow-1')
        await gone
        assert.deepEqual(
          (await store.load(aor)).bindings.map(({ contact }) => contact),
          ['sip:new@192.0.2.1'],
        )
      },
      store => ({
        ...store,
        async load(key) {
          const loaded = await store.load(key)
          if (meddle && loaded.version !== 0) {
            meddle = false
            const fresh = live({ contact: 'sip:new@192.0.2.1', flow: 'flow-2' })
            assert.equal(await store.save(key, loaded.version, [...loaded.bindings, fresh]), true)
          }
          return loaded
        },
      }),
    )
  })

  it('comes again when the store fails, at the start and later', () => {
    const failures = { list: 2, load: 1 }
    const fail = (verb: 'list' | 'load') => {
      if (failures[verb]-- > 0) throw new Refusal('store-unavailable')
    }
    return opened(
      async (watchdog, events, store) => {
        await store.save(aor, 0, [live({ expiresAt: now() + 500 })])
        const gone = ended(events, 1)
        await watchdog.start()
        assert.equal((await gone)[0]?.why, 'expired')
        assert.ok(failures.list < 0 && failures.load < 0)
      },
      store => ({
        ...store,
        list(cursor, limit) {
          fail('list')
          return store.list(cursor, limit)
        },
        load(key) {
          fail('load')
          return store.load(key)
        },
      }),
    )
  })
}
