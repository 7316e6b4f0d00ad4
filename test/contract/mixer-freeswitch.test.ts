import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as dial } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { checkMixer } from '../../src/cli/examine.ts'
import { loadConfig } from '../../src/config/load.ts'
import { createEvents, type Facts } from '../../src/events.ts'
import { createSilentLog } from '../../src/log.ts'
import type { AudioEngine, AudioEvent } from '../../src/media/audio/audio.ts'
import { createAudioEngine } from '../../src/media/audio/engine.ts'
import { createFreeSwitch, type FreeSwitch } from '../../src/media/freeswitch.ts'
import type { FreeSwitchPlace } from '../../src/media/freeswitch-probe.ts'
import type { Mixer } from '../../src/media/mixer.ts'
import { createFreeSwitchMixer } from '../../src/media/mixer-freeswitch.ts'
import { type EngineUnderTest, startEngineUnderTest } from '../support/engine.ts'
import { type FakeFreeSwitch, startFakeFreeSwitch } from '../support/freeswitch.ts'
import { hears, mixerContract, party } from './mixer.contract.ts'

// FREESWITCH_ESL (host:port:secret) names a real FreeSWITCH on this machine, set up as docs/running.md says.
const real = process.env['FREESWITCH_ESL']
const times = { firstMs: 20, mostMs: 100, lookMs: 50, answerMs: 3000 }
const voice = { muted: false, slots: false, codec: 'PCMU' } as const
let sip: EngineUnderTest

interface Bench {
  audio: AudioEngine
  freeswitch: FreeSwitch
  mixer: Mixer
  events: AudioEvent[]
  /** Resolves when its state is so. */
  turns(on: boolean): Promise<void>
  moved: Facts['meetingMoved'][]
  close(): Promise<void>
}

function startBench(place: FreeSwitchPlace, change: Partial<typeof times> = {}): Bench {
  const log = createSilentLog()
  const facts = createEvents()
  const events: AudioEvent[] = []
  const moved: Facts['meetingMoved'][] = []
  facts.on('meetingMoved', fact => moved.push(fact))
  const audio = createAudioEngine({ config: { rtpPorts: '39000-39499', trunkPorts: '39500-39999' }, log })
  const freeswitch = createFreeSwitch({ ...place, srf: sip.srf, events: facts, log, times: { ...times, ...change } })
  const emit = (event: AudioEvent) => void events.push(event)
  const mixer = createFreeSwitchMixer({ audio, freeswitch, emit, events: facts, log })
  return {
    audio,
    freeswitch,
    mixer,
    events,
    moved,
    turns: on =>
      new Promise(resolve => {
        if (freeswitch.state().on === on) return resolve()
        const off = facts.on('mixerChanged', fact => {
          if (fact.on !== on) return
          off()
          resolve()
        })
      }),
    async close() {
      await freeswitch.close()
      await audio.close()
    },
  }
}

before(async () => {
  sip = await startEngineUnderTest({ t1: 100 })
})
after(() => sip.close())

describe(
  real === undefined ? 'mixer in a FAKE FreeSWITCH (FREESWITCH_ESL is not set)' : 'mixer in a REAL FreeSWITCH',
  () => {
    let fake: FakeFreeSwitch | undefined
    let bench: Bench
    before(async () => {
      const [host = '', port = '', secret = ''] = real?.split(':') ?? []
      if (real === undefined) fake = await startFakeFreeSwitch({ sip: sip.udp })
      bench = startBench(fake?.place ?? { host, port: Number(port), secret })
      await bench.turns(true)
    })
    after(async () => {
      await bench.close()
      await fake?.die()
    })

    mixerContract(() => ({ ...bench, left: () => Array.from({ length: fake?.channels() ?? 0 }, () => 'channel') }))
  },
)

