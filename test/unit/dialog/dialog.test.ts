import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { App } from '../../../src/sip/engine/dialog/app.ts'
import {
  dialogAsCallee,
  dialogAsCaller,
  hopOf,
  inSequence,
  refreshTarget,
  requestInDialog,
} from '../../../src/sip/engine/dialog/dialog.ts'
import { createDialogs } from '../../../src/sip/engine/dialog/dialogs.ts'
import { createResponse } from '../../../src/sip/engine/message/message.ts'
import { createFakeFlow, readSip, requestText } from '../../support/fake-flow.ts'

const app: App = { closed: false, show() {} }
const loose = [
  'Record-Route: <sip:p1.example.org;lr>, <sip:p2.example.org;lr>',
  'Record-Route: <sip:p3.example.org;lr>',
]
const contact = 'Contact: "A" <sip:a@192.0.2.9:5070>;expires=60'

/** The dialog of an INVITE that we answered. */
function called(more: string[] = [contact], flow = createFakeFlow()) {
  const request = readSip(requestText('INVITE', { sequence: 7, more }))
  const response = createResponse(request, 200)
  response.set('To', `${response.get('To')};tag=mine`)
  response.append('Contact', '<sip:192.0.2.1:5060>')
  return dialogAsCallee({ request, flow }, response, app)
}

/** The dialog of an INVITE that we sent. */
function calling(more: string[] = [], direct = true, body = '') {
  const request = readSip(requestText('INVITE', { sequence: 7, more: ['Contact: <sip:me@192.0.2.1:5060>'] }))
  request.body = Buffer.from(body)
  const response = createResponse(request, 200)
  response.set('To', '"B" <sip:b@example.org>;tag=theirs')
  for (const line of more) response.append(line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2))
  return dialogAsCaller(request, response, createFakeFlow(), app, direct)
}

test('called: tags, identities, target and sequence numbers are those of section 12.1.1', () => {
  const dialog = called()
  assert.equal(dialog.id, 'c1;from-tag=a')
  assert.deepEqual([dialog.localTag, dialog.remoteTag, dialog.caller], ['mine', 'a', false])
  assert.equal(dialog.target, 'sip:a@192.0.2.9:5070')
  assert.equal(dialog.remoteSequence, 7)
  assert.equal(dialog.contact, '<sip:192.0.2.1:5060>')
  const bye = requestInDialog(dialog, 'BYE', 1)
  assert.equal(bye.get('From'), '<sip:b@example.org>;tag=mine')
  assert.equal(bye.get('To'), '<sip:a@example.org>;tag=a')
  assert.equal(bye.get('CSeq'), '1 BYE')
  assert.equal(bye.get('Max-Forwards'), '70')
})

test('calling: tags, identities, target and sequence numbers are those of section 12.1.2', () => {
  const dialog = calling(['Contact: <sip:b@198.51.100.3>'], true, 'v=0')
  assert.deepEqual([dialog.localTag, dialog.remoteTag, dialog.caller], ['a', 'theirs', true])
  assert.equal(dialog.target, 'sip:b@198.51.100.3')
  assert.deepEqual([dialog.localSequence, dialog.remoteSequence], [7, undefined])
  assert.equal(dialog.localSdp?.toString(), 'v=0')
  const bye = requestInDialog(dialog, 'BYE', 8)
  assert.equal(bye.get('From'), '<sip:a@example.org>;tag=a')
  assert.equal(bye.get('To'), '"B" <sip:b@example.org>;tag=theirs')
})

test('a peer without Contact is reached at the URI that stands for it', () => {
  assert.equal(called([]).target, 'sip:a@example.org')
  assert.equal(calling().target, 'sip:b@192.0.2.1')
})

test('the route set keeps its order when called and is reversed when calling', () => {
  const routes = ['<sip:p1.example.org;lr>', '<sip:p2.example.org;lr>', '<sip:p3.example.org;lr>']
  assert.deepEqual(called([contact, ...loose]).routes, routes)
  assert.deepEqual(calling(loose).routes, routes.toReversed())
})

test('loose routing: the target is the Request-URI and the whole route set is named', () => {
  const dialog = called([contact, ...loose])
  const info = requestInDialog(dialog, 'INFO', 3)
  assert.equal(info.uri, 'sip:a@192.0.2.9:5070')
  assert.deepEqual(info.getAll('Route'), dialog.routes)
  assert.equal(requestInDialog(dialog, 'INFO', 4, 'sip:else@example.org').uri, 'sip:else@example.org')
})

