import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import type { types } from 'mediasoup'
import type { Page } from 'playwright-core'
import { answerTo } from '../../src/media/sdp/answer.ts'
import { parse } from '../../src/media/sdp/description.ts'
import { offerNext, readAnswer } from '../../src/media/sdp/offer.ts'
import type { OurLine, OurSession, OurTransport, Sender } from '../../src/media/sdp/ours.ts'
import {
  consumerCapabilities,
  dialect,
  fits,
  offerParameters,
  producerParameters,
  routerCodecs,
} from '../../src/media/sdp/router.ts'
import { iceRestarted, readWebRtc, type WebRtcLine } from '../../src/media/sdp/webrtc.ts'
import { writeWebRtc } from '../../src/media/sdp/write.ts'
import { openBrowser, type TestBrowser } from '../support/browser.ts'
import { realWorker } from '../support/media-worker.ts'

// What the SDP room makes of a real browser's offers and answers, held against the real SFU: packets must arrive both ways.

describe('Chromium and mediasoup, by our SDP', () => {
  let browser: TestBrowser
  let worker: types.Worker
  let router: types.Router
  let capabilities: types.RtpCapabilities
  let origin = ''
  const site = createServer((_, response) => response.setHeader('content-type', 'text/html').end(page))

  before(async () => {
    process.env['MEDIASOUP_WORKER_BIN'] = await realWorker()
    const mediasoup = await import('mediasoup')
    worker = await mediasoup.createWorker({ logLevel: 'warn' })
    router = await worker.createRouter({ mediaCodecs: routerCodecs })
    capabilities = structuredClone(router.rtpCapabilities)
    browser = await openBrowser()
    await new Promise<void>(done => site.listen(0, '127.0.0.1', done))
    origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}/`
  })
  after(async () => {
    await browser.close()
    site.close()
    worker.close()
  })

  const transport = () => router.createWebRtcTransport({ listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }] })

  function produce(on: types.WebRtcTransport, remote: WebRtcLine, ours: OurLine, heardOn?: OurLine) {
    router.updateMediaCodecs(heardOn === undefined ? routerCodecs : dialect(heardOn))
    return on.produce({ kind: ours.kind as types.MediaKind, rtpParameters: producerParameters(remote, ours) })
  }

  async function consume(on: types.WebRtcTransport, producer: types.Producer, remote: WebRtcLine, ours: OurLine) {
    const rtpCapabilities = consumerCapabilities(remote, ours, capabilities)
    assert.ok(router.canConsume({ producerId: producer.id, rtpCapabilities }))
    const consumer = await on.consume({ producerId: producer.id, rtpCapabilities, mid: ours.mid })
    assert.ok(fits(ours, consumer.rtpParameters), JSON.stringify(consumer.rtpParameters.codecs))
    return consumer
  }

  test('its offer with simulcast: it is heard and seen, hears itself, and sees more on a line that we add', async () => {
    const { page: tab, close } = await browser.open(origin, 440)
    const up = await transport()
    const offer = readWebRtc(parse(await offered(tab, { camera: true })))
    const wishes = [
      { direction: 'sendrecv', codecs: ['opus'] },
      { direction: 'recvonly', codecs: ['VP8'] },
    ] as const
    let ours = answerTo(offer, { transports: [ourEnd(up)], router: capabilities, wishes, id: '7001' })
    const [voice, camera] = [offer.lines[0]!, offer.lines[1]!]
    await up.connect({ dtlsParameters: offer.transports[0]!.dtls })
    const microphone = await produce(up, voice, ours.lines[0]!, ours.lines[0])
    const picture = await produce(up, camera, ours.lines[1]!)
    const echo = await consume(up, microphone, voice, ours.lines[0]!)
    ours = withSender(ours, 0, senderOf(echo, 'room mix'))
    await taken(tab, 'answer', writeWebRtc(ours))
    await until(async () => microphone.score.some(one => one.score > 5), 'its voice')
    await until(async () => picture.score.filter(one => one.score > 5).length >= 2, 'two sizes of its picture')
    await received(tab, 'audio', voice.mid)

    // Someone's picture (its own), on a line that we add.
    const wish = {
      kind: 'video',
      direction: 'sendonly',
      parameters: offerParameters(capabilities, 'video', ['VP8']),
      transport: 0,
    } as const
    const ends = () => [ourEnd(up)]
    let next = offerNext(ours, { transports: ends(), wishes: [{ ...wish, sender: { msid: 'bob camera' } }], id: '' })
    let theirs = readWebRtc(parse(await taken(tab, 'offer', writeWebRtc(next))))
    assert.equal(iceRestarted(offer, theirs), false)
    const shown = await consume(up, picture, readAnswer(next, theirs)[2]!, next.lines[2]!)
    const sender = senderOf(shown, 'bob camera')
    assert.ok(sender.rtxSsrc, 'repair packets are agreed on')
    next = offerNext(next, { transports: ends(), wishes: [{ ...wish, mid: next.lines[2]!.mid, sender }], id: '' })
    readAnswer(next, readWebRtc(parse(await taken(tab, 'offer', writeWebRtc(next)))))
    await received(tab, 'video', next.lines[2]!.mid)

    // It offers anew, with other ICE credentials: our side finds everything where it was.
    const again = readWebRtc(parse(await offered(tab, { iceRestart: true })))
    assert.ok(iceRestarted(theirs, again))
    assert.deepEqual(
      again.lines.map(line => line.mid),
      next.lines.map(line => line.mid),
    )
    await up.restartIce()
    const restarted = answerTo(again, {
      transports: ends(),
      router: capabilities,
      wishes: [
        { ...wishes[0], sender: senderOf(echo, 'room mix') },
        wishes[1],
        { direction: 'sendonly', codecs: [], sender },
      ],
      previous: next,
      id: '',
    })
    assert.deepEqual(restarted.lines.map(numbers), next.lines.map(numbers))
    await taken(tab, 'answer', writeWebRtc(restarted))
    await received(tab, 'audio', voice.mid)
    await received(tab, 'video', next.lines[2]!.mid)

    // The picture ends, and another takes its place.
    next = offerNext(restarted, { transports: ends(), wishes: [], drop: [next.lines[2]!.mid], id: '' })
    readAnswer(next, readWebRtc(parse(await taken(tab, 'offer', writeWebRtc(next)))))
    next = offerNext(next, { transports: ends(), wishes: [{ ...wish, sender }], id: '' })
    assert.equal(next.lines.length, 3)
    theirs = readWebRtc(parse(await taken(tab, 'offer', writeWebRtc(next))))
    assert.ok(readAnswer(next, theirs)[2])
    await received(tab, 'video', theirs.lines[2]!.mid)
    await close()
  })

  test('our offer: one group carries voice and picture both ways', async () => {
    const { page: tab, close } = await browser.open(origin, 440)
    const both = await transport()
    const wishes = (['audio', 'video'] as const).map(kind => ({
      kind,
      direction: 'sendrecv' as const,
      parameters: offerParameters(capabilities, kind),
      transport: 0,
      sender: { msid: `room ${kind}` },
      rids: kind === 'video' ? ['l', 'h'] : [],
    }))
    const ours = offerNext(undefined, { transports: [ourEnd(both)], wishes, id: '7002' })
    const answer = readWebRtc(parse(await taken(tab, 'offer', writeWebRtc(ours), { camera: true })))
    const lines = readAnswer(ours, answer)
    assert.equal(answer.transports[0]!.dtls.role, 'client')
    await both.connect({ dtlsParameters: answer.transports[0]!.dtls })
    for (const [index, line] of ours.lines.entries()) {
      const producer = await produce(both, lines[index]!, line)
      await consume(both, producer, lines[index]!, line)
      const sizes = line.kind === 'video' ? 2 : 1
      await until(async () => producer.score.filter(one => one.score > 5).length === sizes, `its ${line.kind}`)
      await received(tab, line.kind, line.mid)
    }
    await close()
  })
})

const page = `<script>
const media = navigator.mediaDevices.getUserMedia({ audio: true, video: true })
const pc = new RTCPeerConnection()
const sizes = [{ rid: 'l', scaleResolutionDownBy: 4 }, { rid: 'm', scaleResolutionDownBy: 2 }, { rid: 'h' }]
pc.ontrack = ({ track }) => {
  const element = Object.assign(document.createElement(track.kind), { autoplay: true, muted: true })
  element.srcObject = new MediaStream([track])
  document.body.append(element)
}
async function offer({ camera, iceRestart }) {
  const stream = await media
  if (pc.getTransceivers().length === 0) {
    pc.addTransceiver(stream.getAudioTracks()[0], { streams: [stream] })
    if (camera) pc.addTransceiver(stream.getVideoTracks()[0], { streams: [stream], sendEncodings: sizes })
  }
  if (iceRestart) pc.restartIce()
  await pc.setLocalDescription()
  return pc.localDescription.sdp
}
async function take(type, sdp, { camera }) {
  await pc.setRemoteDescription({ type, sdp })
  if (type === 'answer') return ''
  const stream = await media
  if (camera) for (const track of stream.getTracks()) pc.addTrack(track, stream)
  await pc.setLocalDescription()
  return pc.localDescription.sdp
}
async function received() {
  const found = {}
  for (const one of (await pc.getStats()).values()) {
    if (one.type === 'inbound-rtp') found[one.mid] = (found[one.mid] ?? 0) + (one.kind === 'video' ? one.framesDecoded : one.packetsReceived)
  }
  return found
}
</script><body></body>`

const offered = (tab: Page, options: object) => tab.evaluate(`offer(${JSON.stringify(options)})`) as Promise<string>
const taken = (tab: Page, type: string, sdp: string, options: object = {}) =>
  tab.evaluate(`take('${type}', ${JSON.stringify(sdp)}, ${JSON.stringify(options)})`) as Promise<string>

/** Resolves when ten more packets of audio, or decoded pictures, have come on the line. */
async function received(tab: Page, kind: string, mid: string): Promise<void> {
  const now = async () => ((await tab.evaluate('received()')) as Record<string, number>)[mid] ?? 0
  const from = await now()
  await until(async () => (await now()) >= from + 10, `${kind} on ${mid}`)
}

async function until(fact: () => Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 15_000
  while (!(await fact())) {
    assert.ok(Date.now() < end, `${what} has not come`)
    await new Promise(done => setTimeout(done, 50))
  }
}

function ourEnd(transport: types.WebRtcTransport): OurTransport {
  return { ice: transport.iceParameters, candidates: transport.iceCandidates, dtls: transport.dtlsParameters }
}

function senderOf(consumer: types.Consumer, msid: string): Sender {
  const [encoding] = consumer.rtpParameters.encodings!
  return { ssrc: encoding!.ssrc, rtxSsrc: encoding!.rtx?.ssrc, cname: consumer.rtpParameters.rtcp!.cname, msid }
}

function withSender(session: OurSession, index: number, sender: Sender): OurSession {
  return { ...session, lines: session.lines.map((line, at) => (at === index ? { ...line, sender } : line)) }
}

const numbers = (line: OurLine) => [
  line.mid,
  line.transport,
  line.codecs.map(codec => codec.payloadType),
  line.extensions,
]