describe('a FreeSWITCH that fails', () => {
  const tones = [440, 700]

  it('leaves a meeting to the audio thread, is connected to again, and takes no new one meanwhile', {
    timeout: 20_000,
  }, async t => {
    let fake = await startFakeFreeSwitch({ sip: sip.udp })
    const bench = startBench(fake.place)
    t.after(() => bench.close())
    t.after(() => fake.die())
    await bench.turns(true)
    let moves = 0
    const mix = await bench.mixer.open({ speakers: 3, onMoved: () => moves++ })
    const one = await party(t, bench.audio, 440)
    const two = await party(t, bench.audio, 700)
    await mix.add(one.end, voice)
    await mix.add(two.end, { ...voice, muted: true })
    await hears(two, [440], tones)
    assert.deepEqual([mix.local, fake.channels(), fake.conferences()], [false, 2, 1])
    assert.ok(
      fake.offers.every(offer => !offer.includes('telephone-event')),
      'keys would be orders to the conference',
    )

    const from = two.phone.sounds().length
    await fake.die()
    await bench.turns(false)
    await two.phone.until(() => mix.local && two.phone.sounds().length > from + 15)
    await hears(two, [440], tones)
    await hears(one, [], tones)
    await mix.mute(two.end, false)
    await hears(one, [700], tones)
    assert.equal(moves, 1)
    assert.deepEqual(
      bench.moved.map(fact => fact.members),
      [2],
    )
    await assert.rejects(bench.mixer.open({ speakers: 3 }), { code: 'media-unavailable' })

    fake = await startFakeFreeSwitch({ sip: sip.udp, port: fake.place.port })
    await bench.turns(true)
    assert.equal(mix.local, true)
    await (await bench.mixer.open({ speakers: 3 })).close()
    await mix.close()
    await Promise.all([one.leave(), two.leave()])
    const { ports, mixes } = await bench.audio.stats()
    assert.deepEqual({ ports, mixes }, { ports: 0, mixes: 0 })
  })

  it('loses the meeting of which it ends a call, and no other by strangers', { timeout: 20_000 }, async t => {
    const fake = await startFakeFreeSwitch({ sip: sip.udp })
    const bench = startBench(fake.place)
    t.after(() => bench.close())
    t.after(() => fake.die())
    await bench.turns(true)
    const [one, two, three] = await Promise.all([440, 700, 1100].map(tone => party(t, bench.audio, tone)))
    const mixes = [await bench.mixer.open({ speakers: 3 }), await bench.mixer.open({ speakers: 3 })] as const
    for (const who of [one!, two!]) await mixes[0].add(who.end, voice)
    await mixes[1].add(three!.end, voice)

    const port = Number(fake.callbacks[0]!.split(':')[1])
    for (const localAddress of ['127.0.0.1', '127.0.0.2']) {
      const stranger = dial({ host: '127.0.0.1', port, localAddress })
      stranger.on('error', () => {})
      stranger.write('Content-Type: %\n\n')
      await once(stranger.resume(), 'close')
    }
    fake.kick()
    await two!.phone.until(() => mixes[0].local)
    await Promise.all([hears(one!, [700], tones), hears(two!, [440], tones)])
    assert.deepEqual([mixes[1].local, bench.freeswitch.state().on], [false, true])
    for (const mix of mixes) await mix.close()
  })

  it('is noticed when it hangs', { timeout: 20_000 }, async t => {
    const fake = await startFakeFreeSwitch({ sip: sip.udp })
    t.after(() => fake.die())
    const bench = startBench(fake.place, { answerMs: 200 })
    t.after(() => bench.close())
    await bench.turns(true)
    fake.hang()
    await bench.turns(false)
    assert.equal(bench.freeswitch.state().why, 'the FreeSWITCH does not answer any more')
  })

  it('says in words what is wrong', { timeout: 20_000 }, async t => {
    const fake = await startFakeFreeSwitch({ sip: sip.udp, profile: 'internal' })
    t.after(() => fake.die())
    const why = async (place: FreeSwitchPlace) => {
      const bench = startBench(place)
      await bench.turns(false)
      while (bench.freeswitch.state().why === 'connecting') await new Promise(setImmediate)
      await bench.close()
      return bench.freeswitch.state().why
    }
    const { port } = fake.place
    const { config } = loadConfig({ VAARTHA_MEDIA_MIXER: 'freeswitch', VAARTHA_MEDIA_FREESWITCH_PORT: String(port) })
    const doctor = (secret: string) =>
      checkMixer({ ...config, media: { ...config.media, freeswitch: { ...fake.place, secret } } })
    assert.deepEqual(
      [(await doctor(''))[0]!.text, (await doctor('no'))[0]!.state],
      ['media.freeswitch.secret is empty', 'bad'],
    )
    assert.match(await why(fake.place), /has no running SIP profile drachtio_mrf/)
    assert.match(await why({ ...fake.place, secret: 'ClueCon' }), /refuses the secret/)
    assert.match(await why({ ...fake.place, port: 1 }), /no FreeSWITCH answers at 127\.0\.0\.1:1 \(ECONNREFUSED\)/)
    assert.throws(() => startBench({ host: '127.0.0.1', port, secret: '' }), {
      code: 'bad-config',
      message: /media\.freeswitch\.secret is empty/,
    })
  })
})
