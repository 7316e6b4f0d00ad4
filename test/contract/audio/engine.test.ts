import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { createSilentLog } from '../../../src/log.ts'
import type { AudioEvent } from '../../../src/media/audio/audio.ts'
import { createAudioEngine } from '../../../src/media/audio/engine.ts'
import { createRtpPhone, type RtpPhone } from '../../support/rtp-phone.ts'

const config = { rtpPorts: '34000-34999', trunkPorts: '35000-35999' }

function startEngine(t: TestContext) {
  const engine = createAudioEngine({ config, log: createSilentLog() })
  const events: AudioEvent[] = []
  engine.on(event => events.push(event))
  t.after(() => engine.close())
  return { engine, events }
}

test('the thread carries two phones, counts its work, and leaves nothing behind', async t => {
  const { engine, events } = startEngine(t)
  assert.equal((await engine.stats()).cpuSeconds, 0)
  const phones = [await createRtpPhone({ tone: 300 }), await createRtpPhone({ tone: 900 })]
  const ends: string[] = []
  for (const phone of phones) {
    const { end, ...ports } = await engine.openPort('127.0.0.1')
    phone.aim(ports)
    await engine.setPort(end, phone.remote())
    ends.push(end)
  }
  await engine.link(ends[0]!, ends[1]!)
  await Promise.all(phones.map(phone => phone.talk(10)))
  await Promise.all(phones.map(phone => phone.until(() => phone.sounds().length === 10)))
  assert.ok(phones[0]!.share(900) > 0.9)
  const stats = await engine.stats()
  assert.deepEqual([stats.ports, stats.packets.in, stats.packets.out], [2, 20, 20])
  assert.ok(stats.cpuSeconds > 0 && stats.cpuSeconds < 5)
  assert.equal(stats.perEnd[ends[0]!]!.packetsIn, 10)
  assert.equal(events.filter(event => event.type === 'media').length, 2)
  for (const phone of phones) phone.close()
  await engine.close()
  assert.ok(!process.getActiveResourcesInfo().includes('MessagePort'))
})

test('what is not there is refused in the words of the list', async t => {
  const { engine } = startEngine(t)
  await assert.rejects(engine.link('e1', 'e2'), { name: 'Refusal', code: 'not-found' })
  await engine.closeEnd('e1')
  assert.throws(() => createAudioEngine({ config: { ...config, rtpPorts: '9-8' }, log: createSilentLog() }), {
    code: 'bad-config',
  })
  await engine.close()
  await assert.rejects(engine.openPort('127.0.0.1'), { code: 'media-unavailable' })
})

test('when the thread dies its owner is told, who waits is told, and the next call has a new one', async t => {
  const { engine, events } = startEngine(t)
  const started = once(process, 'worker')
  const first = await engine.openPort('127.0.0.1')
  const [worker] = (await started) as [Worker]
  // An address that is no text is a bug of the caller's, and the only way to hurt the thread from here.
  await assert.rejects(engine.openPort(5 as never))
  const died = new Promise<void>(resolve => {
    engine.on(event => event.type === 'died' && resolve())
  })
  const ended = once(worker, 'exit')
  // It has the codecs to load before it can answer.
  const waiting = engine.openMix({ speakers: 3 })
  void worker.terminate()
  await assert.rejects(waiting, /audio thread ended/)
  await Promise.all([died, ended])
  assert.equal(events.at(-1)!.type, 'died')
  const second = await engine.openPort('127.0.0.1')
  assert.ok(second.end && first.end)
})

test('the thread mixes for a meeting, passes a call on meanwhile, and goes on when one of the two ends', async t => {
  const { engine } = startEngine(t)
  const enter = async (tone: number) => {
    const phone = await createRtpPhone({ tone })
    t.after(() => phone.close())
    const { end, ...ports } = await engine.openPort('127.0.0.1')
    phone.aim(ports)
    await engine.setPort(end, phone.remote())
    return { phone, end }
  }
  const mix = await engine.openMix({ speakers: 3 })
  const members = [await enter(300), await enter(900)]
  for (const { end } of members) await engine.join(end, mix, {})
  const hears = async (one: { phone: RtpPhone }, other: { phone: RtpPhone }, tone: number) => {
    for (one.phone.heard.length = 0; !(one.phone.sounds().length > 10 && one.phone.share(tone) > 0.8); ) {
      if (one.phone.heard.length > 100) one.phone.heard.length = 0
      await other.phone.talk(20, { everyMs: 20 })
    }
  }
  // Nobody else is there, and the thread sleeps from beat to beat.
  await hears(members[0]!, members[1]!, 900)
  const call = [await enter(500), await enter(1500)]
  await engine.link(call[0]!.end, call[1]!.end)
  await Promise.all([hears(members[1]!, members[0]!, 300), hears(call[0]!, call[1]!, 1500)])
  await Promise.all(call.map(({ end }) => engine.closeEnd(end)))
  await hears(members[0]!, members[1]!, 900)
  await engine.closeMix(mix)
  await engine.link(members[0]!.end, members[1]!.end)
  await hears(members[1]!, members[0]!, 300)
})
