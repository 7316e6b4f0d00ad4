import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  fullDocument,
  partialDocument,
  type RosterState,
  type RosterUser,
  renderRoster,
} from '../../../src/groups/roster.ts'
import { applyDocument, child, membersOf, parseXml } from '../../support/roster.ts'

const user = (name: string, id: number, more: Partial<RosterUser> = {}): RosterUser => ({
  entity: `sip:${name}@example.org`,
  displayName: name,
  moderator: false,
  endpoints: [
    {
      entity: `sip:${name}@192.0.2.${id}`,
      status: 'connected',
      joining: 'dialed-in',
      since: '2026-01-01T00:00:00.000Z',
      media: [{ id: '1', kind: 'audio', direction: 'sendrecv' }],
      member: { id, mesh: false, muted: false },
    },
  ],
  ...more,
})

const roster = (users: RosterUser[], more: Partial<RosterState> = {}): RosterState => ({
  entity: 'sip:family@example.org',
  displayName: 'Family',
  most: 100,
  meeting: { id: 'm1', recording: false, adHoc: false },
  locked: false,
  users,
  topology: { shape: 'sfu', epoch: 1, state: 'settled', members: [] },
  ...more,
})

test('a full document has the elements of RFC 4575 in the order of its schema', () => {
  const root = parseXml(fullDocument(renderRoster(roster([user('mum', 1, { moderator: true })])), 4))
  assert.equal(root.name, 'conference-info')
  assert.deepEqual(root.attributes, {
    xmlns: 'urn:ietf:params:xml:ns:conference-info',
    'xmlns:v': 'urn:vaartha:conference',
    entity: 'sip:family@example.org',
    state: 'full',
    version: '4',
  })
  assert.deepEqual(
    root.children.map(node => node.name),
    ['conference-description', 'conference-state', 'users', 'v:meeting', 'v:topology', 'v:speaker'],
  )
  const mum = child(child(root, 'users'), 'user')!
  assert.deepEqual(
    mum.children.map(node => node.name),
    ['display-text', 'roles', 'endpoint'],
  )
  assert.deepEqual(
    child(mum, 'endpoint')!.children.map(node => node.name),
    ['status', 'joining-method', 'joining-info', 'media', 'v:member'],
  )
})

test('who is being rung is not counted', () => {
  const dad = user('dad', 2, {
    endpoints: [{ entity: 'sip:dad@example.org', status: 'alerting', joining: 'dialed-out', media: [] }],
  })
  const root = parseXml(fullDocument(renderRoster(roster([user('mum', 1), dad])), 1))
  assert.equal(child(child(root, 'conference-state'), 'user-count')!.text, '1')
})

test('names of any kind come through, and what XML forbids does not', () => {
  const name = `<b>"Tom" & 'Jörg' 家族\u0000\u000b \ud800</b>`
  const root = parseXml(fullDocument(renderRoster(roster([user('tom', 1, { displayName: name })])), 1))
  const shown = child(child(child(root, 'users'), 'user'), 'display-text')!.text
  assert.equal(shown, `<b>"Tom" & 'Jörg' 家族\ufffd\ufffd \ufffd</b>`)
})

test('partial documents lead to the same roster as a full one', () => {
  const states = [
    roster([user('mum', 1)]),
    roster([user('mum', 1), user('dad', 2)]),
    roster([user('mum', 1), user('dad', 2, { displayName: 'Papa' }), user('kid', 3)], { locked: true, speaker: 2 }),
    roster([user('kid', 3)], { topology: { shape: 'mesh', epoch: 2, state: 'preparing', members: [3] }, locked: true }),
    roster([], { meeting: undefined, topology: undefined }),
  ].map(renderRoster)
  let seen = applyDocument(undefined, fullDocument(states[0]!, 1))
  for (const [index, after] of states.entries()) {
    if (index === 0) continue
    const text = partialDocument(states[index - 1]!, after, index + 1)
    assert.ok(text)
    seen = applyDocument(seen, text)
    const whole = applyDocument(undefined, fullDocument(after, index + 1))
    assert.deepEqual([...membersOf(seen).keys()].sort(), [...membersOf(whole).keys()].sort())
    assert.equal(seen.locked, whole.locked)
    assert.equal(seen.active, whole.active)
    assert.equal(seen.speaker, whole.speaker)
    if (after.topology !== '') assert.deepEqual(seen.topology, whole.topology)
  }
})

test('no change is no document, and a change says only what it is', () => {
  const before = renderRoster(roster([user('mum', 1), user('dad', 2)]))
  assert.equal(partialDocument(before, renderRoster(roster([user('mum', 1), user('dad', 2)])), 2), undefined)
  const text = partialDocument(before, renderRoster(roster([user('mum', 1), user('dad', 2)], { speaker: 1 })), 2)!
  assert.deepEqual(
    parseXml(text).children.map(node => node.name),
    ['v:speaker'],
  )
})
