import { randomBytes, randomInt } from 'node:crypto'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { AudioCodec, AudioEngine, AudioEvent } from './audio/audio.ts'
import type { FreeSwitch } from './freeswitch.ts'
import type { FarEnd } from './freeswitch-call.ts'
import type { Mix, Mixer, MixMember, MixWish } from './mixer.ts'
import { embeddedMix, unlinked } from './mixer-embedded.ts'
import { parse } from './sdp/description.ts'
import { agree, offerPlain, readPlain, writePlain } from './sdp/plain.ts'

export interface FreeSwitchMixerDeps {
  audio: AudioEngine
  freeswitch: FreeSwitch
  /** Takes who speaks, as the audio thread tells it of its own mixes. */
  emit: (event: AudioEvent) => void
  events: Events
  log: Logger
}

/**
 * Mixes meetings in a FreeSWITCH: a conference for each, in which each member is a call from a port of ours that is linked
 * to the member's end. When the FreeSWITCH goes, or drops a call, the meeting goes on in the audio thread.
 */
export function createFreeSwitchMixer(deps: FreeSwitchMixerDeps): Mixer {
  return {
    local: false,
    state: () => deps.freeswitch.state(),
    async open(wish) {
      const { on, why } = deps.freeswitch.state()
      if (!on) throw new Refusal('media-unavailable', `Meetings are mixed by a FreeSWITCH, and ${why}`)
      return new FarMix(deps, wish)
    },
  }
}

/** A port of ours and the call from it. */
interface Bridge {
  port: string
  far: FarEnd
}

class FarMix implements Mix {
  readonly #deps: FreeSwitchMixerDeps
  readonly #wish: MixWish
  readonly #name = `vaartha-${randomBytes(6).toString('hex')}`
  readonly #members = new Map<string, { as: MixMember; bridge: Bridge }>()
  #tap: { mix: string; bridge: Bridge | undefined } | undefined
  /** The mix in the audio thread, once the FreeSWITCH has failed us. */
  #here: Mix | undefined
  #closed = false
  #last: Promise<unknown> = Promise.resolve()

  constructor(deps: FreeSwitchMixerDeps, wish: MixWish) {
    this.#deps = deps
    this.#wish = wish
  }

  get id(): string {
    return this.#here?.id ?? this.#name
  }

  get local(): boolean {
    return this.#here !== undefined
  }

