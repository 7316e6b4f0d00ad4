import type { AudioCodec } from '../../src/media/audio/audio.ts'
import { type Codecs, loadCodecs, type MixRate } from '../../src/media/codec/codec.ts'
import { createMixer } from '../../src/media/mix/mixer.ts'
import { payloadTypes } from '../support/mix-party.ts'

// CPU seconds of the mixer per minute of a meeting: N members, three of whom speak all the time and the rest send
// silence, as phones do. Sockets, RTP and SRTP are not in it. Then what each coder costs per frame.

/** Ticks that are measured; a minute has 3000. */
const FRAMES = 1000
const LOOP = 250

/** Five seconds that an encoder takes for a voice: harmonics that glide, in syllables. */
function voice(rate: number, pitch: number): Int16Array {
  let phase = 0
  return Int16Array.from({ length: 5 * rate }, (_, i) => {
    const t = i / rate
    phase += (2 * Math.PI * (pitch + 20 * Math.sin(2 * Math.PI * 0.7 * t))) / rate
    let sound = 0
    for (let h = 1; h <= 12; h++) sound += Math.sin(h * phase) / h
    return 4000 * sound * Math.max(0.05, Math.sin(2 * Math.PI * 2.5 * t)) ** 0.5
  })
}

const settle = () => new Promise(resolve => setImmediate(resolve))

async function recorded(codecs: Codecs, codec: AudioCodec, rate: MixRate, pitch: number): Promise<Uint8Array[]> {
  await settle()
  const encoder = codecs.encoder(codec, rate)
  const frame = rate / 50
  const pcm = pitch === 0 ? new Int16Array(5 * rate) : voice(rate, pitch)
  const payloads = Array.from({ length: LOOP }, (_, i) =>
    Uint8Array.from(encoder.encode(pcm.subarray(i * frame, (i + 1) * frame))!),
  )
  encoder.free()
  return payloads
}

/** CPU seconds for a minute of a meeting; `levels`: packets bring their level (RFC 6464), as trunks' do. */
async function meeting(
  codecs: Codecs,
  codec: AudioCodec,
  rate: MixRate,
  members: number,
  levels: boolean,
): Promise<number> {
  let now = 0
  let sent = 0
  const mixer = createMixer({ codecs, speakers: 3, now: () => now, onEvent: () => {}, rate })
  const payloads = await Promise.all([0, 110, 150, 200].map(pitch => recorded(codecs, codec, rate, pitch)))
  for (let i = 0; i < members; i++) {
    mixer.add(`m${i}`, { codec: payloadTypes[codec], send: () => sent++ })
    await settle()
  }
  const step = payloadTypes[codec].clockRate / 50
  async function run(from: number, to: number): Promise<number> {
    const before = process.cpuUsage()
    for (let n = from; n < to; n++) {
      now += 20
      for (let i = 0; i < members; i++) {
        const speaks = i < 3
        mixer.receive(`m${i}`, {
          ...{ sequence: n & 0xffff, timestamp: n * step, marker: false, codec: payloadTypes[codec] },
          payload: payloads[speaks ? i + 1 : 0]![n % LOOP]!,
          level: levels ? (speaks ? 20 : 127) : undefined,
        })
      }
      mixer.tick()
      if (n % 50 === 0) await settle()
    }
    const { user, system } = process.cpuUsage(before)
    return ((user + system) / 1e6) * (3000 / (to - from))
  }
  await run(0, 500)
  const seconds = await run(500, 500 + FRAMES)
  await mixer.close()
  if (sent < members * FRAMES) throw new Error(`only ${sent} packets were sent`)
  return seconds
}

const sizes = [5, 10, 25, 50]
const say = (line: string) => process.stdout.write(`${line}\n`)
const codecs = await loadCodecs()

for (const rate of [8000, 16_000, 48_000] as const) {
  for (const codec of ['PCMU', 'G722', 'opus'] as const) {
    if (rate < { PCMU: 8000, G722: 16_000, opus: 16_000 }[codec]) continue
    for (const levels of codec === 'opus' ? [false, true] : [false]) {
      const costs: number[] = []
      for (const members of sizes) costs.push(await meeting(codecs, codec, rate, members, levels))
      const slope = ((costs.at(-1)! - costs[0]!) / 45 / 3000) * 1e6
      const each = sizes.map((size, i) => `N=${size} ${costs[i]!.toFixed(2)} s`).join(', ')
      say(
        `${codec}${levels ? ' with levels' : ''}, mixed at ${rate} Hz: ${each}; ${slope.toFixed(1)} µs per listener and packet`,
      )
    }
  }
}

for (const rate of [8000, 16_000, 48_000] as const) {
  for (const codec of ['PCMU', 'G722', 'opus'] as const) {
    if (rate === 8000 && codec !== 'PCMU') continue
    await settle()
    const [encoder, decoder, meter] = [codecs.encoder(codec, rate), codecs.decoder(codec, rate), codecs.meter(codec)]
    const payloads = await recorded(codecs, codec, rate, 150)
    const pcm = voice(rate, 150)
    const cost = (work: (n: number) => unknown): string => {
      for (let n = 0; n < 500; n++) work(n % LOOP)
      const before = process.cpuUsage()
      for (let n = 0; n < 2000; n++) work(n % LOOP)
      const { user, system } = process.cpuUsage(before)
      return ((user + system) / 2000).toFixed(1)
    }
    const encode = cost(n => encoder.encode(pcm.subarray((n * rate) / 50, ((n + 1) * rate) / 50)))
    const decode = cost(n => decoder.decode(payloads[n]!))
    const level = cost(n => meter.level(payloads[n]!))
    say(`${codec} at ${rate} Hz, CPU µs a frame: encode ${encode}, decode ${decode}, level alone ${level}`)
  }
}
codecs.free()
