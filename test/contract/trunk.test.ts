import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { types } from 'mediasoup'
import { createSilentLog } from '../../src/log.ts'
import type { AudioCodec, AudioEngine, TrunkEnd } from '../../src/media/audio/audio.ts'
import { createAudioEngine } from '../../src/media/audio/engine.ts'
import { realWorker } from '../support/media-worker.ts'
import { createRtpPhone, isContinuous, type RtpPhone } from '../support/rtp-phone.ts'

// Phones through a real mediasoup worker: phone → port → trunk → producer → consumer → trunk → port → phone.

const levelUri = 'urn:ietf:params:rtp-hdrext:ssrc-audio-level'
const levelId = 6
const loopback = '127.0.0.1'
// mediasoup forwards to its consumers only what it takes for sound: packets of `telephone-event` and `CN` it drops
// (Consumer.cpp, supportedCodecPayloadTypes). Under the name of a codec that nobody speaks they pass.
const eventName = 'audio/SILK'
const mediaCodecs: types.RouterRtpCodecCapability[] = [
  { kind: 'audio', mimeType: 'audio/PCMU', clockRate: 8000, preferredPayloadType: 0 },
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2, preferredPayloadType: 111 },
  { kind: 'audio', mimeType: eventName, clockRate: 8000, preferredPayloadType: 110 },
]

interface Rig {
  engine: AudioEngine
  router: types.Router
  transport: types.PlainTransport
  trunk: string
}

async function start(t: TestContext): Promise<Rig> {
  const { createWorker } = await import('mediasoup')
  const worker = await createWorker({ workerBin: await realWorker(), logLevel: 'error' })
  const engine = createAudioEngine({
    config: { rtpPorts: '36000-36999', trunkPorts: '37000-37999' },
    log: createSilentLog(),
  })
  t.after(async () => {
    worker.close()
    await engine.close()
  })
  const router = await worker.createRouter({ mediaCodecs })
  const transport = await router.createPlainTransport({ listenInfo: { protocol: 'udp', ip: loopback }, rtcpMux: true })
  const { trunk, port } = await engine.openTrunk(loopback)
  await transport.connect({ ip: loopback, port })
  await engine.setTrunk(trunk, { address: loopback, port: transport.tuple.localPort })
  return { engine, router, transport, trunk }
}

async function openPhone(t: TestContext, engine: AudioEngine, tone: number): Promise<{ phone: RtpPhone; end: string }> {
  const phone = await createRtpPhone({ tone })
  t.after(() => phone.close())
  const { end, ...ports } = await engine.openPort(loopback)
  phone.aim(ports)
  await engine.setPort(end, phone.remote())
  return { phone, end }
}

/** A producer on the trunk, and what the engine needs to feed it. */
async function speak({ transport }: Rig, ssrc: number, name = 'PCMU', payloadType = 0) {
  const clockRate = name === 'opus' ? 48000 : 8000
  const channels = name === 'opus' ? 2 : 1
  const codecs: types.RtpCodecParameters[] = [{ mimeType: `audio/${name}`, payloadType, clockRate, channels }]
  if (name === 'PCMU') codecs.push({ mimeType: eventName, payloadType: 110, clockRate: 8000 })
  const producer = await transport.produce({
    kind: 'audio',
    rtpParameters: {
      codecs,
      encodings: [{ ssrc }],
      headerExtensions: [{ uri: levelUri, id: levelId }],
      rtcp: { cname: `c${ssrc}` },
    },
  })
  const codec = { payloadType, codec: name as AudioCodec, clockRate, channels }
  const dtmf = name === 'PCMU' ? 110 : undefined
  const send: NonNullable<TrunkEnd['send']> = { ssrc, codec, dtmf, levelExtension: levelId, cname: `c${ssrc}` }
  return { producer, send }
}

/** What the engine hears of a producer. */
async function hear({ router, transport }: Rig, producer: types.Producer): Promise<NonNullable<TrunkEnd['receive']>> {
  const consumer = await transport.consume({ producerId: producer.id, rtpCapabilities: router.rtpCapabilities })
  const { codecs, encodings, headerExtensions } = consumer.rtpParameters
  const { payloadType, clockRate, mimeType, channels = 1 } = codecs[0]!
  return {
    ssrc: encodings![0]!.ssrc!,
    codec: { payloadType, clockRate, channels, codec: mimeType.slice(6) as AudioCodec },
    dtmf: codecs.find(codec => codec.mimeType === eventName)?.payloadType,
    levelExtension: headerExtensions?.find(extension => extension.uri === levelUri)?.id,
  }
}

