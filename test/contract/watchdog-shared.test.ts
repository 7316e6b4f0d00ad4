import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createEvents, type Events, type Facts } from '../../src/events.ts'
import type { Binding } from '../../src/location/store.ts'
import { createWatchdog, type Watchdog } from '../../src/location/watchdog.ts'
import { createSilentLog } from '../../src/log.ts'
import { someBinding } from '../support/bindings.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { openSharedNode, type SharedNode } from '../support/shared-store.ts'
import { until } from './shared-location.contract.ts'

const aor = 'sip:ann@example.org'
let redis: RedisServer
let prefixes = 0

interface Watched {
  store: SharedNode
  watchdog: Watchdog
  events: Events
  ended: Facts['unregistered'][]
  die(life: string): void
  /** It was only cut off. */
  comeBack(life: string): void
}

/** Two nodes, a and b; `lead.who` is the one that leads. */
async function twoWatchdogs(lead: { who: string }, work: (a: Watched, b: Watched) => Promise<void>): Promise<void> {
  const prefix = `w${++prefixes}`
  const open = async (name: string): Promise<Watched> => {
    const events = createEvents()
    const ended: Facts['unregistered'][] = []
    events.on('unregistered', fact => ended.push(fact))
    const store = await openSharedNode({ redis: redis.url, prefix, events })
    let die = (_dead: { life: string }) => {}
    let change = (_member: { life: string; state: string }) => {}
    const watchdog = createWatchdog({
      store,
      node: name,
      events,
      log: createSilentLog(),
      now: Date.now,
      leader: () => lead.who === name,
      onDeath(listener) {
        die = listener
        return () => {}
      },
      onChange(listener) {
        change = listener
        return () => {}
      },
    })
    await watchdog.start()
    const comeBack = (life: string) => change({ life, state: 'up' })
    return { store, watchdog, events, ended, die: life => die({ life }), comeBack }
  }
  const [a, b] = [await open('a'), await open('b')]
  try {
    await work(a, b)
  } finally {
    await a.watchdog.close()
    await b.watchdog.close()
  }
}

const live = (other: Partial<Binding> = {}) => someBinding({ expiresAt: Date.now() + 60_000, node: 'a', ...other })
const next = (events: Events) => new Promise<void>(resolve => events.on('unregistered', () => resolve()))

describe('watchdogs of two nodes', { concurrency: true }, () => {
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  it('the leader alone ends what has expired, whoever registered it', () =>
    twoWatchdogs({ who: 'b' }, async (a, b) => {
      const told = next(b.events)
      const gone = new Promise<void>(resolve => a.store.onChanged((_, bindings) => bindings.length === 0 && resolve()))
      await a.watchdog.save(aor, 0, [live({ expiresAt: Date.now() + 100 })])
      await told
      await gone
      assert.equal(await a.store.count(), 0)
      assert.deepEqual([a.ended, b.ended.length], [[], 1])
    }))

  it('who comes to lead ends what nobody has ended', () => {
    const lead = { who: 'nobody' }
    return twoWatchdogs(lead, async (a, b) => {
      await a.watchdog.save(aor, 0, [live({ expiresAt: Date.now() - 1 })])
      const told = next(b.events)
      lead.who = 'b'
      await told
      await until(a.store, aor, bindings => bindings.length === 0)
      assert.deepEqual([a.ended, b.ended.length], [[], 1])
    })
  })

  it('a flow ends its bindings on the node that holds it and on no other', () =>
    twoWatchdogs({ who: 'b' }, async (a, b) => {
      await a.watchdog.save(aor, 0, [live()])
      await until(b.store, aor, bindings => bindings.length === 1)
      b.watchdog.flowClosed('flow-1')
      const told = next(a.events)
      a.watchdog.flowClosed('flow-1')
      await told
      await until(b.store, aor, bindings => bindings.length === 0)
      assert.deepEqual([a.ended.length, b.ended], [1, []])
    }))

  it('with a process its flows are gone, at once for calls and soon in Redis, and no binding ends', () =>
    twoWatchdogs({ who: 'b' }, async (a, b) => {
      const bindings = [
        live({ contact: 'sip:out@192.0.2.1', instance: 'urn:uuid:1', regId: 1, node: 'dead' }),
        live({ contact: 'sip:tcp@192.0.2.1', node: 'dead' }),
        live({ contact: 'sip:here@192.0.2.1' }),
      ]
      await a.watchdog.save(aor, 0, bindings)
      await until(b.store, aor, present => present.length === 3)
      const flows = async ({ watchdog }: Watched) =>
        Object.fromEntries((await watchdog.load(aor)).bindings.map(({ contact, flow }) => [contact, flow]))
      const expected = { 'sip:out@192.0.2.1': '', 'sip:tcp@192.0.2.1': '', 'sip:here@192.0.2.1': 'flow-1' }
      for (const node of [a, b]) node.die('dead')
      for (const node of [a, b]) assert.deepEqual(await flows(node), expected)
      const isOver = (present: readonly Binding[]) => present.filter(({ flow }) => flow === '').length === 2
      for (const node of [a, b]) await until(node.store, aor, isOver)
      assert.deepEqual([a.ended, b.ended], [[], []])
    }))

  it('what registers at a process that comes back after all keeps its flow', () =>
    twoWatchdogs({ who: 'b' }, async (a, b) => {
      b.die('a')
      b.comeBack('a')
      await a.watchdog.save(aor, 0, [live()])
      await until(b.store, aor, present => present.length === 1)
      assert.deepEqual(
        (await b.watchdog.load(aor)).bindings.map(({ flow }) => flow),
        ['flow-1'],
      )
    }))
})
