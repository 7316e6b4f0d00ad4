import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from '../../../src/media/sdp/description.ts'
import {
  agree,
  answerPlain,
  offerPlain,
  type PlainRemote,
  type PlainWish,
  readPlain,
  writePlain,
} from '../../../src/media/sdp/plain.ts'
import { text } from '../../support/sdp.ts'

const phone = (name: string): PlainRemote => readPlain(parse(text(name)))
const key = Buffer.alloc(30, 7).toString('base64')

function wish(change: Partial<PlainWish> = {}): PlainWish {
  return {
    address: '192.0.2.1',
    rtpPort: 30000,
    rtcpPort: 30001,
    direction: 'sendrecv',
    codecs: [],
    id: '9',
    ...change,
  }
}

test('baresip, plain and with SDES', () => {
  const plain = phone('baresip-rtp')
  assert.equal(plain.address, '198.51.100.7')
  assert.equal(plain.rtcpPort, plain.port + 1)
  assert.deepEqual(
    plain.codecs.map(({ codec, payloadType }) => `${codec} ${payloadType}`),
    ['opus 96', 'G722 9', 'PCMU 0', 'PCMA 8'],
  )
  assert.deepEqual(plain.codecs[0], {
    payloadType: 96,
    codec: 'opus',
    clockRate: 48000,
    channels: 2,
    ptime: 20,
    fmtp: 'stereo=1;sprop-stereo=1',
  })
  assert.deepEqual(plain.dtmf, [{ payloadType: 101, clockRate: 8000 }])
  const [crypto] = phone('baresip-sdes').crypto
  assert.equal(crypto!.suite, 'AES_CM_128_HMAC_SHA1_80')
  // Keys beside RTP/AVP are an offer to do better that we leave alone.
  const both = readPlain(parse(text('baresip-sdes').replace('RTP/SAVP', 'RTP/AVP')))
  assert.deepEqual([both.crypto, answerPlain(both, wish({ key })).crypto], [[], undefined])
  assert.throws(() => phone('baresip-dtls'), { code: 'not-acceptable-here' })
})

test('numbers without rtpmap, keys that we cannot use, further lines', () => {
  const desk = phone('phone-two-lines')
  assert.deepEqual([desk.index, desk.protocol, desk.lines.length], [0, 'RTP/SAVP', 3])
  assert.deepEqual(
    desk.codecs.map(codec => codec.codec),
    ['G722', 'PCMU', 'PCMA'],
  )
  assert.deepEqual(
    desk.crypto.map(one => one.tag),
    [3],
  )
  assert.equal(desk.codecs[0]!.ptime, 30)
  // Without a key that fits, its other line is as good.
  const keyless = readPlain(parse(text('phone-two-lines').replace(/a=crypto:3.*\r\n/, '')))
  assert.deepEqual([keyless.index, keyless.protocol], [1, 'RTP/AVP'])
  const said = answerPlain(keyless, wish())
  assert.deepEqual(writePlain(said).match(/m=.*/g), [
    'm=audio 0 RTP/SAVP 9 0 8 18 101',
    'm=audio 30000 RTP/AVP 9 101',
    'm=video 0 RTP/AVP 99',
  ])
})

test('old hold has no place to send to', () => {
  const held = phone('phone-old-hold')
  assert.deepEqual([held.direction, held.address, held.comfortNoise], ['sendonly', '0.0.0.0', 13])
  assert.equal(answerPlain(held, wish()).direction, 'recvonly')
})

test('IPv6, RTCP elsewhere or muxed, clock rates of DTMF, packet times', () => {
  const six = phone('phone-ipv6')
  assert.deepEqual([six.address, six.rtcpPort, six.rtcpMux], ['2001:db8::42', 17005, true])
  assert.equal(six.codecs[0]!.ptime, 10)
  const said = answerPlain(six, wish({ address: '2001:db8::1' }))
  const remote = agree(said, six)
  assert.deepEqual(remote, {
    address: '2001:db8::42',
    port: 17000,
    rtcpPort: 0,
    send: {
      payloadType: 107,
      codec: 'opus',
      clockRate: 48000,
      channels: 2,
      ptime: 10,
      fmtp: 'maxplaybackrate=16000;useinbandfec=1',
    },
    receive: [{ payloadType: 107, codec: 'opus', clockRate: 48000, channels: 2, fmtp: 'useinbandfec=1' }],
    dtmf: { send: 96, receive: 96, clockRate: 48000 },
    comfortNoise: undefined,
    srtp: undefined,
    direction: 'recvonly',
  })
  const PCMU = agree(answerPlain(six, wish({ codecs: ['PCMU'] })), six)
  assert.deepEqual([PCMU.dtmf, PCMU.send.codec], [{ send: 100, receive: 100, clockRate: 8000 }, 'PCMU'])
})