  add(end: string, as: MixMember): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#here !== undefined) return this.#here.add(end, as)
      const member = this.#members.get(end)
      if (member !== undefined) {
        const { muted } = member.as
        member.as = as
        if (muted !== as.muted) await this.#muteThere(member.bridge, as.muted)
        return
      }
      const { audio } = this.#deps
      try {
        const bridge = await this.#bridge(as, end)
        this.#members.set(end, { as, bridge })
        // Muted is what the FreeSWITCH does: it ends calls that it hears nothing of for long.
        await audio.mute(end, false)
        await audio.link(end, bridge.port)
      } catch (error) {
        if (this.#members.size === 0) throw error
        await this.#move((error as Error).message)
        await this.#here!.add(end, as)
      }
    })
  }

  mute(end: string, muted: boolean): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#here !== undefined) return this.#here.mute(end, muted)
      const member = this.#members.get(end)
      if (member === undefined) return
      member.as = { ...member.as, muted }
      await this.#muteThere(member.bridge, muted)
    })
  }

  remove(end: string): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#here !== undefined) return this.#here.remove(end)
      const member = this.#members.get(end)
      if (member === undefined) return
      this.#members.delete(end)
      await unlinked(this.#deps.audio, end)
      await this.#unbridge(member.bridge)
    })
  }

  /** One more member of the conference, which only listens, and is all that its mix here hears. */
  tap(): Promise<string> {
    return this.#inTurn(async () => {
      if (this.#here !== undefined) return this.#here.id
      if (this.#tap !== undefined) return this.#tap.mix
      const { audio } = this.#deps
      const bridge = await this.#bridge({ muted: true, slots: false, codec: 'opus' })
      const mix = await audio.openMix({ speakers: this.#wish.speakers })
      this.#tap = { mix, bridge }
      await audio.join(bridge.port, mix, {})
      return mix
    })
  }

  untap(): Promise<void> {
    return this.#inTurn(async () => {
      const tap = this.#tap
      if (tap === undefined || this.#here !== undefined) return
      this.#tap = undefined
      if (tap.bridge !== undefined) await this.#unbridge(tap.bridge)
      await this.#deps.audio.closeMix(tap.mix)
    })
  }

  close(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#closed) return
      this.#closed = true
      const { audio } = this.#deps
      for (const end of this.#members.keys()) await unlinked(audio, end)
      await this.#leave()
      await this.#here?.close()
      if (this.#tap !== undefined) await audio.closeMix(this.#tap.mix)
    })
  }

  /** Who is to be muted must be, also where the FreeSWITCH does not obey. */
  async #muteThere({ far }: Bridge, muted: boolean): Promise<void> {
    await far.mute(muted).catch(error => this.#move((error as Error).message))
  }

  async #bridge(as: MixMember, end?: string): Promise<Bridge> {
    const { audio, freeswitch, emit, log } = this.#deps
    const address = freeswitch.address()
    const { end: port, rtpPort, rtcpPort } = await audio.openPort(address)
    let far: FarEnd | undefined
    try {
      // Without telephone-event: keys are for us, and would be orders to the FreeSWITCH's conference.
      const ours = { ...offerPlain({ address, rtpPort, rtcpPort, ...offered(as.codec) }), dtmf: [] }
      far = await freeswitch.call(writePlain(ours), why => this.#lost(why))
      await audio.setPort(port, agree(ours, readPlain(parse(far.sdp))))
      const onSpeaking = (on: boolean) => {
        if (end === undefined || this.#here !== undefined) return
        emit({ type: 'speaking', end, on })
        if (on) emit({ type: 'speaker', mix: this.#name, end })
      }
      await far.join(this.#name, { muted: as.muted, onSpeaking })
      return { port, far }
    } catch (error) {
      log.warn({ err: error, conference: this.#name }, 'FreeSWITCH did not take a member')
      await audio.closeEnd(port)
      await far?.hangUp()
      if (error instanceof Refusal) throw error
      throw new Refusal('media-unavailable', `FreeSWITCH: ${(error as Error).message}`, { cause: error })
    }
  }

  async #unbridge({ port, far }: Bridge): Promise<void> {
    await this.#deps.audio.closeEnd(port)
    await far.hangUp()
  }

  #lost(why: string): void {
    this.#inTurn(() => this.#move(why)).catch(error =>
      this.#deps.log.error({ err: error, conference: this.#name }, 'a meeting could not be moved'),
    )
  }

  /** Everybody goes on in the audio thread; a recording goes on too, for it is made there already. */
  async #move(why: string): Promise<void> {
    if (this.#closed || this.#here !== undefined) return
    const { audio, events, log } = this.#deps
    const { speakers, onMoved } = this.#wish
    const here = embeddedMix(audio, this.#tap?.mix ?? (await audio.openMix({ speakers })))
    this.#here = here
    const members = this.#members.size
    // One that has just ended is none to move.
    const moves = [...this.#members].map(([end, { as }]) => here.add(end, { ...as, slots: false }))
    const failed = (await Promise.allSettled(moves)).filter(move => move.status === 'rejected')
    log.warn({ conference: this.#name, members, failed: failed.length, why }, 'a meeting goes on without FreeSWITCH')
    events.emit('meetingMoved', { members, why })
    onMoved?.()
    void this.#leave().catch(error => log.warn({ err: error }, 'a call to FreeSWITCH could not be ended'))
  }

  /** Ends all calls to the FreeSWITCH. */
  async #leave(): Promise<void> {
    const bridges = [...this.#members.values(), this.#tap].flatMap(one => one?.bridge ?? [])
    this.#members.clear()
    if (this.#tap !== undefined) this.#tap.bridge = undefined
    await Promise.all(bridges.map(bridge => this.#unbridge(bridge)))
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work, work)
    this.#last = mine.catch(() => undefined)
    return mine
  }
}

/** What the member speaks, so that nothing is decoded on the way; and what every FreeSWITCH can. */
function offered(codec: AudioCodec | undefined) {
  const codecs = codec === undefined || codec === 'PCMU' ? ['PCMU'] : [codec, 'PCMU']
  return { direction: 'sendrecv' as const, codecs, id: String(randomInt(1, 2 ** 47)) }
}
