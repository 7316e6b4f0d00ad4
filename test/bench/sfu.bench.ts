import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { createWorker } from 'mediasoup'
import { realWorker } from '../support/media-worker.ts'
import { type Member, openMember } from '../support/member.ts'
import { freePorts, startVaartha } from '../support/server.ts'
import { writeSection } from './support/page.ts'
import { cpuSeconds, residentBytes } from './support/processes.ts'
import type { SendersAnswer, SendersAsk } from './support/rtp-senders.ts'

// What one SFU worker passes on for a second of one core, and what a participant costs in memory. `--write` puts both
// tables into docs/benchmarks.md, `--quick` makes it short.

const options = process.argv.slice(2)
const quick = options.includes('--quick')
const seconds = quick ? 3 : 15
const listeners = quick ? [20] : [20, 100, 300]
const members = quick ? 10 : 50
const speakers = 3
const address = '127.0.0.1'
const opus = {
  kind: 'audio',
  mimeType: 'audio/opus',
  clockRate: 48000,
  channels: 2,
  preferredPayloadType: 100,
} as const
const srtpParameters = {
  cryptoSuite: 'AES_CM_128_HMAC_SHA1_80',
  keyBase64: Buffer.alloc(30, 7).toString('base64'),
} as const

const packetRows: string[] = []
for (const srtp of [false, true]) for (const count of listeners) packetRows.push(await packets(count, srtp))
const memoryRows = [await memory('phone', false), await memory('browser', true)]
const text = [
  '| listeners | keys | packets sent on, a second | CPU of the worker | packets a second and core | arrived |',
  '| ---: | --- | ---: | ---: | ---: | ---: |',
  ...packetRows,
  '',
  '| memory of the server | legs | KB each |',
  '| --- | ---: | ---: |',
  ...memoryRows,
].join('\n')
process.stdout.write(`${text}\n`)
if (options.includes('--write')) writeSection('sfu', text)

/** Three speak to so many, each of which is sent all three. */
async function packets(count: number, srtp: boolean): Promise<string> {
  const worker = await createWorker({ logLevel: 'error', workerBin: await realWorker() })
  const load = fork(join(import.meta.dirname, 'support/rtp-senders.ts'), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  try {
    const { port } = (await ask(load, { listen: true })) as { port: number }
    const router = await worker.createRouter({ mediaCodecs: [opus] })
    const openTransport = async () => {
      const transport = await router.createPlainTransport({
        listenInfo: { protocol: 'udp', ip: address },
        enableSrtp: srtp,
      })
      await transport.connect({ ip: address, port, ...(srtp ? { srtpParameters } : {}) })
      return transport
    }
    const sources = await Promise.all(Array.from({ length: speakers }, openTransport))
    const producers = await Promise.all(
      sources.map((source, i) =>
        source.produce({
          kind: 'audio',
          rtpParameters: {
            codecs: [{ mimeType: 'audio/opus', clockRate: 48000, channels: 2, payloadType: 100 }],
            encodings: [{ ssrc: 1000 + i }],
          },
        }),
      ),
    )
    for (let i = 0; i < count; i++) {
      const transport = await openTransport()
      for (const { id } of producers) {
        await transport.consume({ producerId: id, rtpCapabilities: router.rtpCapabilities })
      }
    }
    const ports = sources.map(source => source.tuple.localPort)
    const key = srtp ? { srtpKey: srtpParameters.keyBase64 } : {}
    const before = cpuSeconds(worker.pid)
    const { sent, received } = (await ask(load, { send: { ports, seconds, ...key } })) as Exclude<
      SendersAnswer,
      { port: number }
    >
    const used = cpuSeconds(worker.pid) - before
    const passed = sent * count
    const row = [count, srtp ? 'SRTP' : 'none', Math.round(passed / seconds), `${Math.round((used / seconds) * 100)} %`]
    return `| ${[...row, Math.round(passed / used), `${((received / passed) * 100).toFixed(1)} %`].join(' | ')} |`
  } finally {
    load.disconnect()
    worker.close()
  }
}

function ask(load: ChildProcess, question: SendersAsk): Promise<SendersAnswer> {
  return new Promise(done => {
    load.once('message', answer => done(answer as SendersAnswer))
    load.send(question)
  })
}

/** Light participants of our own: whole signalling, one audio line, and for browsers a transport that nobody connects to. */
async function memory(user: string, browser: boolean): Promise<string> {
  const [port] = (await freePorts(1)) as [number]
  const server = await startVaartha({ settings: { VAARTHA_MEDIA_PORT: String(port) } })
  const all: Member[] = []
  const join = async () => {
    const member = await openMember({ server, user, password, browser })
    all.push(member)
    const { status } = await member.call('room')
    if (status !== 200) throw new Error(`the room answers ${status}`)
  }
  const password = await server.addUser(user)
  try {
    await server.cli('group', 'add', 'room', '--ring', 'nobody')
    // The first ones bring the audio thread and the worker with them.
    for (let i = 0; i < 3; i++) await join()
    const before = await settledBytes(server.pid)
    for (let i = 0; i < members; i++) await join()
    const after = await settledBytes(server.pid)
    return `| ${browser ? 'browser (WebRTC, one audio line)' : 'phone (RTP)'} | ${members} | ${Math.round((after - before) / members / 1024)} |`
  } finally {
    await Promise.all(all.map(member => member.close()))
    await server.close()
  }
}

/** Memory when it has stopped changing for a moment. */
async function settledBytes(pid: number): Promise<number> {
  await new Promise(done => setTimeout(done, 2000))
  return residentBytes(pid)
}
