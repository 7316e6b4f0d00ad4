import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { createJitterBuffer, type Due, type Timed } from '../../../src/media/mix/jitter.ts'

interface Sent extends Timed {
  /** When it was sent, in ms. */
  at: number
}

interface Run {
  /** What was played, tick by tick. */
  played: Due<Sent>[][]
  /** Time from sending to playing of each packet that was played, by its sequence number. */
  delays: Map<number, number>
  count(kind: Due<Sent>['kind'], from?: number): number
}

/**
 * Sends a packet every `ptime` of the sender's clock through a network that delays or loses each, and pulls every 20 ms.
 * `steer` shifts as the mixer does in quiet.
 */
function run(options: {
  seconds: number
  ptime?: number
  network?: (n: number) => number | undefined
  /** The sender's clock, in ppm faster than ours. */
  drift?: number
  /** Sequence and timestamp of packet n. */
  number?: (n: number) => { sequence: number; timestamp: number }
  /** Sending stops in these ms. */
  pause?: [from: number, to: number]
  steer?: boolean
}): Run & { buffer: ReturnType<typeof createJitterBuffer<Sent>> } {
  const { ptime = 20, network = () => 0, drift = 0, steer = false } = options
  const samples = ptime * 8
  const number = options.number ?? (n => ({ sequence: n & 0xffff, timestamp: (n * samples) >>> 0 }))
  const buffer = createJitterBuffer<Sent>(8000)
  const arrivals: { at: number; packet: Sent }[] = []
  for (let n = 0; ; n++) {
    const at = (n * ptime) / (1 + drift / 1e6)
    if (at > options.seconds * 1000) break
    if (options.pause && at >= options.pause[0] && at < options.pause[1]) continue
    const delay = network(n)
    if (delay !== undefined) arrivals.push({ at: at + delay, packet: { ...number(n), samples, at } })
  }
  arrivals.sort((a, b) => a.at - b.at)
  const played: Due<Sent>[][] = []
  const delays = new Map<number, number>()
  let came = 0
  for (let now = 7; now < options.seconds * 1000; now += 20) {
    while (came < arrivals.length && arrivals[came]!.at <= now) {
      const { at, packet } = arrivals[came++]!
      buffer.put(packet, at)
    }
    const off = buffer.surplus()
    const shift = !steer || Math.abs(off) < 8 ? 0 : off > 0 ? 5 : -5
    const tick = [...buffer.pull(20 + shift)]
    for (const due of tick) if (due.kind === 'packet') delays.set(due.packet.sequence, now - due.packet.at)
    played.push(tick)
  }
  const count = (kind: string, from = 0) =>
    played.slice(from).reduce((sum, tick) => sum + tick.filter(due => due.kind === kind).length, 0)
  return { played, delays, count, buffer }
}

/** A repeatable random number from 0 to 1 for packet n. */
const chance = (n: number) => (Math.imul(n + 1, 2_654_435_761) >>> 8) / 2 ** 24
const last = (delays: Map<number, number>, count: number) => Array.from(delays.values()).slice(-count)

