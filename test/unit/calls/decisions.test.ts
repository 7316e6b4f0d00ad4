import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readDigit, writeDigit } from '../../../src/calls/dtmf.ts'
import {
  fromAnswer,
  fromInvite,
  identity,
  mayCallAs,
  nameAddr,
  notUnderstood,
  readDevice,
} from '../../../src/calls/headers.ts'
import { asBranchStatus, bestOf, isHeld, resultOf } from '../../../src/calls/outcome.ts'
import { calledUser, chooseTargets } from '../../../src/calls/route.ts'
import { isSecure, knowsDigits, likeOffer, sameMedia, towards, unheld, waitingAnswer } from '../../../src/calls/sdp.ts'
import { sendable } from '../../../src/calls/sip.ts'
import { isMeant, readRefer, readReplaces } from '../../../src/calls/transfer.ts'
import { Refusal } from '../../../src/errors.ts'
import type { Binding } from '../../../src/location/store.ts'
import { profileOf } from '../../../src/media/sdp/streams.ts'

const isOwn = (host: string) => host === 'vaartha.local' || host === '192.168.1.2'
const message = (headers: Record<string, string>) => ({
  get: (name: string) => headers[name],
  has: (name: string) => name in headers,
  body: undefined,
})
const binding = (port: number, more: Partial<Binding> = {}): Binding => ({
  aor: 'sip:mum@vaartha.local',
  contact: `sip:mum@192.168.1.9:${port}`,
  callId: 'c',
  cseq: 1,
  q: 1,
  expiresAt: 1e15,
  path: [],
  flow: '',
  protocol: 'udp',
  source: { address: '192.168.1.9', port },
  userAgent: 'phone',
  registeredAt: 0,
  updatedAt: 0,
  node: 'n',
  ...more,
})

test('a request-URI names a user of this server or is refused', () => {
  assert.equal(calledUser('sip:mum@vaartha.local', isOwn), 'mum')
  assert.equal(calledUser('sip:m%75m@192.168.1.2:5060;transport=tcp', isOwn), 'mum')
  const code = (uri: string) => {
    try {
      return calledUser(uri, isOwn)
    } catch (error) {
      return error instanceof Refusal ? error.code : error
    }
  }
  assert.equal(code('sip:mum@example.org'), 'forbidden')
  assert.equal(code('sip:vaartha.local'), 'not-found')
  assert.equal(code('mailto:mum@vaartha.local'), 'unsupported-uri-scheme')
  assert.equal(code('nonsense'), 'bad-request')
})

test('contacts are rung over their flow or Path, the calling device is left out', () => {
  const bindings = [
    binding(1, { flow: 'f1', protocol: 'tcp' }),
    binding(2, { path: ['<sip:edge.example;fl=stolen;lr>', '<sip:far.example;lr>'] }),
    binding(3),
  ]
  const origin = { flow: '', address: '192.168.1.9', port: 3, contact: '' }
  const targets = chooseTargets(bindings, { most: 10, origin })
  assert.deepEqual(
    targets.map(t => t.proxy),
    ['sip:192.168.1.9:1;transport=tcp;fl=f1', 'sip:edge.example;lr'],
  )
  assert.equal(chooseTargets(bindings, { most: 1 }).length, 1)
  const six = binding(5, { source: { address: 'fd00::9', port: 5 } })
  assert.equal(chooseTargets([six], { most: 1 })[0]?.proxy, 'sip:[fd00::9]:5;transport=udp')
})

test('identity comes from the account, and privacy hides it', () => {
  assert.equal(nameAddr('Mum "M"\r\n', 'mum', 'd'), '"Mum \\"M\\"" <sip:mum@d>')
  const shown = identity({ user: 'mum', displayName: 'Mum' }, 'd')
  assert.equal(shown['P-Asserted-Identity'], '"Mum" <sip:mum@d>')
  const hidden = identity({ user: 'mum', displayName: 'Mum', hidden: true }, 'd')
  assert.ok(!JSON.stringify(hidden).toLowerCase().includes('mum'))
})

test('a caller may call only as itself', () => {
  const as = (From: string, Privacy = '') => mayCallAs(message({ From, Privacy }), 'mum', isOwn)
  assert.equal(as('"X" <sip:mum@vaartha.local>;tag=1'), 'itself')
  assert.equal(as('<sip:dad@vaartha.local>;tag=1'), 'forbidden')
  assert.equal(as('<sip:mum@elsewhere.example>;tag=1'), 'forbidden')
  assert.equal(as('<sip:mum@vaartha.local>;tag=1', 'id;critical'), 'hidden')
  assert.equal(as('"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'), 'hidden')
  assert.equal(as('<<<>'), 'forbidden')
})

