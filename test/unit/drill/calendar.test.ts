import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createLoneLeader } from '../../../src/cluster/leader.ts'
import { createLocalBus } from '../../../src/cluster/local-bus.ts'
import { createNoMembers } from '../../../src/cluster/no-members.ts'
import { createNodes } from '../../../src/cluster/nodes.ts'
import { createDrills } from '../../../src/drill/drills.ts'
import { createReports } from '../../../src/drill/reports.ts'
import { createEvents } from '../../../src/events.ts'
import { createSilentLog } from '../../../src/log.ts'

// The calendar's wish on a cluster that is down to one node, and while somebody talks.

const log = createSilentLog()

function openAt(hour: number, t: { after(how: () => unknown): void }) {
  const directory = mkdtempSync(join(tmpdir(), 'vaartha-drills-'))
  const places = () => ({ sip: 'sip:192.0.2.1:5060;transport=tcp', http: '' })
  const members = createNoMembers({ node: 'a', life: 'a-1', roles: ['sip'], priority: 10, version: '1', places })
  const bus = createLocalBus({ node: 'a', log })
  const stats = () => {
    throw new Error('nobody asks for figures')
  }
  const nodes = createNodes({ members, bus, stats }, { drain: async () => undefined, undrain: () => undefined }, log)
  const calls: { id: string; from: string; state: string; since: string }[] = []
  const events = createEvents()
  const dismissed: number[] = []
  const leader = createLoneLeader()
  const drills = createDrills({
    ...{ members, bus, leader, nodes, events, log, domain: 'example.org', replication: 'hot-standby' },
    plan: { when: 'monthly', hour },
    reports: createReports({ file: join(directory, 'drills.json'), redis: undefined, prefix: 'x', log }),
    people: { hire: async () => [], dismiss: async before => void dismissed.push(before) },
    calls: { list: () => calls, relay: async () => undefined, hangUp: () => true },
    meetings: () => 0,
    knows: async () => true,
    recordsOf: async () => 0,
    die: () => undefined,
    now: () => new Date(2026, 2, 9, 4, 30).getTime(),
    lookEveryMs: 5,
  })
  t.after(async () => {
    await drills.close()
    await leader.close()
    rmSync(directory, { recursive: true })
  })
  const ended = new Promise<string>(resolve =>
    events.on('drillChanged', ({ state, step }) => resolve(`${state}: ${step}`)),
  )
  return { drills, calls, ended, dismissed }
}

test('without a second node the day is skipped, and that is told once', async t => {
  const { drills, ended, dismissed } = openAt(4, t)
  assert.match(await ended, /^skipped: a drill needs a second node/)
  const { reports, next, running } = drills.view()
  assert.equal(reports.length, 1)
  assert.equal(running, null)
  assert.equal(next, new Date(2026, 2, 10, 4).toISOString())
  // Accounts that a dead conductor left behind are gone, those of the last hour are not.
  assert.equal(dismissed[0], new Date(2026, 2, 9, 3, 30).getTime())
})

test('while somebody talks the day is skipped', async t => {
  const { calls, ended } = openAt(4, t)
  calls.push({ id: '1', from: 'sip:ann@example.org', state: 'answered', since: '' })
  assert.equal(await ended, 'skipped: people talk at a')
})
