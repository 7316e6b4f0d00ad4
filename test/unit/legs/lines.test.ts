import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { types } from 'mediasoup'
import * as ortc from '../../../node_modules/mediasoup/node/lib/ortc.js'
import { answerWishes, offerWishes, sessionAfter, streamsAgreed, withSenders } from '../../../src/media/legs/lines.ts'
import { answerTo } from '../../../src/media/sdp/answer.ts'
import { parse } from '../../../src/media/sdp/description.ts'
import { offerNext } from '../../../src/media/sdp/offer.ts'
import type { OurSession, OurTransport } from '../../../src/media/sdp/ours.ts'
import { routerCodecs } from '../../../src/media/sdp/router.ts'
import { readWebRtc } from '../../../src/media/sdp/webrtc.ts'

const router = ortc.generateRouterRtpCapabilities(routerCodecs) as types.RtpCapabilities
const recorded = (name: string) => readFileSync(join(import.meta.dirname, `../../data/sdp/${name}.sdp`), 'utf8')
const transport: OurTransport = {
  ice: { usernameFragment: 'ufrag', password: 'p'.repeat(22), iceLite: true },
  candidates: [],
  dtls: { fingerprints: [{ algorithm: 'sha-256', value: Array(32).fill('AB').join(':') }] },
}

function answered(name: string, streams?: Parameters<typeof answerWishes>[1]): OurSession {
  const offer = readWebRtc(parse(recorded(name)))
  return answerTo(offer, { transports: [transport], router, wishes: answerWishes(offer, streams, router), id: '1' })
}

test('everything that a browser offers is taken, and it is shown videos where it numbers them as the router does', () => {
  const agreed = streamsAgreed(answered('chromium-video'))
  assert.deepEqual(
    agreed.map(({ kind, direction }) => `${kind} ${direction}`),
    ['audio sendrecv', 'video sendrecv'],
  )
  // Firefox gives VP8 another number: what it sends is taken, what it is sent needs a line of ours.
  const firefox = streamsAgreed(answered('firefox-simulcast'))
  assert.deepEqual(firefox.find(({ kind }) => kind === 'video')?.direction, 'recvonly')
})

test('only the streams that are wanted are taken', () => {
  const agreed = streamsAgreed(answered('chromium-video', [{ kind: 'audio', direction: 'recvonly', codecs: ['PCMU'] }]))
  assert.deepEqual(agreed, [{ kind: 'audio', direction: 'recvonly', codecs: ['PCMU'] }])
})

test('lines for more pictures have the router’s numbers', () => {
  const previous = answered('firefox-simulcast')
  const wishes = offerWishes({ previous, streams: undefined, tiles: 2, capabilities: router })
  const next = offerNext(previous, { transports: [transport], wishes, id: '1' })
  const added = next.lines.filter(line => line.direction === 'sendonly')
  assert.deepEqual(
    added.map(line => `${line.kind} ${line.codecs[0]?.payloadType}`),
    ['video 96', 'video 96'],
  )
})

test('another codec on a line that is there keeps the numbers that the line has', () => {
  const previous = answered('firefox-simulcast')
  const before = previous.lines.find(line => line.kind === 'audio')!
  const [wish] = offerWishes({
    previous,
    streams: [{ kind: 'audio', direction: 'sendrecv', codecs: ['PCMU', 'opus'] }],
    tiles: 0,
    capabilities: router,
  })
  assert.equal(wish?.mid, before.mid)
  const numbers = wish?.parameters?.codecs.map(codec => `${codec.mimeType} ${codec.payloadType}`)
  assert.ok(numbers?.includes('audio/PCMU 0'))
  assert.ok(numbers?.includes(`audio/opus ${before.codecs[0]?.payloadType}`))
})

test('a party that comes from another partner keeps its lines and mids', () => {
  const theirs = readWebRtc(parse(recorded('chromium-video')))
  const after = sessionAfter(recorded('chromium-video'), router, '7')
  assert.deepEqual(
    after.lines.map(line => line.mid),
    theirs.lines.map(line => line.mid),
  )
  assert.equal(after.version, 0)
})

test('sources are announced where the browser could not tell them, and nowhere else', () => {
  const encoding = () => ({ ssrc: 77 })
  const one = withSenders(answered('chromium-video'), encoding)
  assert.ok(one.lines.every(line => line.sender?.ssrc === undefined && line.sender?.msid !== undefined))
  const two = offerNext(one, {
    transports: [transport],
    wishes: offerWishes({ previous: one, streams: undefined, tiles: 1, capabilities: router }),
    id: '1',
  })
  assert.ok(withSenders(two, encoding).lines.every(line => line.sender?.ssrc === 77))
})
