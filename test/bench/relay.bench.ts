import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { createSilentLog } from '../../src/log.ts'
import type { PayloadType, PortRemote, SrtpKeys } from '../../src/media/audio/audio.ts'
import { createAudioEngine } from '../../src/media/audio/engine.ts'
import { type AudioHost, createAudioHost } from '../../src/media/audio/host.ts'
import { loadCodecs } from '../../src/media/codec/codec.ts'
import { createMixer } from '../../src/media/mix/mixer.ts'
import { createRtpPhone, type RtpPhone } from '../support/rtp-phone.ts'
import type { RelayPeer } from './support/relay-peer.ts'

// CPU of the audio thread per 1,000 packets that it passes on: received, looked at, written anew and sent. And what it
// adds from mouth to ear: passed on, and decoded, mixed and encoded.

const packets = 60_000
const delayTurns = 40
const loopback = '127.0.0.1'
const key = (n: number) => Buffer.alloc(30, n).toString('base64')
const srtp: SrtpKeys = { suite: 'AES_CM_128_HMAC_SHA1_80', send: key(1), receive: key(2) }
const pcmu: PayloadType = { payloadType: 0, codec: 'PCMU', clockRate: 8000, channels: 1 }
const pcma: PayloadType = { payloadType: 8, codec: 'PCMA', clockRate: 8000, channels: 1 }
const g722: PayloadType = { payloadType: 9, codec: 'G722', clockRate: 8000, channels: 1 }
const opus: PayloadType = { payloadType: 111, codec: 'opus', clockRate: 48000, channels: 2 }
const codecs = await loadCodecs()

interface Case {
  name: string
  /** PCMU unless said otherwise. */
  codec?: PayloadType
  from?: Partial<PortRemote>
  to?: Partial<PortRemote>
  /** The far end is a stream of a trunk. */
  trunk?: boolean
}

const cases: Case[] = [
  { name: 'PCMU, phone → phone' },
  { name: 'PCMU → PCMA, phone → phone', to: { send: pcma, receive: [pcma] } },
  { name: 'Opus, phone → phone', codec: opus },
  { name: 'PCMU, phone with SRTP → phone', from: { srtp } },
  { name: 'PCMU, phone → phone with SRTP', to: { srtp } },
  { name: 'PCMU, phone with SRTP → phone with SRTP', from: { srtp }, to: { srtp } },
  { name: 'PCMU, phone → trunk, level added', trunk: true },
  { name: 'G.722, phone → trunk, level added', codec: g722, trunk: true },
  { name: 'Opus, phone → trunk, level added', codec: opus, trunk: true },
]

function remote(port: number, codec: PayloadType, change: Partial<PortRemote> = {}): PortRemote {
  return { address: loopback, port, rtcpPort: 0, send: codec, receive: [codec], direction: 'sendrecv', ...change }
}

/** 20 ms of noise. */
function payloadOf(codec: PayloadType): Uint8Array {
  const encoder = codecs.encoder(codec.codec, 16000)
  const pcm = Int16Array.from({ length: 320 }, () => 8000 * (Math.random() - 0.5))
  const payload = Uint8Array.from(encoder.encode(pcm) ?? [])
  encoder.free()
  return payload
}

/** Opens both ends and gives the port that the peer sends to. */
async function open(host: AudioHost, wish: Case, from: number, to: number): Promise<number> {
  const { codec = pcmu } = wish
  const one = await host.openPort(loopback)
  await host.setPort(one.end, remote(from, codec, wish.from))
  if (wish.trunk) {
    const { trunk } = await host.openTrunk(loopback)
    await host.setTrunk(trunk, { address: loopback, port: to })
    const send = { ssrc: 5, codec, levelExtension: 6, cname: 'bench' }
    await host.link(one.end, await host.openEnd(trunk, { send }))
  } else {
    const other = await host.openPort(loopback)
    await host.setPort(other.end, remote(to, codec, wish.to))
    await host.link(one.end, other.end)
  }
  return one.rtpPort
}