test('only listed headers cross, and unknown demands are named', () => {
  const all = { Subject: 's', 'User-Agent': 'u', 'Alert-Info': 'a', 'P-Foo': 'p', Authorization: 'x', Via: 'v' }
  assert.deepEqual(fromInvite(message(all)), { Subject: 's' })
  assert.deepEqual(fromAnswer(message({ Server: 's', 'Retry-After': '3', Contact: 'c' })), { 'Retry-After': '3' })
  assert.deepEqual(notUnderstood(message({ Require: 'timer, Precondition' })), ['precondition'])
})

test('the best of several answers is chosen by class, then by what it tells', () => {
  assert.equal(bestOf([500, 480, 486]), 486)
  assert.equal(bestOf([408, 603, 486]), 603)
  assert.equal(bestOf([408, 500]), 408)
  assert.equal(bestOf([]), 408)
  for (const status of [401, 407, 430, 503, 302]) assert.equal(asBranchStatus(status), 480)
})

test('statuses become results, and unknown ones stand for their class', () => {
  assert.deepEqual([486, 600, 603, 408, 487, 480, 404, 403, 500].map(resultOf), [
    'busy',
    'busy',
    'declined',
    'no-answer',
    'cancelled',
    'unavailable',
    'not-found',
    'forbidden',
    'failed',
  ])
  assert.equal(sendable(499), 480)
  assert.equal(sendable(486), 486)
})

test('hold is seen in the SDP', () => {
  assert.ok(isHeld('v=0\r\nm=audio 1 RTP/AVP 0\r\na=sendonly\r\n'))
  assert.ok(isHeld('v=0\r\nc=IN IP4 0.0.0.0\r\n'))
  assert.ok(!isHeld('v=0\r\nm=audio 1 RTP/AVP 0\r\na=sendrecv\r\n'))
})

test('a REFER names a person of this server, or a dialog', () => {
  const read = (value: string, more: Record<string, string> = {}) => {
    try {
      return readRefer(message({ 'Refer-To': value, ...more }), isOwn)
    } catch (error) {
      return error instanceof Refusal ? error.sipStatus : error
    }
  }
  assert.deepEqual(read('<sip:mum@vaartha.local>'), { user: 'mum', replaces: undefined, silent: false })
  assert.deepEqual(read('sip:m%75m@192.168.1.2', { 'Refer-Sub': ' False' }), {
    user: 'mum',
    replaces: undefined,
    silent: true,
  })
  const replaces = { callId: 'a@b', toTag: '1', fromTag: '2', earlyOnly: false }
  for (const value of [
    '<sip:192.168.1.2?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>',
    'sip:x@y?replaces=a%40b%3bfrom-tag%3d2%3bto-tag%3d1',
  ])
    assert.deepEqual((read(value) as { replaces: unknown }).replaces, replaces)
  assert.equal(read('<sip:mum@elsewhere.example>'), 403)
  assert.equal(read('<sip:mum@vaartha.local;method=BYE>'), 403)
  assert.equal(read('<sip:mum@vaartha.local?Replaces=junk>'), 400)
  for (const value of ['', '<<>', '<sip:a@vaartha.local>, <sip:b@vaartha.local>', 'http://vaartha.local'])
    assert.equal(read(value), 400, value)
  assert.equal(read('<sip:vaartha.local>'), 404)
})

test('Replaces names one dialog by three ids', () => {
  const value = readReplaces('c@h ; to-tag=A;from-tag=B ;early-only')
  assert.deepEqual(value, { callId: 'c@h', toTag: 'A', fromTag: 'B', earlyOnly: true })
  assert.equal(readReplaces('c@h;to-tag=A'), undefined)
  assert.equal(readReplaces(';to-tag=A;from-tag=B'), undefined)
  assert.equal(readReplaces('c;to-tag=A;from-tag=B, d;to-tag=A;from-tag=B'), undefined)
  assert.ok(isMeant(value!, 'c@h', 'A', 'B') && isMeant(value!, 'c@h', 'B', 'A'))
  assert.ok(!isMeant(value!, 'c@h', 'A', 'C') && !isMeant(value!, 'd@h', 'A', 'B'))
})

test('SDP of strangers: hold is taken out, destinations are compared, waiting answers flow nowhere', () => {
  const sdp = (port: number, more = '') =>
    `v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 1.2.3.4\r\nt=0 0\r\nm=audio ${port} RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\n${more}`
  assert.equal(unheld(sdp(4000, 'a=recvonly\r\n')), sdp(4000, 'a=sendrecv\r\n'))
  assert.ok(sameMedia(sdp(4000), sdp(4000).replace('0 8', '8').replace('o=- 1', 'o=- 9')))
  assert.ok(!sameMedia(sdp(4000), sdp(4002)))
  assert.ok(!sameMedia(sdp(4000), sdp(4000, 'a=sendonly\r\n')))
  assert.equal(
    waitingAnswer(sdp(4000, 'a=sendrecv\r\nm=video 0 RTP/AVP 99\r\n')),
    'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 8\r\n' +
      'a=rtpmap:0 PCMU/8000\r\na=inactive\r\nm=video 0 RTP/AVP 99\r\n',
  )
})