test('strict routing: the first route is the Request-URI and the target the last route', () => {
  const dialog = called([contact, 'Record-Route: <sip:strict.example.org>, <sip:p2.example.org;lr>'])
  const info = requestInDialog(dialog, 'INFO', 3)
  assert.equal(info.uri, 'sip:strict.example.org')
  assert.deepEqual(info.getAll('Route'), ['<sip:p2.example.org;lr>', '<sip:a@192.0.2.9:5070>'])
})

test('a CSeq that is not above the newest is out of order and changes nothing', () => {
  const dialog = called()
  assert.equal(inSequence(dialog, 6), false)
  assert.equal(dialog.remoteSequence, 7)
  assert.equal(inSequence(dialog, 7), false)
  assert.equal(inSequence(dialog, 900), true)
  assert.equal(inSequence(dialog, 8), false)
  // A peer that we called may begin with any number.
  const fresh = calling()
  assert.equal(inSequence(fresh, 0), true)
  assert.equal(inSequence(fresh, 4), true)
})

test('a target refresh takes the new Contact and what the peer can, and keeps the route set', () => {
  const dialog = called([contact, ...loose])
  const routes = [...dialog.routes]
  const more = ['Contact: <sip:a@203.0.113.5>', 'Record-Route: <sip:other;lr>', 'Allow: INVITE, UPDATE']
  refreshTarget(dialog, readSip(requestText('INVITE', { more: [...more, 'Supported: timer'] })))
  assert.equal(dialog.target, 'sip:a@203.0.113.5')
  assert.deepEqual(dialog.routes, routes)
  assert.deepEqual([dialog.peerTakesUpdate, dialog.peerKnowsTimer], [true, true])
  refreshTarget(dialog, readSip(requestText('UPDATE')))
  assert.equal(dialog.target, 'sip:a@203.0.113.5')
  refreshTarget(dialog, readSip(requestText('UPDATE', { more: ['Allow: INVITE'] })))
  assert.deepEqual([dialog.peerTakesUpdate, dialog.peerKnowsTimer], [false, true])
})

const hostOf = (dialog: ReturnType<typeof called>) => {
  const hop = hopOf(dialog)
  return hop !== undefined && 'host' in hop ? hop.host : hop
}

test('the next hop: the first route, else the flow of a peer that speaks to us itself, else its Contact', () => {
  assert.equal(hostOf(called([contact, ...loose])), 'p1.example.org')
  const behindNat = called(['Contact: <sip:a@10.0.0.7>'])
  assert.equal(hopOf(behindNat), behindNat.flow)
  assert.equal(hostOf(called(['Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bK2', 'Contact: <sip:a@10.0.0.7>'])), '10.0.0.7')
  const overTcp = createFakeFlow({ protocol: 'tcp' })
  assert.equal(hopOf(called([contact], overTcp)), overTcp)
  overTcp.close()
  assert.equal(hostOf(called([contact], overTcp)), '192.0.2.9')
})

test('a direct peer over UDP that names another port or transport of its own host is reached there', () => {
  assert.equal(hostOf(called(['Contact: <sip:a@192.0.2.9:5070;transport=tcp>'])), '192.0.2.9')
  assert.equal(hostOf(called()), '192.0.2.9')
  const same = called(['Contact: <sip:a@192.0.2.9>'])
  assert.equal(hopOf(same), same.flow)
})

test('dialogs of one INVITE share an id: the confirmed one counts, else the newest', () => {
  const dialogs = createDialogs()
  const first = calling()
  const request = readSip(requestText('INVITE', { sequence: 7 }))
  const response = createResponse(request, 183)
  response.set('To', '<sip:b@example.org>;tag=other')
  const second = dialogAsCaller(request, response, first.flow, app, true)
  dialogs.add(first)
  dialogs.add(second)
  assert.equal(dialogs.byId('c1;from-tag=a'), second)
  first.confirmed = true
  assert.equal(dialogs.byId('c1;from-tag=a'), first)
  assert.equal(dialogs.match('c1', 'a', 'other'), second)
  dialogs.end(second)
  assert.deepEqual(dialogs.fork(first.id), [first])
  dialogs.close()
  assert.deepEqual([dialogs.size, first.ended, dialogs.byId(first.id)], [0, true, undefined])
})
