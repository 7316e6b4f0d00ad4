import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import type { Member, Members } from '../../src/cluster/members.ts'
import { createSilentLog } from '../../src/log.ts'
import { warmBeside } from '../../src/media/warm.ts'
import { startMedia } from '../support/media-room.ts'
import { until } from '../support/pair.ts'

test('what carries media is started when another node is up, once, and nothing is left of it but that', async t => {
  const { media, close } = await startMedia()
  t.after(close)
  const changes = new EventEmitter()
  const onChange: Members['onChange'] = listener => {
    changes.on('change', listener)
    return () => changes.off('change', listener)
  }
  const members = { node: 'a', list: () => [{ node: 'a', state: 'up' }], onChange }
  const warm = warmBeside({ media, members, towards: '127.0.0.1', log: createSilentLog(), delayMs: 0 })
  t.after(() => warm.close())
  const say = (node: string, state: Member['state']) => changes.emit('change', { node, state }, undefined)
  say('a', 'up')
  say('b', 'joining')
  assert.equal(changes.listenerCount('change'), 1)
  assert.equal(media.load().workers.length, 0)
  say('b', 'up')
  assert.equal(changes.listenerCount('change'), 0)
  await until(() => media.load().workers.length === 1, 10_000)
  await until(() => media.load().ports === 0 && media.load().workers.every(({ legs }) => legs === 0), 10_000)
})

test('it is also started on the node that comes second, which finds the first one up', async t => {
  const { media, close } = await startMedia()
  t.after(close)
  const list = () => [
    { node: 'a', state: 'up' },
    { node: 'b', state: 'up' },
  ]
  const members = { node: 'b', list, onChange: () => () => {} }
  const warm = warmBeside({ media, members, towards: '127.0.0.1', log: createSilentLog(), delayMs: 0 })
  t.after(() => warm.close())
  await until(() => media.load().workers.length === 1, 10_000)
})
