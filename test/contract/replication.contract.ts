import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Kept, Replication, Taken } from '../../src/cluster/replication.ts'

export interface ReplicationPair {
  first: Replication
  second: Replication
  /** What is told of the first one, and waited for by the store. */
  kill(): Promise<void>
  /** It has only been asleep. */
  wake(): Promise<void>
  close(): Promise<void>
}

export const call = (id: string, snapshot = `{"id":"${id}"}`, dialogs = [`${id};a;b`, `${id};c;d`]): Kept => ({
  kind: 'call',
  id,
  dialogs,
  snapshot,
})

export async function all<T>(some: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const one of some) list.push(one)
  return list
}

/** What every strategy promises; `open` gives two nodes that see each other alive. */
export function testReplication(name: string, open: () => Promise<ReplicationPair>): void {
  const run = (what: string, work: (pair: ReplicationPair) => Promise<void>) =>
    test(`${name}: ${what}`, { timeout: 20_000 }, async () => {
      const pair = await open()
      try {
        await work(pair)
      } finally {
        await pair.close()
      }
    })

  /** Lazy ones are written soon: asks until the other node finds it. */
  async function found(by: Replication, dialog: string): Promise<Taken | { owner: string }> {
    for (;;) {
      const one = await by.takeOver(dialog)
      if (one !== undefined) return one
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }
  const stored = async (pair: ReplicationPair, dialog: string) => {
    if (pair.first.strategy !== 'none') assert.ok('owner' in (await found(pair.second, dialog)))
  }

  run('what is saved is ours, and what is not is nobody else’s', async ({ first }) => {
    await first.save(call('one'), { must: true })
    assert.equal(first.owns('call', 'one'), true)
    assert.equal(first.owns('call', 'never-saved'), true)
    assert.equal(await first.sure('call', 'one'), true)
  })

  run('ends once', async pair => {
    await pair.first.save(call('one'), { must: true })
    await stored(pair, 'one;a;b')
    assert.equal(await pair.first.end('call', 'one'), true)
    assert.equal(await pair.second.takeOver('one;a;b'), undefined)
    await pair.kill()
    assert.equal(await pair.second.takeOver('one;a;b'), undefined)
    assert.deepEqual(await all(pair.second.adopt('first', 'call')), [])
  })

  run('a dialog that a transfer took into another one is found there when the first one ends', async pair => {
    await pair.first.save(call('one'), { must: true })
    await stored(pair, 'one;c;d')
    await pair.first.save(call('two', '{"id":"two"}', ['one;a;b', 'two;e;f']), { must: true })
    await stored(pair, 'two;e;f')
    assert.equal(await pair.first.end('call', 'one'), true)
    await stored(pair, 'one;a;b')
  })

  run('an unknown dialog is nobody’s', async ({ second }) => {
    assert.equal(await second.takeOver('none;x;y'), undefined)
  })

  run('a living owner keeps it', async pair => {
    await pair.first.save(call('one'), { must: true })
    await stored(pair, 'one;c;d')
    assert.deepEqual(await all(pair.second.adopt('first', 'call')), [])
    const seen = await pair.second.takeOver('one;c;d')
    assert.deepEqual(seen, pair.first.strategy === 'none' ? undefined : { owner: 'first' })
    assert.equal(pair.first.owns('call', 'one'), true)
  })

  run('a dead owner’s is taken over by a request for it, newest state, once', async pair => {
    if (pair.first.strategy === 'none') return
    await pair.first.save(call('one', 'old'), { must: true })
    await pair.first.save(call('one', 'new', ['one;a;b', 'one;e;f']), { must: true })
    await stored(pair, 'one;e;f')
    await pair.kill()
    assert.deepEqual(await pair.second.takeOver('one;e;f'), {
      ...call('one', 'new', ['one;a;b', 'one;e;f']),
      fence: 2,
      from: 'first',
    })
    assert.deepEqual(await pair.second.takeOver('one;a;b'), { owner: 'second' })
    assert.equal(await pair.second.takeOver('one;c;d'), undefined)
    assert.equal(pair.second.owns('call', 'one'), true)
    assert.equal(await pair.second.end('call', 'one'), true)
  })

  run('an owner that wakes up late hears that it is none any more', async pair => {
    if (pair.first.strategy === 'none') return
    const lost: string[] = []
    pair.first.onLost((kind, id, owner) => lost.push(`${kind} ${id} ${owner}`))
    await pair.first.save(call('one', 'old'), { must: true })
    await stored(pair, 'one;a;b')
    await pair.kill()
    assert.equal(pair.first.owns('call', 'one'), false)
    await pair.second.takeOver('one;a;b')
    await pair.second.save(call('one', 'newer'), { must: true })
    await pair.wake()
    assert.equal(await pair.first.sure('call', 'one'), false)
    assert.equal(pair.first.owns('call', 'one'), false)
    assert.deepEqual(lost, ['call one second'])
    await pair.first.save(call('one', 'zombie'), { must: true })
    assert.equal(await pair.first.end('call', 'one'), false)
    assert.equal(pair.second.owns('call', 'one'), true)
    assert.equal(await pair.second.end('call', 'one'), true)
  })

  run('an owner that wakes up before anybody came carries on', async pair => {
    await pair.first.save(call('one', 'old'), { must: true })
    await stored(pair, 'one;a;b')
    await pair.kill()
    await pair.wake()
    assert.equal(await pair.first.sure('call', 'one'), true)
    await pair.first.save(call('one', 'new'), { must: true })
    assert.equal(await pair.first.end('call', 'one'), true)
  })

  run('what is given up is taken by who asks for it', async pair => {
    await pair.first.save(call('one', 'state'), { must: true })
    if (pair.first.strategy === 'none') return assert.equal(await pair.first.release('call', 'one'), false)
    assert.equal(await pair.first.release('call', 'one'), true)
    assert.equal(pair.first.owns('call', 'one'), false)
    const taken = await pair.second.takeOver('one;a;b')
    assert.equal(taken !== undefined && 'snapshot' in taken && taken.snapshot, 'state')
    assert.equal(await pair.first.end('call', 'one'), false)
    assert.equal(await pair.second.end('call', 'one'), true)
  })

  run('a dead owner’s are adopted by hot-standby, of one kind at a time', async pair => {
    for (let n = 0; n < 20; n++) await pair.first.save(call(`c${n}`), { must: true })
    await pair.first.save({ ...call('m'), kind: 'meeting' }, { must: true })
    await pair.kill()
    const taken = await all(pair.second.adopt('first', 'call'))
    assert.equal(taken.length, pair.first.strategy === 'hot-standby' ? 20 : 0)
    for (const one of taken) assert.equal(pair.second.owns('call', one.id), true)
    assert.deepEqual(await all(pair.second.adopt('first', 'call')), [])
    const meetings = await all(pair.second.adopt('first', 'meeting'))
    assert.deepEqual(
      meetings.map(one => one.id),
      pair.first.strategy === 'hot-standby' ? ['m'] : [],
    )
  })
}
