import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DialogState } from '../../../src/sip/dialogs.ts'
import type { App } from '../../../src/sip/engine/dialog/app.ts'
import { type Dialog, hopOf, noteAnswer } from '../../../src/sip/engine/dialog/dialog.ts'
import { dialogOf } from '../../../src/sip/engine/dialog/state.ts'
import { parseUri } from '../../../src/sip/engine/message/uri.ts'
import type { Flow } from '../../../src/sip/engine/transport/transport.ts'

// What a dialog of another node learns from the first answer of its phone. A GRUU (RFC 5627) as Contact names no address.

const gruu = 'sip:bob@example.org;gr=urn:uuid:8f1e2c3d-1111-2222-3333-444455556666'

function installed(change: Partial<DialogState> = {}): Dialog {
  const state: DialogState = {
    id: 'c;from-tag=o',
    caller: true,
    callId: 'c',
    local: '<sip:alice@example.org>;tag=o',
    remote: '<sip:bob@example.org>;tag=p',
    localTag: 'o',
    remoteTag: 'p',
    localSequence: 1,
    routes: [],
    target: gruu,
    contact: '',
    peerTakesUpdate: false,
    peerKnowsTimer: false,
    source: { protocol: 'tcp', address: '192.0.2.9', port: 5061 },
    ...change,
  }
  return dialogOf(state, {} as App, flow('none', true))
}

const flow = (id: string, closed = false) =>
  ({ id, closed, reliable: true, protocol: 'tcp', remote: { address: '192.0.2.20', port: 40_000 } }) as Flow

test('a phone with nobody before it gets its ACK over the way by which it was reached', () => {
  const dialog = installed()
  const way = flow('new')
  assert.notEqual(hopOf(dialog), way)
  noteAnswer(dialog, way)
  assert.equal(hopOf(dialog), way)
  assert.equal(dialog.reached, true)
})

test('a phone behind a proxy, or one with a way that was chosen, keeps that', () => {
  const proxied = installed({ routes: ['<sip:192.0.2.30;lr>'] })
  const sent = installed()
  sent.via = parseUri('sip:192.0.2.20:5060;transport=tcp;fl=7')
  for (const dialog of [proxied, sent]) {
    const before = dialog.flow
    noteAnswer(dialog, flow('new'))
    assert.equal(dialog.flow, before)
    assert.equal(dialog.direct, false)
    assert.equal(dialog.reached, true)
  }
  assert.equal(hopOf(sent), sent.via)
})

test('what was learned first stays: a later answer may have come another way', () => {
  const dialog = installed()
  const first = flow('first')
  noteAnswer(dialog, first)
  noteAnswer(dialog, flow('second'))
  assert.equal(hopOf(dialog), first)
})
