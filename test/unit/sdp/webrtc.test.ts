import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as ortc from 'mediasoup/ortc'
import { answerTo, wishesFor } from '../../../src/media/sdp/answer.ts'
import { nameOf } from '../../../src/media/sdp/codecs.ts'
import { parse } from '../../../src/media/sdp/description.ts'
import type { OurSession } from '../../../src/media/sdp/ours.ts'
import {
  consumerCapabilities,
  dialect,
  dialectName,
  fits,
  producerParameters,
  routerCodecs,
} from '../../../src/media/sdp/router.ts'
import { profileOf, streamsOf } from '../../../src/media/sdp/streams.ts'
import { iceRestarted, readWebRtc, type WebRtcSession } from '../../../src/media/sdp/webrtc.ts'
import { writeWebRtc } from '../../../src/media/sdp/write.ts'
import { browsers, ourTransport, read, router, text } from '../../support/sdp.ts'

const both = [
  { kind: 'audio', direction: 'sendrecv', codecs: [] },
  { kind: 'video', direction: 'sendrecv', codecs: [] },
] as const

function answer(offer: WebRtcSession, previous?: OurSession): OurSession {
  return answerTo(offer, { transports: [ourTransport()], router, wishes: wishesFor(offer, both), id: '42', previous })
}

test('Chromium, as itself and through JsSIP and SIP.js', () => {
  for (const name of ['chromium-audio', 'jssip-audio', 'sipjs-audio']) {
    const offer = read(name)
    const [line] = offer.lines
    assert.equal(offer.transports.length, 1)
    assert.equal(offer.transports[0]!.dtls.role, 'client')
    assert.deepEqual(offer.transports[0]!.mids, ['0'])
    assert.match(offer.transports[0]!.dtls.fingerprints[0]!.value, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/)
    assert.equal(line!.kind, 'audio')
    assert.deepEqual(line!.codecs.map(nameOf), [
      'opus',
      'red',
      'G722',
      'PCMU',
      'PCMA',
      'CN',
      ...Array(2).fill('telephone-event'),
    ])
    assert.deepEqual(line!.codecs[0], {
      mimeType: 'audio/opus',
      payloadType: 111,
      clockRate: 48000,
      channels: 2,
      parameters: { minptime: 10, useinbandfec: 1 },
      rtcpFeedback: [{ type: 'transport-cc', parameter: '' }],
    })
    assert.equal(line!.sources.length, 1)
    assert.equal(line!.extensions.length, 4)
    assert.match(line!.msid!, /^[-0-9a-f]{36} [-0-9a-f]{36}$/)
    assert.ok(line!.rtcpMux && line!.cname)
  }
})

test('simulcast is read by rid, repair flows by FID, an old Safari by its words', () => {
  const [audio, camera, screen, data] = read('chromium-simulcast').lines
  assert.deepEqual([audio!.kind, camera!.kind, screen!.kind, data!.kind], ['audio', 'video', 'video', 'application'])
  assert.deepEqual(camera!.rids, ['l', 'm', 'h'])
  assert.deepEqual([camera!.sources, screen!.sources], [[], []])
  assert.deepEqual(camera!.codecs[1]!.parameters, { apt: 96 })
  assert.deepEqual(read('firefox-simulcast').lines[1]!.rids, ['hi', 'mid', 'lo'])
  const [voice, video] = read('safari-video').lines
  assert.equal(voice!.mid, 'audio')
  assert.deepEqual(video!.sources, [{ ssrc: 2765410938, rtxSsrc: 1203984756 }])
  assert.equal(read('safari-video').transports[0]!.ice.ufrag, '1034')
})

test('an answer keeps lines and mids, rejects data channels, and says what we are', () => {
  for (const name of browsers) {
    const offer = read(name)
    const said = answer(offer)
    const written = readWebRtc(parse(writeWebRtc(said)))
    assert.deepEqual(
      written.lines.map(line => line.mid),
      offer.lines.map(line => line.mid),
      name,
    )
    assert.deepEqual(
      written.lines.map(line => line.type),
      offer.lines.map(line => line.type),
      name,
    )
    for (const [index, line] of written.lines.entries()) {
      const asked = offer.lines[index]!
      if (asked.kind === 'application' || asked.rejected) assert.ok(line.rejected, name)
      const numbers = line.codecs.map(codec => codec.payloadType)
      assert.ok(
        numbers.every(number => asked.codecs.some(codec => codec.payloadType === number)),
        name,
      )
      const known = asked.extensions.map(({ id, uri }) => `${id} ${uri}`)
      assert.ok(
        line.extensions.every(({ id, uri }) => known.includes(`${id} ${uri}`)),
        name,
      )
    }
    assert.deepEqual(
      written.transports[0]!.mids,
      said.lines.flatMap(line => (line.rejected ? [] : [line.mid])),
    )
    assert.ok(written.transports[0]!.ice.lite)
    assert.equal(written.transports[0]!.dtls.role, 'server')
  }
})

