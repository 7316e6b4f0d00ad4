import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fullDocument, partialDocument, type RosterState, renderRoster } from '../../../src/groups/roster.ts'
import { applyDocument, emptyRoster, type Xml } from '../../../src/web/roster.ts'
import { type Node, parseXml } from '../../support/roster.ts'

// A browser's DOM elements look so, as far as the roster reads them.
const asDom = (node: Node): Xml => ({
  localName: node.name.replace(/^.*:/, ''),
  textContent: node.text,
  getAttribute: name => node.attributes[name] ?? null,
  children: node.children.map(asDom),
})
const read = (text: string) => asDom(parseXml(text))

type User = RosterState['users'][number]
const user = (name: string, id: number, muted = false): User => ({
  entity: `sip:${name}@example.org`,
  displayName: `${name} & co`,
  moderator: id === 1,
  endpoints: [
    {
      entity: `sip:${name}@example.org;gr=urn:uuid:${id}`,
      status: muted ? 'muted-via-focus' : 'connected',
      joining: 'dialed-in',
      since: '2026-01-01T00:00:00Z',
      media: [],
      member: { id, mesh: true, muted },
    },
  ],
})
const state = (change: Partial<RosterState>): RosterState => ({
  entity: 'sip:family@example.org',
  displayName: 'Family',
  most: 100,
  locked: false,
  meeting: { id: 'abc', recording: false, adHoc: false },
  topology: { shape: 'sfu', epoch: 1, state: 'settled', members: [] },
  users: [],
  speaker: undefined,
  ...change,
})

describe('roster in the browser', () => {
  const first = state({ users: [user('mum', 1), user('dad', 2)] })
  const start = applyDocument(emptyRoster, read(fullDocument(renderRoster(first), 4)))!
  const after = (next: RosterState, version = 5) =>
    applyDocument(start, read(partialDocument(renderRoster(first), renderRoster(next), version) ?? ''))

  it('reads a whole document', () => {
    assert.equal(start.title, 'Family')
    assert.equal(start.meeting, 'abc')
    assert.equal(start.active, true)
    assert.deepEqual(
      start.members.map(({ id, name, entity, moderator, muted }) => ({ id, name, entity, moderator, muted })),
      [
        {
          id: 1,
          name: 'mum & co',
          entity: 'sip:mum@example.org;gr=urn:uuid:1',
          moderator: true,
          muted: false,
        },
        {
          id: 2,
          name: 'dad & co',
          entity: 'sip:dad@example.org;gr=urn:uuid:2',
          moderator: false,
          muted: false,
        },
      ],
    )
  })

  it('takes up what a partial one changes, and nothing else', () => {
    const topology = { shape: 'mesh', epoch: 7, state: 'preparing', members: [1, 2] } as const
    const changed = after(state({ ...first, topology: { ...topology, members: [...topology.members] }, locked: true }))
    assert.deepEqual(changed?.meshed, [1, 2])
    assert.deepEqual([changed?.shape, changed?.epoch, changed?.preparing, changed?.locked], ['mesh', 7, true, true])
    assert.equal(changed?.settled, 'sfu')
    assert.equal(changed?.members.length, 2)
    assert.equal(changed?.title, 'Family')
    const muted = after(state({ ...first, users: [user('mum', 1), user('dad', 2, true)] }))
    assert.deepEqual(
      muted?.members.map(one => one.muted),
      [false, true],
    )
    assert.deepEqual(
      after(state({ ...first, users: [user('dad', 2)] }))?.members.map(one => one.id),
      [2],
    )
    assert.equal(after(state({ ...first, speaker: 2 }))?.speaker, 2)
  })

  it('shows who is being called apart from those who are in', () => {
    const rings: User = {
      entity: 'sip:kid@example.org',
      displayName: '',
      moderator: false,
      endpoints: [{ entity: 'sip:kid@example.org', status: 'alerting', joining: 'dialed-out', media: [] }],
    } as unknown as User
    const ringing = after(state({ ...first, users: [...first.users, rings] }))
    assert.deepEqual(ringing?.ringing, [{ aor: 'sip:kid@example.org', name: 'kid' }])
    assert.equal(ringing?.members.length, 2)
  })

  it('asks for a whole one when a version was missed, and lets an old one be', () => {
    const next = state({ ...first, locked: true })
    assert.equal(after(next, 6), undefined)
    assert.equal(after(next, 4), start)
  })
})