const line = (...lines: string[]) => `v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n${lines.join('\r\n')}\r\n`
const browser = line(
  'm=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0',
  'c=IN IP4 0.0.0.0',
  'a=ice-ufrag:x',
  'a=ice-pwd:yyyyyyyyyyyyyyyyyyyyyyyy',
  `a=fingerprint:sha-256 ${Array(32).fill('AA').join(':')}`,
  'a=setup:actpass',
  'a=mid:0',
  'a=sendonly',
  'a=rtpmap:111 opus/48000/2',
  'a=rtpmap:63 red/48000/2',
  'a=rtpmap:9 G722/8000',
  'a=rtpmap:0 PCMU/8000',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'c=IN IP4 0.0.0.0',
  'a=ice-ufrag:x',
  'a=ice-pwd:yyyyyyyyyyyyyyyyyyyyyyyy',
  `a=fingerprint:sha-256 ${Array(32).fill('AA').join(':')}`,
  'a=setup:actpass',
  'a=mid:1',
  'a=sendrecv',
  'a=rtpmap:96 VP8/90000',
)
const desk = line(
  'c=IN IP4 192.0.2.1',
  'm=audio 4000 RTP/SAVP 0 8 101',
  'a=rtpmap:101 telephone-event/8000',
  'a=recvonly',
)

test('an SDP tells what its sender speaks, whether it has keys, and whether it takes telephone events', () => {
  assert.deepEqual([profileOf(browser), profileOf(desk)], ['webrtc', 'plain'])
  assert.equal(profileOf(line('m=audio 4000 RTP/SAVP 0', 'a=fingerprint:sha-256 AA')), 'plain')
  assert.deepEqual([isSecure(browser), isSecure(desk)], [false, true])
  assert.deepEqual([knowsDigits(browser), knowsDigits(desk)], [false, true])
  assert.deepEqual([isHeld(browser.replace('sendonly', 'sendrecv')), isHeld(desk)], [false, false])
})

test('what is offered on is like the offer: all lines among browsers, one audio line in a phone’s codecs otherwise', () => {
  const [audio, video] = likeOffer(browser, 'webrtc')
  assert.equal(audio?.direction, 'sendonly')
  assert.deepEqual([video?.kind, video?.direction], ['video', 'sendrecv'])
  assert.deepEqual(likeOffer(browser, 'plain'), [
    { kind: 'audio', direction: 'sendonly', codecs: ['opus', 'G722', 'PCMU'] },
  ])
  assert.deepEqual(likeOffer(desk, 'webrtc'), [{ kind: 'audio', direction: 'recvonly', codecs: ['PCMU', 'PCMA'] }])
  assert.throws(() => likeOffer('no SDP', 'plain'), Refusal)
  assert.equal(towards([{ kind: 'audio', direction: 'sendonly', codecs: [] }])[0]?.direction, 'recvonly')
})

test('a key comes by INFO in two forms; what is no key is something else', () => {
  const info = (type: string, body: string) => readDigit({ ...message({ 'Content-Type': type }), body })
  assert.deepEqual(info('application/dtmf-relay', 'Signal= 5\r\nDuration= 100\r\n'), { digit: '5', ms: 100 })
  assert.deepEqual(info('application/dtmf-relay; x=y', 'signal=11'), { digit: '#', ms: 160 })
  assert.deepEqual(info('application/dtmf', '*'), { digit: '*', ms: 160 })
  assert.deepEqual(info('application/dtmf', 'd'), { digit: 'D', ms: 160 })
  assert.equal(info('application/dtmf-relay', 'Signal=55\r\nDuration=-1'), undefined)
  assert.equal(info('text/plain', '5'), undefined)
  const { headers, body } = writeDigit({ digit: '7', ms: 99.6 })
  assert.deepEqual(info(headers['Content-Type']!, body), { digit: '7', ms: 100 })
})

test('a device is known by its instance id, and by the public GRUU that it gives as Contact', () => {
  const id = 'urn:uuid:ef4af75c-5dd9-a6e4-1d0a-3893491cc187'
  const of = (Contact: string) => readDevice(message({ Contact })).instance
  assert.equal(of(`<sip:mum@192.168.1.9:5070>;+sip.instance="<${id}>"`), id)
  assert.equal(of(`<sip:mum@vaartha.local;gr=${id}>`), id)
  assert.equal(of('<sip:tgruu.abc@vaartha.local;gr>'), undefined)
  assert.equal(of('<sip:mum@192.168.1.9:5070>'), undefined)
})