describe('jitter buffer', () => {
  it('plays a perfect stream whole and soon', () => {
    const { count, delays } = run({ seconds: 5 })
    assert.ok(count('packet') >= 246)
    assert.equal(count('lost'), 0)
    assert.ok(Math.max(...delays.values()) <= 40, `${Math.max(...delays.values())} ms`)
  })

  for (const ptime of [10, 20, 30, 40, 60]) {
    it(`takes packets of ${ptime} ms`, () => {
      const { count, played } = run({ seconds: 6, ptime })
      assert.equal(count('lost'), 0)
      assert.ok(count('packet') >= 6000 / ptime - 4)
      assert.equal(count('pause', 10), 0)
      const total = played.flat().reduce((sum, due) => sum + due.samples, 0)
      assert.ok(Math.abs(total - played.length * 160) <= ptime * 8)
    })
  }

  it('puts packets in order and drops what came twice', () => {
    const { buffer, played } = run({ seconds: 4, network: n => (n % 5 === 3 ? 25 : 0) })
    const order = played.flat().flatMap(due => (due.kind === 'packet' ? [due.packet.sequence] : []))
    assert.deepEqual(
      order,
      [...order].sort((a, b) => a - b),
    )
    assert.ok(order.length > 190)
    const twice = createJitterBuffer<Timed>(8000)
    for (let n = 0; n < 3; n++)
      for (let k = 0; k < 2; k++) twice.put({ sequence: n, timestamp: n * 160, samples: 160 }, n)
    const kinds = Array.from({ length: 6 }, () => twice.pull(20).map(due => due.kind)).flat()
    assert.equal(kinds.filter(kind => kind === 'packet').length, 3)
    assert.equal(buffer.stats.lost, 0)
  })

  it('tells a loss once, and what is behind it', () => {
    const { played, buffer, count } = run({ seconds: 4, network: n => (n % 10 === 5 ? undefined : 0) })
    const losses = played.flat().filter(due => due.kind === 'lost')
    assert.ok(Math.abs(losses.length - 20) <= 1, `${losses.length}`)
    assert.ok(Math.abs(buffer.stats.lost - 20) <= 1)
    assert.equal(count('pause', 5), 0)
    // A loss is only known as one once something behind it has come, which FEC can then use.
    for (const loss of losses.slice(3))
      assert.equal(loss.kind === 'lost' && (loss.next === undefined || loss.next.sequence % 10 === 6), true)
  })

  it('waits as long as the network needs, and no longer than that', () => {
    const jittery = run({ seconds: 60, network: n => chance(n) * 80, steer: true })
    assert.ok(jittery.count('lost', 500) < 2500 * 0.05, `${jittery.count('lost', 500)} losses of 2500`)
    const { delayMs } = jittery.buffer.stats
    assert.ok(delayMs > 50 && delayMs < 110, `${delayMs}`)
    const calmed = run({ seconds: 60, network: n => (n < 1000 ? chance(n) * 80 : 0), steer: true })
    assert.ok(Math.max(...last(calmed.delays, 50)) <= 45, `${Math.max(...last(calmed.delays, 50))} ms after the storm`)
  })

  it('gains time in a storm though nobody ever pauses', () => {
    const { count } = run({ seconds: 20, network: n => chance(n) * 80 })
    assert.ok(count('lost', 150) < 850 * 0.06, `${count('lost', 150)} losses of 850`)
  })

  it('never waits more than 200 ms, however bad it is', () => {
    const { buffer } = run({ seconds: 40, network: n => chance(n) * 600, steer: true })
    const wished = buffer.stats.delayMs - buffer.surplus()
    assert.ok(wished > 150 && wished <= 200, `${wished}`)
  })

  it('follows a clock that is fast or slow without end', () => {
    for (const drift of [-300, 300]) {
      const { delays, count } = run({ seconds: 300, drift, steer: true })
      assert.ok(Math.max(...last(delays, 3000)) <= 50, `${drift} ppm: ${Math.max(...last(delays, 3000))} ms`)
      // 300 ppm are 90 ms in five minutes: no more than that is made up or left out.
      assert.ok(count('lost') <= 8, `${drift} ppm: ${count('lost')} gaps`)
    }
  })

  it('takes a pause of the sender for silence, and begins anew without delay', () => {
    const { played, delays, buffer } = run({ seconds: 10, pause: [3000, 7000] })
    const inPause = played.slice(160, 345).flat()
    assert.ok(inPause.every(due => due.kind === 'pause'))
    assert.ok(Math.max(...last(delays, 50)) <= 45)
    assert.ok(buffer.stats.lost <= 50)
    // The same with sequence numbers that go on, which is how DTX is sent.
    const dtx = run({
      seconds: 10,
      pause: [3000, 7000],
      number: n => ({ sequence: n < 150 ? n : n - 200, timestamp: n * 160 }),
    })
    assert.equal(dtx.buffer.stats.lost, 0)
    assert.ok(Math.max(...last(dtx.delays, 50)) <= 45)
  })

  it('resumes after twelve minutes on hold, whether the timestamps stood still, ran on or jumped', () => {
    const numbers = {
      'ran on': (n: number) => n * 160,
      'stood still': (n: number) => (n < 100 ? n : n - 36_000) * 160,
      jumped: (n: number) => (n < 100 ? n * 160 : 3_000_000_000 + n * 160) >>> 0,
      'jumped back': (n: number) => (n < 100 ? 4_000_000_000 + n * 160 : n * 160) >>> 0,
    }
    for (const [name, timestamp] of Object.entries(numbers)) {
      const number = (n: number) => ({ sequence: (n < 100 ? n : n - 36_000) & 0xffff, timestamp: timestamp(n) })
      const { delays, played, count, buffer } = run({ seconds: 730, pause: [2000, 722_000], number, steer: true })
      assert.ok(Math.max(...last(delays, 50)) <= 60, `${name}: ${Math.max(...last(delays, 50))} ms`)
      const resumed = played
        .slice(36_103)
        .flat()
        .filter(due => due.kind === 'packet')
      assert.ok(resumed.length >= 392, `${name}: ${resumed.length} packets`)
      assert.equal(count('lost', 36_103), 0, name)
      assert.ok(buffer.stats.delayMs < 60, `${name}: ${buffer.stats.delayMs} ms`)
    }
  })

  it('bears a sender that stands still for a moment, its clock too', () => {
    // 40 ms every two seconds, as a phone whose system is busy.
    const still = (n: number) => Math.floor(n / 100) * 40
    const { count, delays } = run({ seconds: 30, network: still, steer: true })
    assert.ok(count('packet', 100) >= 1330, `${count('packet', 100)}`)
    assert.ok(count('lost', 100) <= 60, `${count('lost', 100)} gaps`)
    assert.ok(Math.max(...Array.from(delays, ([n, delay]) => delay - still(n))) <= 120)
  })

  it('finds a stream that has leapt though every second packet is lost', () => {
    const number = (n: number) => ({ sequence: n, timestamp: n < 100 ? n * 160 : 900_000_000 + n * 160 })
    const { played } = run({ seconds: 4, number, network: n => (n > 100 && n % 2 ? undefined : 0) })
    const after = played.slice(110).flat()
    assert.ok(after.filter(due => due.kind === 'packet').length >= 40)
  })

  it('goes on where sequence numbers and timestamps wrap', () => {
    const number = (n: number) => ({ sequence: (65_500 + n) & 0xffff, timestamp: (4_294_960_000 + n * 160) >>> 0 })
    const { count } = run({ seconds: 5, number })
    assert.equal(count('lost'), 0)
    assert.ok(count('packet') >= 246)
  })

  it('is not led astray by one packet from nowhere', () => {
    const number = (n: number) =>
      n === 50 ? { sequence: 9999, timestamp: 123_456_789 } : { sequence: n, timestamp: n * 160 }
    const { count, delays } = run({ seconds: 4, number })
    assert.ok(count('packet') >= 196)
    assert.ok(count('lost') + count('pause', 5) <= 2)
    assert.ok(Math.max(...last(delays, 50)) <= 60)
  })

  it('keeps a bounded number of packets', () => {
    const buffer = createJitterBuffer<Timed>(8000)
    for (let n = 0; n < 10_000; n++) buffer.put({ sequence: n & 0xffff, timestamp: n * 8, samples: 8 }, n / 100)
    let packets = 0
    for (let n = 0; n < 500; n++) packets += buffer.pull(20).filter(due => due.kind === 'packet').length
    assert.ok(packets <= 64, `${packets}`)
  })

  it('gives exactly the time that is asked for, whatever comes', () => {
    const packet = fc.record({
      sequence: fc.oneof(fc.nat(300), fc.nat(65_535)),
      timestamp: fc.oneof(fc.nat(48_000), fc.nat(0xffffffff)),
      samples: fc.constantFrom(0, 1, 80, 160, 480, 960),
      gap: fc.constantFrom(0, 5, 20, 20, 20, 300, 20_000),
      ms: fc.constantFrom(15, 20, 20, 20, 25),
    })
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 120 }), packets => {
        const buffer = createJitterBuffer<Timed>(8000)
        let [now, asked, given] = [0, 0, 0]
        for (const { gap, ms, ...rest } of packets) {
          now += gap
          buffer.put(rest, now)
          asked += ms * 8
          for (const due of buffer.pull(ms)) {
            assert.ok(due.samples > 0)
            given += due.samples
          }
          assert.ok(given >= asked && given <= asked + 960, `${given} of ${asked}`)
          assert.ok(Number.isFinite(buffer.surplus()))
        }
      }),
      { numRuns: 150 },
    )
  })

  it('makes silence of nothing', () => {
    const buffer = createJitterBuffer<Timed>(8000)
    assert.deepEqual(buffer.pull(20), [{ kind: 'pause', samples: 160 }])
    buffer.put({ sequence: 1, timestamp: 1, samples: 0 }, 0)
    assert.deepEqual(buffer.pull(20), [{ kind: 'pause', samples: 160 }])
  })
})