test('two phones talk through a router, and its observers hear how loud they are', async t => {
  const rig = await start(t)
  const { engine, router, trunk } = rig
  const [one, two] = [await openPhone(t, engine, 500), await openPhone(t, engine, 900)]
  const [first, second] = [await speak(rig, 1111), await speak(rig, 2222)]
  const ends = [
    await engine.openEnd(trunk, { send: first.send, receive: await hear(rig, second.producer) }),
    await engine.openEnd(trunk, { send: second.send, receive: await hear(rig, first.producer) }),
  ]
  await engine.link(one.end, ends[0]!)
  await engine.link(two.end, ends[1]!)
  const observer = await router.createAudioLevelObserver({ interval: 250, threshold: -60, maxEntries: 2 })
  await observer.addProducer({ producerId: first.producer.id })
  const volumes: number[] = []
  observer.on('volumes', found => volumes.push(...found.map(entry => entry.volume)))

  await Promise.all([one.phone.talk(40, { everyMs: 15 }), two.phone.talk(40, { everyMs: 15 })])
  await one.phone.until(() => one.phone.sounds().length >= 38)
  await two.phone.until(() => two.phone.sounds().length >= 38)
  assert.ok(one.phone.share(900) > 0.9 && two.phone.share(500) > 0.9)
  assert.ok(isContinuous(one.phone.heard) && isContinuous(two.phone.heard))
  // 0.3 of full scale is -13.5 dBov.
  assert.ok(
    volumes.some(volume => Math.abs(volume + 13.5) < 3),
    `volumes ${volumes}`,
  )
  await one.phone.press('8', 100)
  await two.phone.until(() => two.phone.sounds(101).length === 5)
  const stats = await first.producer.getStats()
  assert.equal(stats[0]!.packetsLost, 0)
})

test('what mediasoup sends of one party is told from another’s by its SSRC, and a closed end is not heard', async t => {
  const rig = await start(t)
  const { engine, trunk } = rig
  const speakers = [await openPhone(t, engine, 500), await openPhone(t, engine, 900)]
  const listeners = [await openPhone(t, engine, 1), await openPhone(t, engine, 1)]
  const ends: string[] = []
  for (const [i, speaker] of speakers.entries()) {
    const { producer, send } = await speak(rig, 3000 + i)
    await engine.link(speaker.end, await engine.openEnd(trunk, { send }))
    const end = await engine.openEnd(trunk, { receive: await hear(rig, producer) })
    await engine.link(end, listeners[i]!.end)
    ends.push(end)
  }
  await Promise.all(speakers.map(({ phone }) => phone.talk(20, { everyMs: 10 })))
  await Promise.all(listeners.map(({ phone }) => phone.until(() => phone.sounds().length >= 19)))
  assert.ok(listeners[0]!.phone.share(500) > 0.9 && listeners[1]!.phone.share(900) > 0.9)
  await engine.closeEnd(ends[0]!)
  const heard = listeners[0]!.phone.sounds().length
  await Promise.all(speakers.map(({ phone }) => phone.talk(10, { everyMs: 5 })))
  await listeners[1]!.phone.until(() => listeners[1]!.phone.sounds().length >= 29)
  assert.equal(listeners[0]!.phone.sounds().length, heard)
})

test('a phone in a mix is heard through a speaker slot in Opus, and the slot tells whose speech it is', async t => {
  const rig = await start(t)
  const { engine, trunk } = rig
  const slots: (string | undefined)[] = []
  engine.on(event => {
    if (event.type === 'slot') slots.push(event.end)
  })
  const [one, listener] = [await openPhone(t, engine, 500), await openPhone(t, engine, 1)]
  const mix = await engine.openMix({ speakers: 3 })
  const { producer, send } = await speak(rig, 4444, 'opus', 111)
  await engine.openSlot(mix, 0, trunk, send)
  await engine.join(one.end, mix, {})
  const end = await engine.openEnd(trunk, { receive: await hear(rig, producer) })
  // Opus is decoded for a phone that speaks PCMU only.
  await engine.link(end, listener.end)
  await one.phone.talk(60, { everyMs: 20 })
  await listener.phone.until(() => listener.phone.sounds().length >= 30)
  assert.ok(listener.phone.clearest(500) > 0.7)
  assert.ok(slots.includes(one.end))
  assert.ok(isContinuous(listener.phone.heard))
})