test('an offer to a phone, word for word, is small', () => {
  const offer = writePlain(offerPlain(wish({ key })))
  assert.deepEqual(offer.split('\r\n'), [
    'v=0',
    'o=- 9 1 IN IP4 192.0.2.1',
    's=-',
    'c=IN IP4 192.0.2.1',
    't=0 0',
    'm=audio 30000 RTP/SAVP 96 9 8 0 97 101',
    'a=rtpmap:96 opus/48000/2',
    'a=rtpmap:9 G722/8000',
    'a=rtpmap:8 PCMA/8000',
    'a=rtpmap:0 PCMU/8000',
    'a=rtpmap:97 telephone-event/48000',
    'a=rtpmap:101 telephone-event/8000',
    'a=fmtp:96 useinbandfec=1',
    'a=fmtp:97 0-16',
    'a=fmtp:101 0-16',
    `a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:${key}`,
    'a=ptime:20',
    'a=sendrecv',
    '',
  ])
  assert.ok(offer.length < 600)
  assert.throws(() => offerPlain(wish({ codecs: ['VP8'] })), { code: 'not-acceptable-here' })
})

test('offer and answer make one: our offer', () => {
  const offer = offerPlain(wish({ codecs: ['opus', 'PCMA'], rtcpPort: 31000 }))
  assert.match(writePlain(offer), /a=rtcp:31000/)
  const [line] = phone('baresip-rtp').lines
  const answer = { ...phone('baresip-rtp'), codecs: phone('baresip-rtp').codecs.slice(3), lines: [line!] }
  const remote = agree(offer, answer)
  assert.deepEqual([remote.send.payloadType, remote.receive.map(one => one.payloadType)], [8, [8]])
  assert.deepEqual(remote.dtmf, { send: 101, receive: 101, clockRate: 8000 })
  assert.throws(() => agree(offer, { ...answer, codecs: phone('baresip-rtp').codecs.slice(1, 3) }), {
    code: 'not-acceptable-here',
  })
  assert.throws(() => agree(offer, { ...answer, index: 1 }), { code: 'not-acceptable-here' })
  assert.throws(() => agree(offer, phone('baresip-sdes')), { code: 'not-acceptable-here' })
})

test('SDES keys go both ways and stay for the call', () => {
  const theirs = phone('baresip-sdes')
  assert.throws(() => answerPlain(theirs, wish()), { code: 'not-acceptable-here' })
  const said = answerPlain(theirs, wish({ key }))
  const { srtp } = agree(said, theirs)
  assert.deepEqual(srtp, { suite: 'AES_CM_128_HMAC_SHA1_80', send: key, receive: theirs.crypto[0]!.key })
  const other = Buffer.alloc(30, 8).toString('base64')
  const again = answerPlain(theirs, wish({ key: other, previous: said }))
  assert.equal(again.crypto!.key, key)
  const held = offerPlain(wish({ previous: said, direction: 'sendonly' }))
  assert.deepEqual([held.crypto, held.version, held.codecs, held.protocol], [said.crypto, 2, said.codecs, 'RTP/SAVP'])
  const offer = offerPlain(wish({ key }))
  assert.throws(() => agree(offer, { ...theirs, crypto: [{ ...theirs.crypto[0]!, tag: 2 }] }), {
    code: 'not-acceptable-here',
  })
})

test('later offers keep the phone’s numbers and all of its lines', () => {
  const first = answerPlain(phone('phone-two-lines'), wish({ key }))
  assert.deepEqual(
    first.codecs.map(one => one.payloadType),
    [9],
  )
  const next = offerPlain(wish({ previous: first, codecs: ['PCMU', 'G722', 'opus'] }))
  assert.deepEqual(
    next.codecs.map(one => `${one.codec} ${one.payloadType}`),
    ['PCMU 0', 'G722 9', 'opus 96'],
  )
  assert.equal(writePlain(next).match(/m=/g)!.length, 3)
  const back = readPlain(parse(writePlain(next)))
  assert.deepEqual([back.index, back.codecs.length, back.version], [0, 3, 2])
})

test('media goes to one host only', () => {
  const spoilt = (address: string) => () =>
    readPlain(parse(text('baresip-rtp').replace(/^c=.*$/m, `c=IN ${address}\r`)))
  for (const address of ['IP4 239.1.1.1', 'IP4 255.255.255.255', 'IP6 ff02::1', 'IP4 host.example', 'IP4 1.2.3.4.5']) {
    assert.throws(spoilt(address), { code: 'not-acceptable-here' }, address)
  }
  assert.doesNotThrow(spoilt('IP4 203.0.113.9'))
})
