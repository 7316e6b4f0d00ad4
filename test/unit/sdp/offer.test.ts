import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerTo, wishesFor } from '../../../src/media/sdp/answer.ts'
import { parse } from '../../../src/media/sdp/description.ts'
import { offerNext, readAnswer } from '../../../src/media/sdp/offer.ts'
import type { OurSession } from '../../../src/media/sdp/ours.ts'
import { offerParameters, producerParameters } from '../../../src/media/sdp/router.ts'
import { readWebRtc } from '../../../src/media/sdp/webrtc.ts'
import { writeWebRtc } from '../../../src/media/sdp/write.ts'
import { ourTransport, read, router } from '../../support/sdp.ts'

const audio = {
  kind: 'audio',
  direction: 'sendrecv',
  parameters: offerParameters(router, 'audio'),
  transport: 0,
} as const
const video = offerParameters(router, 'video', ['VP8'])
const camera = { kind: 'video', direction: 'sendonly', parameters: video, transport: 1 } as const
const sender = { ssrc: 1000, rtxSsrc: 1001, cname: 'x', msid: 'bob camera' }

const reread = (session: OurSession) => readWebRtc(parse(writeWebRtc(session)))

// The same lines seen from the other side: what a browser would say that takes everything.
function answered(session: OurSession) {
  const read = reread(session)
  return { ...read, lines: read.lines.map(line => ({ ...line, direction: 'sendrecv' as const })) }
}

test('a first offer has the router’s numbers and tells nothing else', () => {
  const offer = offerNext(undefined, { transports: [ourTransport()], wishes: [audio], id: '5' })
  const read = reread(offer)
  assert.deepEqual([read.id, read.version, read.lines.length], ['5', 1, 1])
  const [line] = read.lines
  assert.equal(line!.mid, 'v0')
  assert.deepEqual(
    line!.codecs.map(codec => codec.payloadType),
    [111, 110, 9, 13, 126, 8, 0],
  )
  assert.equal(line!.extensions.find(one => one.id === 1)!.uri, 'urn:ietf:params:rtp-hdrext:sdes:mid')
  assert.match(writeWebRtc(offer), /a=setup:actpass/)
  const parameters = producerParameters(readAnswer(offer, answered(offer))[0]!, offer.lines[0]!)
  assert.equal(parameters.mid, 'v0')
  assert.equal(parameters.codecs[0]!.payloadType, 111)
})

test('other people’s video comes on lines that we add, under no id that means something else there', () => {
  const theirs = read('jssip-video')
  const said = answerTo(theirs, { transports: [ourTransport()], router, wishes: wishesFor(theirs), id: '5' })
  const wish = { ...camera, transport: 0 }
  const offer = offerNext(said, { transports: [ourTransport()], wishes: [{ ...wish, sender }, wish], id: '' })
  assert.deepEqual([offer.id, offer.version], ['5', 2])
  // The place of the video line that we have rejected is taken first.
  assert.deepEqual(
    offer.lines.map(line => line.mid),
    ['0', 'v0', 'v1'],
  )
  const back = reread(offer)
  assert.deepEqual(
    back.transports.map(one => one.mids),
    [['0', 'v0', 'v1']],
  )
  assert.deepEqual(back.lines[1]!.sources, [{ ssrc: 1000, rtxSsrc: 1001 }])
  assert.deepEqual(offer.lines[0], said.lines[0])
  assert.deepEqual(offer.lines[1]!.extensions, [])
  // A party that took our ids has them on new lines too.
  const first = offerNext(undefined, { transports: [ourTransport()], wishes: [audio], id: '5' })
  const next = offerNext(first, { transports: [ourTransport()], wishes: [wish], id: '' })
  assert.deepEqual(
    next.lines[1]!.extensions.map(one => one.id),
    [1, 2, 3, 4, 5],
  )
})

test('lines end and are recycled under new mids; nothing else moves', () => {
  const transports = [ourTransport(), ourTransport(1)]
  const first = offerNext(undefined, { transports, wishes: [audio, camera, camera], id: '5' })
  const second = offerNext(first, { transports, wishes: [], drop: ['v1'], id: '' })
  assert.deepEqual(
    reread(second).lines.map(line => line.rejected),
    [false, true, false],
  )
  assert.deepEqual(
    reread(second).transports.map(one => one.mids),
    [['v0'], ['v2']],
  )
  const third = offerNext(second, {
    transports,
    wishes: [camera, { ...audio, mid: 'v0', direction: 'recvonly' }],
    id: '',
  })
  assert.deepEqual(
    third.lines.map(line => line.mid),
    ['v0', 'v3', 'v2'],
  )
  assert.equal(third.lines[0]!.direction, 'recvonly')
  assert.deepEqual(third.lines[2], first.lines[2])
  assert.equal(third.version, 3)
  // The place of a line that ends now may be taken by a later offer only.
  const fourth = offerNext(third, { transports, wishes: [camera], drop: ['v2'], id: '' })
  assert.deepEqual(
    fourth.lines.map(line => line.mid),
    ['v0', 'v3', 'v2', 'v4'],
  )
  const restarted = offerNext(fourth, { transports: [ourTransport(7), ourTransport(8)], wishes: [], id: '' })
  assert.equal(reread(restarted).transports[0]!.ice.ufrag, 'ufrag7')
  assert.throws(() => offerNext(fourth, { transports, wishes: [{ ...audio, mid: 'v2' }], id: '' }), /no line/)
})

test('the browser’s next offer finds our lines and transports again', () => {
  const transports = [ourTransport(), ourTransport(1)]
  const ours = offerNext(undefined, { transports, wishes: [audio, { ...camera, sender }], id: '5' })
  const theirs = answered(ours)
  const wishes = [
    { direction: 'sendrecv', codecs: [] },
    { direction: 'sendonly', codecs: [], sender },
  ] as const
  const said = answerTo(theirs, { transports, router, wishes, previous: ours, id: '' })
  assert.deepEqual(
    said.lines.map(line => line.transport),
    [0, 1],
  )
  assert.deepEqual([said.version, said.nextMid], [2, 2])
  assert.deepEqual(
    said.lines[1]!.codecs.map(codec => codec.payloadType),
    [96, 100],
  )
})

test('an answer is held against the offer', () => {
  const offer = offerNext(undefined, {
    transports: [ourTransport()],
    wishes: [audio, { ...camera, transport: 0 }],
    id: '5',
  })
  const answer = answered(offer)
  const [voice, picture] = answer.lines
  assert.deepEqual(readAnswer(offer, { ...answer, lines: [voice!, { ...picture!, rejected: true }] })[1], undefined)
  const apart = { ...picture!, transport: 1 }
  assert.deepEqual(readAnswer(offer, { ...answer, lines: [voice!, apart] })[1], undefined)
  assert.ok(readAnswer(offer, { ...answer, lines: [{ ...voice!, mid: '' }, picture!] })[0])
  const wrong = [[voice!], [picture!, voice!], [{ ...voice!, rtcpMux: false }, picture!]]
  for (const lines of wrong)
    assert.throws(() => readAnswer(offer, { ...answer, lines }), { code: 'not-acceptable-here' })
})
