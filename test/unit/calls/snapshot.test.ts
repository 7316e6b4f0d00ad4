import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { test } from 'node:test'
import { type CallSnapshot, decodeSnapshot, encodeSnapshot, type LegSnapshot } from '../../../src/calls/snapshot.ts'

const phoneSdp = (port: number) =>
  [
    'v=0', `o=- 3928374650 3928374651 IN IP4 192.168.178.${port % 250}`, 's=-', `c=IN IP4 192.168.178.${port % 250}`, 't=0 0',
    `m=audio ${port} RTP/AVP 96 9 8 0 101`, 'a=rtpmap:96 opus/48000/2', 'a=fmtp:96 stereo=1;sprop-stereo=0;useinbandfec=1',
    'a=rtpmap:9 G722/8000', 'a=rtpmap:8 PCMA/8000', 'a=rtpmap:0 PCMU/8000', 'a=rtpmap:101 telephone-event/8000',
    'a=fmtp:101 0-15', 'a=ptime:20', 'a=sendrecv', `a=rtcp:${port + 1}`, `a=ssrc:${port}1234 cname:sip:alice@example.org`, '',
  ].join('\r\n') // biome-ignore format: one description

/** As long as what Chromium says for audio and video. */
const browserSdp = () => {
  const codecs = Array.from({ length: 24 }, (_, at) => 96 + at)
  const kind = (name: string, mid: number) => [
    `m=${name} 9 UDP/TLS/RTP/SAVPF ${codecs.join(' ')}`, 'c=IN IP4 0.0.0.0', 'a=rtcp:9 IN IP4 0.0.0.0',
    ...Array.from({ length: 4 }, (_, at) => `a=candidate:${randomInt(4e9)} 1 udp ${randomInt(4e9)} 192.168.178.${at} ${randomInt(6e4)} typ host generation 0 network-id ${at}`),
    `a=ice-ufrag:${randomBytes(3).toString('base64')}`, `a=ice-pwd:${randomBytes(18).toString('base64')}`, 'a=ice-options:trickle',
    `a=fingerprint:sha-256 ${randomBytes(32).toString('hex').toUpperCase().replace(/..(?!$)/g, '$&:')}`, 'a=setup:actpass', `a=mid:${mid}`,
    ...['urn:ietf:params:rtp-hdrext:ssrc-audio-level', 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time', 'urn:ietf:params:rtp-hdrext:sdes:mid'].map((uri, at) => `a=extmap:${at + 1} ${uri}`),
    ...codecs.flatMap(type => [`a=rtpmap:${type} VP8/90000`, `a=rtcp-fb:${type} goog-remb`, `a=rtcp-fb:${type} transport-cc`, `a=rtcp-fb:${type} nack pli`]),
    `a=ssrc:${randomInt(4e9)} cname:${randomBytes(12).toString('base64')}`, `a=msid:${randomBytes(18).toString('hex')} ${randomBytes(18).toString('hex')}`,
  ] // biome-ignore format: one description
  return ['v=0', 'o=- 1 2 IN IP4 127.0.0.1', 's=-', 't=0 0', ...kind('audio', 0), ...kind('video', 1), ''].join('\r\n')
}

function leg(user: string, localSdp: string, remoteSdp: string): LegSnapshot {
  const callId = randomBytes(16).toString('hex')
  const [localTag, remoteTag] = [randomBytes(8).toString('hex'), randomBytes(8).toString('hex')]
  return {
    party: { user, displayName: `${user} Ö.` },
    device: {
      contact: `sip:${user}-0x55d1c0a2@192.168.178.20:5060;transport=udp`,
      instance: 'urn:uuid:8f1e2c3d-1111-2222-3333-444455556666',
      registration: randomBytes(12).toString('hex'),
    },
    profile: 'plain',
    address: '192.168.178.20',
    anchored: false,
    allow: 'INVITE,ACK,BYE,CANCEL,OPTIONS,NOTIFY,SUBSCRIBE,INFO,MESSAGE,UPDATE,REFER',
    localSdp,
    remoteSdp,
    dialog: {
      id: `${callId};from-tag=${remoteTag}`,
      caller: false,
      callId,
      local: `<sip:bob@example.org>;tag=${localTag}`,
      remote: `"${user}" <sip:${user}@example.org>;tag=${remoteTag}`,
      localTag,
      remoteTag,
      localSequence: 7,
      remoteSequence: 20_781,
      routes: [],
      target: `sip:${user}-0x55d1c0a2@192.168.178.20:5060;transport=udp`,
      contact: '<sip:192.168.178.2:5060>',
      localSdp,
      peerTakesUpdate: true,
      peerKnowsTimer: true,
      session: { interval: 1800, refresher: 'local' },
      source: { protocol: 'udp', address: '192.168.178.20', port: 5060 },
    },
  }
}

function call(one: string, other: string): CallSnapshot {
  return {
    id: '0b8c9f5e-4a55-4a35-9e65-0a4ad7a7a8ff',
    from: 'sip:alice@example.org',
    to: 'sip:bob@example.org',
    started: 1_763_720_000_000,
    answered: 1_763_720_004_321,
    held: false,
    transfers: 1,
    unrecorded: false,
    legs: [leg('alice', other, one), leg('bob', one, other)],
    involved: [
      { aor: 'sip:alice@example.org', userAgent: 'baresip v3.9.0 (x86_64/Linux)' },
      { aor: 'sip:bob@example.org', contact: 'sip:bob-0x1@192.168.178.21', userAgent: 'Yealink T46', status: 200 },
    ],
  }
}

test('what is written can be read again', () => {
  for (let round = 0; round < 200; round++) {
    const sdp = round % 2 === 0 ? [phoneSdp(randomInt(6e4)), phoneSdp(randomInt(6e4))] : [browserSdp(), browserSdp()]
    const before = call(sdp[0]!, sdp[1]!)
    const [first] = before.legs
    // What need not be there.
    if (round % 3 === 0) delete first.dialog.session
    if (round % 5 === 0) delete first.dialog.remoteSequence
    if (round % 7 === 0) delete first.dialog.localSdp
    if (round % 11 === 0) first.device = { contact: '' }
    if (round % 4 === 0) first.dialog.localSdp = phoneSdp(1)
    if (round % 9 === 0) Object.assign(first, { knowsReplaces: true, isWebPhone: true })
    before.held = round % 2 === 0
    first.anchored = round % 8 === 0
    first.party = { user: 'ä"\\', displayName: randomBytes(9).toString('latin1'), hidden: true }
    assert.deepEqual(decodeSnapshot(encodeSnapshot(before)!), before)
  }
})

test('an ordinary call stays under 4 kB, between browsers with video too', () => {
  const phones = encodeSnapshot(call(phoneSdp(40_000), phoneSdp(50_000)))!
  assert.ok(phones.length < 4096, `phones: ${phones.length}`)
  const [one, other] = [browserSdp(), browserSdp()]
  assert.ok(one.length > 5000)
  const browsers = encodeSnapshot(call(one, other))!
  assert.ok(browsers.length < 4096, `browsers: ${browsers.length}`)
})

test('what is too long to be kept is not', () => {
  assert.equal(encodeSnapshot(call(randomBytes(60_000).toString('base64'), '')), undefined)
})

test('the next version is read as far as it is this one, and the one after that is not', () => {
  const before = call('v=0 one', 'v=0 other')
  const fields = JSON.parse(encodeSnapshot({ ...before, involved: [] })!) as Record<string, unknown>
  const next = { ...fields, version: 2, mood: { good: true } }
  const read = decodeSnapshot(JSON.stringify(next))
  assert.equal(read?.legs[1].remoteSdp, before.legs[1].remoteSdp)
  assert.equal(decodeSnapshot(JSON.stringify({ ...fields, version: 3 })), undefined)
  assert.equal(decodeSnapshot(JSON.stringify({ ...fields, version: undefined })), undefined)
})

test('damaged snapshots are none', () => {
  const text = encodeSnapshot(call('a', 'b'))!
  const fields = JSON.parse(text) as { legs: Record<string, unknown>[] } & Record<string, unknown>
  for (const key of Object.keys(fields)) {
    const { [key]: _gone, ...rest } = fields
    assert.equal(decodeSnapshot(JSON.stringify(rest)), undefined, key)
  }
  for (const key of Object.keys(fields.legs[0]!)) {
    const { [key]: _gone, ...rest } = fields.legs[0]!
    assert.equal(decodeSnapshot(JSON.stringify({ ...fields, legs: [rest, fields.legs[1]] })), undefined, key)
  }
  for (const bad of ['', '{', 'null', '{}', text.slice(0, -5), 'AAAA', '[]']) {
    assert.equal(decodeSnapshot(bad), undefined, bad.slice(0, 20))
  }
  assert.equal(decodeSnapshot(JSON.stringify({ ...fields, sdp: [1, 2] })), undefined)
  assert.equal(decodeSnapshot(JSON.stringify({ ...fields, legs: [fields.legs[0]] })), undefined)
})
