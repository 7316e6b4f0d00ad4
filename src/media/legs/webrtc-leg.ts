import { randomInt } from 'node:crypto'
import type { types } from 'mediasoup'
import { Refusal } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { LegEvent, LegWish, Stream } from '../media.ts'
import { answerTo } from '../sdp/answer.ts'
import { parse } from '../sdp/description.ts'
import { offerNext, readAnswer } from '../sdp/offer.ts'
import type { OurLine, OurSession } from '../sdp/ours.ts'
import { receives, sends } from '../sdp/streams.ts'
import { iceRestarted, readWebRtc, type WebRtcLine, type WebRtcSession } from '../sdp/webrtc.ts'
import { writeWebRtc } from '../sdp/write.ts'
import type { Leg, OfferChange, Scene, Size, Video, Voice } from './leg.ts'
import { answerWishes, offerWishes, sessionAfter, streamsAgreed, takenBy, withSenders } from './lines.ts'
import type { Place } from './place.ts'
import { createPresence, type Presence } from './presence.ts'
import { createTurns } from './turns.ts'
import { WebLine } from './web-line.ts'
import { WebVoice } from './web-voice.ts'
import { openWire, type Wire } from './wire.ts'

export interface WebRtcLegDeps {
  id: string
  place: Place
  log: Logger
  now: () => number
  onEnd: (end: string, open: boolean) => void
  /** Something was agreed that its room must know. */
  onAgreed: () => Promise<void>
  tell: (event: LegEvent) => void
}

interface Agreement {
  ours: OurSession
  theirs: WebRtcSession
  /** By index of our lines. */
  lines: readonly (WebRtcLine | undefined)[]
}

// Changes of what is sent come in groups (a joiner's slots and tiles): one offer tells them all.
const gatherMs = 50

/** The leg of a browser: one WebRtcTransport with all its lines, and a voice in the audio thread. */
export class WebRtcLeg implements Leg, Scene {
  readonly profile = 'webrtc'
  readonly id: string
  readonly log: Logger
  readonly born: number
  readonly tell: (event: LegEvent) => void
  readonly #deps: WebRtcLegDeps
  readonly #inTurn = createTurns()
  readonly #presence: Presence
  readonly #sessionId = String(randomInt(1, 2 ** 47))
  #place: Place
  #wire: Wire | undefined
  #lines = new Map<string, WebLine>()
  #voice: WebVoice
  /** mid of the line that carries its own voice. */
  #voiceMid: string | undefined
  #agreed: Agreement | undefined
  #offered: OurSession | undefined
  #streams: readonly Stream[]
  readonly #after: string | undefined
  /** Pictures that others have for it, and how many it has said it can show. */
  #wanted = 0
  #described: readonly string[] = []
  #asking: NodeJS.Timeout | undefined
  /** The owner was asked to offer, and has not yet. */
  #asked = false
  #closed = false

  constructor(deps: WebRtcLegDeps, wish: Pick<LegWish, 'streams' | 'after'>) {
    this.#deps = deps
    this.id = deps.id
    this.log = deps.log
    this.born = deps.now()
    this.tell = deps.tell
    this.#place = deps.place
    this.#streams = wish.streams ?? [{ kind: 'audio', direction: 'sendrecv', codecs: [] }]
    this.#after = wish.after
    this.#voice = this.#makeVoice()
    this.#presence = createPresence(deps.tell, deps.now)
  }

  get scene(): Scene {
    return this
  }

  get place(): Place {
    return this.#place
  }

  voice(): Voice | undefined {
    return this.#voice.voice()
  }

  streams(): Stream[] {
    return this.#agreed === undefined ? [] : streamsAgreed(this.#agreed.ours)
  }

  videos(): Video[] {
    const sent = this.#all().filter(line => line.ours.kind === 'video' && line.receiving)
    return sent.flatMap(({ producer }) =>
      producer === undefined || producer.closed ? [] : [{ producer, screen: producer.appData['screen'] === true }],
    )
  }

  tiles(): string[] {
    return this.#all()
      .filter(line => line.ours.kind === 'video' && line.sending)
      .map(line => line.mid)
  }