test('an answer to a browser, word for word', () => {
  const offer = read('chromium-audio')
  const said = answer(offer)
  const sender = { ssrc: 77, cname: 'room', msid: 'room mix' }
  const lines = writeWebRtc({ ...said, lines: said.lines.map(line => ({ ...line, sender })) }).split('\r\n')
  assert.deepEqual(lines, [
    'v=0',
    'o=vaartha 42 1 IN IP4 0.0.0.0',
    's=-',
    't=0 0',
    'a=ice-lite',
    'a=msid-semantic: WMS *',
    'a=group:BUNDLE 0',
    'm=audio 40000 UDP/TLS/RTP/SAVPF 111 110',
    'c=IN IP4 192.0.2.1',
    'a=rtpmap:111 opus/48000/2',
    'a=rtpmap:110 telephone-event/48000',
    'a=fmtp:111 minptime=10;useinbandfec=1',
    'a=rtcp-fb:111 transport-cc',
    'a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level',
    'a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time',
    'a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01',
    'a=setup:passive',
    'a=mid:0',
    'a=msid:room mix',
    'a=sendrecv',
    'a=ice-ufrag:ufrag0',
    'a=ice-pwd:password-of-transport-0',
    `a=fingerprint:sha-256 ${Array(32).fill('AB').join(':')}`,
    'a=candidate:udpcandidate 1 udp 2145849599 192.0.2.1 40000 typ host',
    'a=candidate:tcpcandidate 1 tcp 2145823999 192.0.2.1 40000 typ host tcptype passive',
    'a=end-of-candidates',
    'a=ssrc:77 cname:room',
    'a=rtcp-mux',
    'a=rtcp-rsize',
    '',
  ])
})

test('codecs by wish, directions by both, rejection without a common codec', () => {
  const offer = read('firefox-simulcast')
  const said = answerTo(offer, {
    transports: [ourTransport()],
    router,
    wishes: [
      { direction: 'sendonly', codecs: ['PCMA', 'opus'] },
      { direction: 'recvonly', codecs: ['H264'], simulcast: false },
    ],
    id: '1',
  })
  assert.deepEqual(
    said.lines[0]!.codecs.map(codec => codec.payloadType),
    [8, 101],
  )
  assert.equal(said.lines[0]!.direction, 'sendonly')
  assert.deepEqual(
    said.lines[1]!.codecs.map(codec => codec.payloadType),
    [126, 127],
  )
  assert.deepEqual([said.lines[1]!.rids, said.lines[2]!.rejected], [[], true])
  const none = (names: string[]) => () =>
    answerTo(offer, {
      transports: [ourTransport()],
      router,
      wishes: [{ direction: 'sendrecv', codecs: names }],
      id: '1',
    })
  assert.throws(none(['GSM']), { code: 'not-acceptable-here' })
  assert.deepEqual(
    read('safari-video').lines.map(
      line => answer(read('safari-video')).lines.find(one => one.mid === line.mid)!.codecs[0]!.payloadType,
    ),
    [111, 98],
  )
})

test('mediasoup takes what we make of an offer, and sends back in the browser’s numbers', () => {
  for (const name of browsers) {
    const offer = read(name)
    const said = answer(offer)
    for (const [index, line] of said.lines.entries()) {
      const remote = offer.lines[index]!
      if (line.rejected) continue
      const parameters = producerParameters(remote, line)
      ortc.validateAndNormalizeRtpParameters(parameters)
      const own = ortc.generateRouterRtpCapabilities(dialect(line))
      const mapping = ortc.getProducerRtpParametersMapping(parameters, own)
      const consumable = ortc.getConsumableRtpParameters(line.kind as 'audio', parameters, own, mapping)
      const capabilities = consumerCapabilities(remote, line, router)
      assert.ok(ortc.canConsume(consumable, capabilities), `${name} ${index}`)
      const sent = ortc.getConsumerRtpParameters({
        consumableRtpParameters: consumable,
        remoteRtpCapabilities: capabilities,
        pipe: false,
        enableRtx: line.kind === 'video',
      })
      assert.ok(fits(line, sent), `${name} ${index}: ${JSON.stringify(sent.codecs)}`)
      // The router's own numbers are another browser's.
      ortc.getProducerRtpParametersMapping(parameters, ortc.generateRouterRtpCapabilities(routerCodecs))
    }
  }
  const names = browsers.map(name => dialectName(answer(read(name)).lines[0]!))
  assert.deepEqual([...new Set(names)], ['opus/111', 'opus/109'])
})

test('simulcast becomes encodings by rid, a single stream by SSRC', () => {
  const offer = read('chromium-simulcast')
  const said = answer(offer)
  assert.deepEqual(
    producerParameters(offer.lines[1]!, said.lines[1]!).encodings!.map(one => one.rid),
    ['l', 'm', 'h'],
  )
  const safari = read('safari-video')
  const parameters = producerParameters(safari.lines[1]!, answer(safari).lines[1]!)
  assert.deepEqual(parameters.encodings, [{ ssrc: 2765410938, rtx: { ssrc: 1203984756 } }])
  assert.equal(parameters.rtcp!.cname, 'KqA9fZ1mX0cVbN2e')
})

