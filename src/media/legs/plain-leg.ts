import { randomBytes, randomInt } from 'node:crypto'
import { Refusal } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { AudioEngine } from '../audio/audio.ts'
import type { LegEvent, LegWish, Stream } from '../media.ts'
import { parse } from '../sdp/description.ts'
import {
  agree,
  answerPlain,
  offerPlain,
  type PlainOurs,
  type PlainRemote,
  readPlain,
  writePlain,
} from '../sdp/plain.ts'
import type { Leg, OfferChange, Voice } from './leg.ts'
import type { OwnAddress } from './local-address.ts'
import { createTurns } from './turns.ts'

export interface PlainLegDeps {
  id: string
  audio: AudioEngine
  address: OwnAddress
  log: Logger
  now: () => number
  /** The end stands for this leg from now on, or no longer. */
  onEnd: (end: string, open: boolean) => void
  /** Something was agreed that its room must know. */
  onAgreed: () => Promise<void>
  tell: (event: LegEvent) => void
}

const voice: Stream = { kind: 'audio', direction: 'sendrecv', codecs: [] }

/** The leg of a phone: one port pair of the audio thread, which stays the same through all negotiations. */
export class PlainLeg implements Leg {
  readonly profile = 'plain'
  readonly scene = undefined
  readonly id: string
  readonly log: Logger
  readonly born: number
  readonly tell: (event: LegEvent) => void
  readonly #deps: PlainLegDeps
  readonly #inTurn = createTurns()
  /** A key for each direction's life; a phone that offers none is sent none. */
  readonly #key = randomBytes(30).toString('base64')
  readonly #secure: boolean
  readonly #signalling: string
  readonly #sessionId = String(randomInt(1, 2 ** 47))
  #stream: Stream
  #port: { end: string; rtpPort: number; rtcpPort: number } | undefined
  #agreed: { ours: PlainOurs; remote: PlainRemote; codec: string } | undefined
  /** Our last offer; its answer may come again and changed (early media, then the 200). */
  #offered: PlainOurs | undefined
  #closed = false

  constructor(deps: PlainLegDeps, wish: Pick<LegWish, 'streams' | 'secure' | 'towards'>) {
    this.#deps = deps
    this.id = deps.id
    this.log = deps.log
    this.born = deps.now()
    this.tell = deps.tell
    this.#secure = wish.secure ?? false
    this.#signalling = wish.towards
    this.#stream = audioOf(wish.streams) ?? voice
  }

  voice(): Voice | undefined {
    if (this.#port === undefined || this.#agreed === undefined) return undefined
    return { end: this.#port.end, codec: this.#agreed.codec }
  }

  streams(): Stream[] {
    if (this.#agreed === undefined) return []
    const { ours, codec } = this.#agreed
    return [{ kind: 'audio', direction: ours.direction, codecs: [codec] }]
  }

  offer(change: OfferChange = {}): Promise<string> {
    return this.#inTurn(async () => {
      this.#stream = audioOf(change.streams) ?? this.#stream
      const secure = this.#agreed === undefined ? this.#secure : this.#agreed.ours.crypto !== undefined
      const wish = await this.#wish(this.#stream)
      this.#offered = offerPlain(secure ? { ...wish, key: this.#key } : wish)
      return writePlain(this.#offered)
    })
  }

  answer(sdp: string): Promise<void> {
    return this.#inTurn(async () => {
      const ours = this.#offered
      if (ours === undefined) throw new Refusal('not-acceptable-here', 'There is no offer to answer')
      await this.#agree(ours, readPlain(parse(sdp)))
    })
  }

  accept(offer: string, streams?: readonly Stream[]): Promise<string> {
    return this.#inTurn(async () => {
      const stream = audioOf(streams) ?? this.#stream
      const remote = readPlain(parse(offer))
      const wish = await this.#wish(stream)
      const ours = answerPlain(remote, remote.crypto === undefined ? wish : { ...wish, key: this.#key })
      await this.#agree(ours, remote)
      this.#stream = stream
      this.#offered = undefined
      return writePlain(ours)
    })
  }

  /** The audio thread has died and took the port with it: a new one is opened with the next offer. */
  async rebuild(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#port !== undefined) this.#deps.onEnd(this.#port.end, false)
      this.#port = undefined
    })
    await this.#deps.onAgreed()
    if (!this.#closed) this.tell({ type: 'rebuilt' })
  }

  close(): Promise<void> {
    this.#closed = true
    return this.#inTurn(async () => {
      const port = this.#port
      this.#port = undefined
      if (port === undefined) return
      this.#deps.onEnd(port.end, false)
      await this.#deps.audio.closeEnd(port.end)
    })
  }

  async #wish(stream: Stream) {
    if (this.#closed) throw new Refusal('no-such-call', 'The leg has ended')
    const { address } = this.#deps
    const { rtpPort, rtcpPort } = await this.#open()
    const previous = this.#offered ?? this.#agreed?.ours
    return {
      address: address.announce,
      rtpPort,
      rtcpPort,
      direction: stream.direction,
      codecs: stream.codecs,
      previous,
      id: this.#sessionId,
    }
  }

  async #open() {
    if (this.#port !== undefined) return this.#port
    const port = await this.#deps.audio.openPort(this.#deps.address.bind)
    this.#port = port
    this.#deps.onEnd(port.end, true)
    return port
  }

  async #agree(ours: PlainOurs, remote: PlainRemote): Promise<void> {
    const port = agree(ours, remote)
    const { end } = await this.#open()
    await this.#deps.audio.setPort(end, { ...port, signalling: this.#signalling })
    this.#agreed = { ours, remote, codec: port.send.codec }
    this.log.debug({ codec: port.send.codec, direction: port.direction, secure: port.srtp !== undefined }, 'agreed')
    await this.#deps.onAgreed()
  }
}

function audioOf(streams: readonly Stream[] | undefined): Stream | undefined {
  return streams?.find(stream => stream.kind === 'audio')
}
