import type { TestContext } from 'node:test'
import type { AudioEvent } from '../../src/media/audio/audio.ts'
import { type AudioHost, createAudioHost } from '../../src/media/audio/host.ts'
import type { PortRange } from '../../src/media/audio/sockets.ts'
import { createRtpPhone, type RtpPhone, type RtpPhoneOptions } from './rtp-phone.ts'

// The audio engine without its thread, on a clock that the test may put forward.

export interface TestHost {
  host: AudioHost
  events: AudioEvent[]
  /** Resolves when the host has taken so many datagrams, or dropped so many. */
  counted(which: 'in' | 'dropped', number: number): Promise<void>
  /** Puts the clock forward. */
  advance(ms: number): void
  /** A phone with a port that expects it. */
  phone(
    options?: RtpPhoneOptions,
    change?: Parameters<RtpPhone['remote']>[0],
  ): Promise<{ phone: RtpPhone; end: string }>
}

export function startAudioHost(t: TestContext, options: { silentMs?: number; rtpPorts?: PortRange } = {}): TestHost {
  const events: AudioEvent[] = []
  let ahead = 0
  const host = createAudioHost({
    rtpPorts: options.rtpPorts ?? { first: 20_000, last: 29_999 },
    trunkPorts: { first: 30_000, last: 31_999 },
    silentMs: options.silentMs,
    lookMs: 10,
    now: () => performance.now() + ahead,
    emit: event => events.push(event),
    async loadMixery() {
      const [{ createMixer }, { loadCodecs }] = await Promise.all([
        import('../../src/media/mix/mixer.ts'),
        import('../../src/media/codec/codec.ts'),
      ])
      return { createMixer, codecs: await loadCodecs() }
    },
    cpuSeconds: () => 0,
  })
  const phones: RtpPhone[] = []
  t.after(async () => {
    for (const phone of phones) phone.close()
    await host.close()
  })
  return {
    host,
    events,
    async counted(which, number) {
      while ((await host.stats()).packets[which] < number) await new Promise(setImmediate)
    },
    advance: ms => {
      ahead += ms
    },
    async phone(wish = {}, change = {}) {
      const phone = await createRtpPhone(wish)
      phones.push(phone)
      const { end, rtpPort, rtcpPort } = await host.openPort('127.0.0.1')
      phone.aim({ rtpPort, rtcpPort })
      await host.setPort(end, phone.remote(change))
      return { phone, end }
    },
  }
}