test('MIDs stay out of answers unless streams cannot be told apart without', () => {
  const hasMid = (session: OurSession) =>
    session.lines.some(line => line.extensions.some(({ uri }) => uri.endsWith('sdes:mid')))
  assert.equal(hasMid(answer(read('jssip-video'))), false)
  const offer = read('chromium-simulcast')
  const twins = { ...offer, lines: offer.lines.map((line, i) => (i === 2 ? { ...offer.lines[1]!, mid: '2' } : line)) }
  assert.equal(hasMid(answer(twins)), true)
})

test('hold, ICE restart, lines that end and come: a later offer', () => {
  const [first, second] = [read('chromium-simulcast'), read('chromium-restart')]
  assert.equal(iceRestarted(first, second), true)
  assert.equal(iceRestarted(first, first), false)
  assert.equal(first.id, second.id)
  assert.ok(second.version > first.version)
  const before = answer(first)
  const after = answer(second, before)
  assert.deepEqual([after.id, before.version, after.version], [before.id, 1, 2])
  assert.equal(after.lines.length, second.lines.length)
  const held = { ...first, lines: first.lines.map(line => ({ ...line, direction: 'sendonly' as const })) }
  assert.equal(answer(held, before).lines[0]!.direction, 'recvonly')
  assert.throws(() => answer({ ...first, lines: first.lines.slice(0, 1) }, before), { code: 'not-acceptable-here' })
  // What was agreed stays, although the browser would now like another better.
  const turned = { ...first, lines: first.lines.map(line => ({ ...line, codecs: line.codecs.toReversed() })) }
  assert.equal(answer(turned, before).lines[0]!.codecs[0]!.payloadType, 111)
})

test('what is no WebRTC is refused, with the right word', () => {
  const spoilt = (change: (text: string) => string) => () => readWebRtc(parse(change(text('chromium-audio'))))
  const refusals: [string, (text: string) => string][] = [
    ['not-acceptable-here', one => one.replace(/a=fingerprint.*\r\n/, '')],
    ['not-acceptable-here', one => one.replace(/a=fingerprint:sha-256/, 'a=fingerprint:md5')],
    ['not-acceptable-here', one => one.replace(/a=fingerprint:sha-256 ..:/, 'a=fingerprint:sha-256 zz:')],
    ['not-acceptable-here', one => one.replace(/a=ice-pwd.*\r\n/, '')],
    ['not-acceptable-here', one => one.replace(/m=audio \d+/, 'm=audio 0')],
    ['bad-request', one => one.replace('v=0', 'v=1')],
    ['bad-request', one => one.replace(/o=.*\r\n/, '')],
    ['bad-request', one => one.replace(/m=audio \d+/, 'm=audio 99999')],
    ['bad-request', one => one.replace(/m=audio \d+/, 'm=audio 5000/2')],
    ['bad-request', one => one.replace(/m=(.|\r\n)*/, '')],
    ['bad-request', one => one + `m=audio 1 RTP/AVP 0\r\n`.repeat(64)],
    ['bad-request', one => one + 'a=x\r\n'.repeat(9000)],
    ['bad-request', one => `${one}a=${'x'.repeat(300_000)}\r\n`],
    ['bad-request', one => one + one.slice(one.indexOf('m=audio'))],
  ]
  for (const [code, change] of refusals) assert.throws(spoilt(change), { code }, String(change))
  const muxless = readWebRtc(parse(text('chromium-audio').replace('a=rtcp-mux\r\n', '')))
  assert.throws(() => answer(muxless), { code: 'not-acceptable-here' })
})

test('profiles and streams, as we would answer', () => {
  for (const name of browsers) assert.equal(profileOf(text(name)), 'webrtc', name)
  for (const name of ['baresip-rtp', 'baresip-sdes', 'baresip-dtls']) assert.equal(profileOf(text(name)), 'plain')
  assert.deepEqual(streamsOf(parse(text('phone-ipv6'))), [
    { kind: 'audio', direction: 'recvonly', codecs: ['opus', 'PCMU'] },
  ])
  assert.deepEqual(
    streamsOf(parse(text('jssip-video'))).map(({ kind, direction }) => `${kind} ${direction}`),
    ['audio sendrecv', 'video sendrecv'],
  )
})

test('a DTLS role stays for as long as the association does', () => {
  const offer = read('chromium-audio')
  const answered = (role: 'auto' | 'client' | 'server') => {
    const transport = ourTransport()
    const transports = [{ ...transport, dtls: { ...transport.dtls, role } }]
    return writeWebRtc(answerTo(offer, { transports, router, wishes: wishesFor(offer), id: '42' }))
  }
  assert.match(answered('auto'), /a=setup:passive/)
  assert.match(answered('server'), /a=setup:passive/)
  assert.match(answered('client'), /a=setup:active/)
})
