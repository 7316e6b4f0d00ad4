import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBridge } from '../../../src/cluster/bridge.ts'
import type { Json } from '../../../src/cluster/bus.ts'
import { createDesk } from '../../../src/cluster/desk.ts'
import type { Member } from '../../../src/cluster/members.ts'
import { createEvents, type Facts } from '../../../src/events.ts'
import { createSilentLog } from '../../../src/log.ts'

test('facts go to the others, and theirs come in as facts of elsewhere, never as ours', async () => {
  const desk = createDesk(createSilentLog())
  const told: [string, Json][] = []
  const kept: string[] = []
  const bus = {
    subscribe: desk.subscribe,
    publish: (subject: string, fact: Json) => void told.push([subject, fact]),
    async keep(subject: string, id: string) {
      kept.push(`${subject}: ${id}`)
    },
  }
  let change: ((member: Member, was: Member['state'] | undefined) => void) | undefined
  const members = {
    node: 'a',
    life: 'a-1',
    onChange(listener: NonNullable<typeof change>) {
      change = listener
      return () => {}
    },
  }
  const events = createEvents()
  const bridge = createBridge({ events, bus, members })
  const elsewhere: Facts['elsewhere'][] = []
  const ended: unknown[] = []
  events.on('elsewhere', fact => elsewhere.push(fact))
  events.on('callEnded', fact => ended.push(fact))

  const binding = {
    aor: 'sip:a@x',
    contact: 'sip:a@y',
    expires: 60,
    protocol: 'udp',
    source: 'y',
    userAgent: '',
  } as const
  events.emit('registered', { ...binding, renewed: false })
  events.emit('registered', { ...binding, renewed: true })
  const end = { id: 'c1', from: 'sip:a@x', to: 'sip:b@x', result: 'answered', status: 200, seconds: 3 } as const
  events.emit('callEnded', end)
  change?.({ node: 'b', life: 'b-1', state: 'up' } as Member, undefined)
  assert.deepEqual(told.map(([subject]) => subject), ['registered', 'node.changed']) // biome-ignore format: one line
  assert.deepEqual(told[1]?.[1], { node: 'b', life: 'b-1', state: 'up', was: '' })
  assert.deepEqual(kept, ['call.ended: callEnded c1'])

  desk.deliver('call.ended', { ...end, id: 'c2' }, 'b', 'callEnded c2')
  desk.deliver('call.ended', { ...end, id: 'c2' }, 'b', 'callEnded c2')
  desk.deliver('call.ended', { ...end }, 'a')
  desk.deliver('unknown', 1, 'b')
  assert.deepEqual(elsewhere, [{ node: 'b', what: 'callEnded', fact: { ...end, id: 'c2' } }])
  assert.deepEqual(ended, [end])
  bridge.close()
  events.emit('callEnded', end)
  assert.equal(kept.length, 1)
})