async function measure(wish: Case): Promise<number> {
  const host = createAudioHost({
    rtpPorts: { first: 38_000, last: 38_999 },
    trunkPorts: { first: 39_000, last: 39_999 },
    emit() {},
    loadMixery: async () => ({ codecs, createMixer }),
    cpuSeconds: () => 0,
  })
  const { codec = pcmu } = wish
  const workerData: RelayPeer = {
    payloadType: codec.payloadType,
    payload: payloadOf(codec),
    ...(wish.from?.srtp ? { srtpKey: srtp.receive } : {}),
  }
  const peer = new Worker(new URL('./support/relay-peer.ts', import.meta.url), { workerData })
  const [[from, to]] = (await once(peer, 'message')) as [[number, number]]
  const port = await open(host, wish, from, to)
  const run = async (count: number) => {
    peer.postMessage({ port, count })
    const [said] = await once(peer, 'message')
    if (said !== 'done') throw new Error(`packets were lost: ${wish.name}`)
  }
  await run(packets / 3)
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 3; round++) {
    const before = process.threadCpuUsage()
    await run(packets)
    const { user, system } = process.threadCpuUsage(before)
    best = Math.min(best, (user + system) / packets)
  }
  await peer.terminate()
  await host.close()
  return best
}

/** Ms from a first loud packet to when it is heard, of many, through the real thread. */
async function measureDelay(mixed: boolean): Promise<number[]> {
  const engine = createAudioEngine({
    config: { rtpPorts: '38000-38999', trunkPorts: '39000-39999' },
    log: createSilentLog(),
  })
  const phones = [await createRtpPhone({ tone: 500 }), await createRtpPhone()]
  const ends: string[] = []
  for (const phone of phones) {
    const { end, ...ports } = await engine.openPort(loopback)
    phone.aim(ports)
    await engine.setPort(end, phone.remote())
    ends.push(end)
  }
  if (mixed) {
    const mix = await engine.openMix({ speakers: 3 })
    for (const end of ends) await engine.join(end, mix, {})
  } else await engine.link(ends[0]!, ends[1]!)
  const delays: number[] = []
  const [one, two] = phones as [RtpPhone, RtpPhone]
  for (let turn = 0; turn < delayTurns; turn++) {
    // Quiet of an uneven length, then the tone.
    for (let i = 0; i < 25 + (turn % 7); i++) {
      await one.say(0, Buffer.alloc(160, 0xff))
      await wait(20)
    }
    two.heard.length = 0
    const from = performance.now()
    const talk = one.talk(3, { everyMs: 20 })
    const isLoud = () => two.heard.find(({ payload }) => payload.some(code => (code & 0x7f) < 0x40))
    await two.until(() => isLoud() !== undefined)
    delays.push(isLoud()!.at - from)
    await talk
  }
  for (const phone of phones) phone.close()
  await engine.close()
  return delays.sort((a, b) => a - b)
}

process.stdout.write('| What is passed on | CPU ms for 1,000 packets | packets/s per core |\n| --- | ---: | ---: |\n')
for (const wish of cases) {
  const micros = await measure(wish)
  const perCore = Math.round(1e6 / micros / 1000)
  process.stdout.write(`| ${wish.name} | ${micros.toFixed(1)} | ${perCore},000 |\n`)
}
process.stdout.write('\n| Added from mouth to ear | median ms | worst of 40 |\n| --- | ---: | ---: |\n')
for (const [name, mixed] of [
  ['passed on', false],
  ['mixed', true],
] as const) {
  const delays = await measureDelay(mixed)
  const [median, worst] = [delays[delays.length >> 1]!, delays.at(-1)!]
  process.stdout.write(`| ${name} | ${median.toFixed(1)} | ${worst.toFixed(1)} |\n`)
}