  slots(): OurLine[] {
    return this.#all()
      .filter(line => line.ours.kind === 'audio' && line.sending && line.mid !== this.#voiceMid)
      .map(line => line.ours)
  }

  async show(mid: string, source: types.Producer | undefined, size?: Size): Promise<void> {
    await this.#lines.get(mid)?.show(source, size)
    this.#askIfNeeded()
  }

  async pause(mid: string, paused: boolean): Promise<void> {
    await this.#lines.get(mid)?.pause(paused)
  }

  want(tiles: number): void {
    this.#wanted = tiles
    this.#askIfNeeded()
  }

  offer(change: OfferChange = {}): Promise<string> {
    return this.#inTurn(async () => {
      this.#assertOpen()
      const previous =
        this.#agreed?.ours ??
        (this.#after === undefined ? undefined : sessionAfter(this.#after, this.#place.capabilities, this.#sessionId))
      if (change.streams !== undefined) this.#streams = change.streams
      const wire = await this.#open()
      const missing = this.#missingTiles()
      if (change.restartIce) await wire.transport.restartIce()
      const streams = previous === undefined || previous.version === 0 ? this.#streams : change.streams
      const next = offerNext(previous, {
        transports: [wire.ours()],
        wishes: offerWishes({ previous, streams, tiles: missing, capabilities: this.#place.capabilities }),
        id: this.#sessionId,
      })
      this.#offered = this.#withSenders(next)
      this.#asked = false
      return writeWebRtc(this.#offered)
    })
  }

  answer(sdp: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#assertOpen()
      const ours = this.#offered
      if (ours === undefined) throw new Refusal('not-acceptable-here', 'There is no offer to answer')
      const theirs = readWebRtc(parse(sdp))
      const lines = readAnswer(ours, theirs)
      this.#described = sourcesOf(ours)
      await this.#apply({ ours: takenBy(ours, lines, this.#place.capabilities), theirs, lines })
      this.#presence.began()
      this.#askIfNeeded()
    })
  }

  accept(offer: string, streams?: readonly Stream[]): Promise<string> {
    return this.#inTurn(async () => {
      this.#assertOpen()
      const theirs = readWebRtc(parse(offer))
      const before = this.#agreed
      const [remote] = theirs.transports
      if (remote !== undefined && this.#wire?.isStranger(remote)) this.#cut()
      else if (this.#wire && before && iceRestarted(before.theirs, theirs)) await this.#wire.transport.restartIce()
      const wire = await this.#open()
      const ours = answerTo(theirs, {
        transports: [wire.ours()],
        router: this.#place.capabilities,
        wishes: answerWishes(theirs, streams, this.#place.capabilities),
        previous: before?.ours,
        id: this.#sessionId,
      })
      const lines = theirs.lines.map((line, index) => (ours.lines[index]?.rejected ? undefined : line))
      await this.#apply({ ours, theirs, lines })
      this.#offered = undefined
      const described = this.#withSenders(ours)
      this.#described = sourcesOf(described)
      this.#asked = false
      return writeWebRtc(described)
    })
  }

  /** What carried it has died, or it moves: everything is made anew at `place`, and the owner is asked to offer. */
  async rebuild(place: Place): Promise<void> {
    await this.#inTurn(async () => {
      await this.#drop()
      this.#place = place
      this.#voice = this.#makeVoice()
      if (this.#closed) return
      await this.#open()
      if (this.#agreed !== undefined) await this.#apply(this.#agreed, false)
    })
    if (!this.#closed) this.tell({ type: 'rebuilt' })
  }

  /** The audio thread has died: the voice gets another end, and the browser notices nothing. */
  async revoice(): Promise<void> {
    await this.#inTurn(async () => {
      this.#voice.forget()
      if (!this.#closed && this.#agreed !== undefined) await this.#apply(this.#agreed, false)
    })
  }

  close(): Promise<void> {
    this.#closed = true
    this.#presence.close()
    clearTimeout(this.#asking)
    return this.#inTurn(() => this.#drop())
  }

  async #apply(next: Agreement, connect = true): Promise<void> {
    const before = this.#agreed
    try {
      if (connect) await this.#connect(next)
      await this.#agreeLines(next)
    } catch (error) {
      if (this.#wire?.transport.closed) {
        throw new Refusal('media-unavailable', 'The media worker has died', { cause: error })
      }
      this.log.warn({ err: error }, 'the worker did not take what was negotiated')
      if (before !== undefined && before !== next) await this.#agreeLines(before)
      if (error instanceof Refusal) throw error
      throw new Refusal('not-acceptable-here', 'The media described cannot be carried', { cause: error })
    }
    this.#agreed = next
    await this.#deps.onAgreed()
  }

  async #connect({ theirs }: Agreement): Promise<void> {
    const [remote] = theirs.transports
    const wire = await this.#open()
    if (remote === undefined) return
    if (wire.isStranger(remote)) throw new Refusal('not-acceptable-here', 'Another certificate in an answer')
    await wire.connect(remote)
  }

  async #agreeLines({ ours, lines }: Agreement): Promise<void> {
    const wire = await this.#open()
    const stale = new Set(this.#lines.keys())
    let videos = 0
    for (const [index, line] of ours.lines.entries()) {
      const theirs = lines[index]
      if (theirs === undefined || (line.kind !== 'audio' && line.kind !== 'video')) continue
      stale.delete(line.mid)
      const agreed = { ours: line, theirs, wire }
      const known = this.#lines.get(line.mid)
      const one = known ?? new WebLine(this.#place, this.log, agreed, () => this.tell({ type: 'media' }))
      this.#lines.set(line.mid, one)
      await one.agree(agreed, line.kind === 'video' && receives(line.direction) && videos++ > 0)
    }
    for (const mid of stale) {
      this.#lines.get(mid)?.close()
      this.#lines.delete(mid)
    }
    await this.#agreeVoice()
  }

  async #agreeVoice(): Promise<void> {
    const line = this.#all().find(one => one.ours.kind === 'audio')
    this.#voiceMid = line?.mid
    if (line === undefined) return this.#voice.close()
    await line.show(await this.#voice.speak(line.ours))
    await this.#voice.open(line.producer, line.ours)
  }

  #all(): WebLine[] {
    return [...this.#lines.values()]
  }

  /** Lines that it takes for pictures but on which it cannot be sent any, as it has numbered them. */
  #missingTiles(): number {
    const { lines = [], ours } = this.#agreed ?? {}
    const asked = lines.filter((line, index) => {
      const own = ours?.lines[index]
      if (line?.kind !== 'video' || own === undefined || own.transport !== 0) return false
      return receives(line.direction) && !sends(own.direction)
    })
    const shown = this.tiles().length
    return Math.max(0, Math.min(this.#wanted, asked.length) - shown)
  }

  #withSenders(session: OurSession): OurSession {
    return withSenders(session, mid => this.#lines.get(mid)?.encoding)
  }

  /** It is sent, or could be sent, what it was not told of; that something has ended it need not know. */
  get #untold(): boolean {
    const { ours } = this.#agreed ?? {}
    if (ours === undefined) return false
    return this.#missingTiles() > 0 || sourcesOf(this.#withSenders(ours)).some(one => !this.#described.includes(one))
  }

  #askIfNeeded(): void {
    if (this.#asking !== undefined || this.#asked || this.#closed || !this.#untold) return
    this.#asking = setTimeout(() => {
      this.#asking = undefined
      if (!this.#untold) return
      this.#asked = true
      this.tell({ type: 'more' })
    }, gatherMs)
    this.#asking.unref()
  }

  async #open(): Promise<Wire> {
    this.#wire ??= await openWire(this.#place, this.log, {
      onConnected: () => this.#presence.here(),
      onSilent: () => this.#presence.away(),
      onFailed: why => this.#presence.lost(why),
    })
    return this.#wire
  }

  /** Ends what goes over the wire, and the wire. */
  #cut(): void {
    for (const line of this.#lines.values()) line.close()
    this.#lines.clear()
    this.#wire?.close()
    this.#wire = undefined
  }

  #makeVoice(): WebVoice {
    return new WebVoice(this.#place, this.id, this.#deps.onEnd)
  }

  async #drop(): Promise<void> {
    this.#cut()
    await this.#voice.close()
  }

  #assertOpen(): void {
    if (this.#closed) throw new Refusal('no-such-call', 'The leg has ended')
  }
}

function sourcesOf(session: OurSession): string[] {
  return session.lines.flatMap(line => (line.sender?.ssrc === undefined ? [] : [`${line.mid} ${line.sender.ssrc}`]))
}
