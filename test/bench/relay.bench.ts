import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { PayloadType, PortRemote, SrtpKeys } from '../../src/media/audio/audio.ts'
import { type AudioHost, createAudioHost } from '../../src/media/audio/host.ts'
import type { RelayPeer } from './support/relay-peer.ts'

// CPU of the audio thread per 1,000 packets that it passes on: received, looked at, written anew and sent.

const packets = 60_000
const loopback = '127.0.0.1'
const key = (n: number) => Buffer.alloc(30, n).toString('base64')
const srtp: SrtpKeys = { suite: 'AES_CM_128_HMAC_SHA1_80', send: key(1), receive: key(2) }
const pcmu: PayloadType = { payloadType: 0, codec: 'PCMU', clockRate: 8000, channels: 1 }
const pcma: PayloadType = { payloadType: 8, codec: 'PCMA', clockRate: 8000, channels: 1 }

interface Case {
  name: string
  from?: Partial<PortRemote>
  to?: Partial<PortRemote>
  /** The far end is a stream of a trunk. */
  trunk?: boolean
}

const cases: Case[] = [
  { name: 'PCMU, phone → phone' },
  { name: 'PCMU → PCMA, phone → phone', to: { send: pcma, receive: [pcma] } },
  { name: 'PCMU, phone → trunk, level added', trunk: true },
  { name: 'PCMU, phone with SRTP → phone', from: { srtp } },
  { name: 'PCMU, phone → phone with SRTP', to: { srtp } },
  { name: 'PCMU, phone with SRTP → phone with SRTP', from: { srtp }, to: { srtp } },
]

function remote(port: number, change: Partial<PortRemote> = {}): PortRemote {
  return { address: loopback, port, rtcpPort: 0, send: pcmu, receive: [pcmu], direction: 'sendrecv', ...change }
}

/** Opens both ends and gives the port that the peer sends to. */
async function open(host: AudioHost, wish: Case, from: number, to: number): Promise<number> {
  const one = await host.openPort(loopback)
  await host.setPort(one.end, remote(from, wish.from))
  if (wish.trunk) {
    const { trunk } = await host.openTrunk(loopback)
    await host.setTrunk(trunk, { address: loopback, port: to })
    const send = { ssrc: 5, codec: pcmu, levelExtension: 6, cname: 'bench' }
    await host.link(one.end, await host.openEnd(trunk, { send }))
  } else {
    const other = await host.openPort(loopback)
    await host.setPort(other.end, remote(to, wish.to))
    await host.link(one.end, other.end)
  }
  return one.rtpPort
}

async function measure(wish: Case): Promise<number> {
  const host = createAudioHost({
    rtpPorts: { first: 38_000, last: 38_999 },
    trunkPorts: { first: 39_000, last: 39_999 },
    emit() {},
    loadMixery: () => Promise.reject(new Error('a relay decodes nothing')),
    cpuSeconds: () => 0,
  })
  const workerData: RelayPeer = { payloadBytes: 160, ...(wish.from?.srtp ? { srtpKey: srtp.receive } : {}) }
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

process.stdout.write('| What is passed on | CPU ms for 1,000 packets | packets/s per core |\n| --- | ---: | ---: |\n')
for (const wish of cases) {
  const micros = await measure(wish)
  const perCore = Math.round(1e6 / micros / 1000)
  process.stdout.write(`| ${wish.name} | ${micros.toFixed(1)} | ${perCore},000 |\n`)
}
