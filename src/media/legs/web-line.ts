import type { types } from 'mediasoup'
import type { Logger } from '../../log.ts'
import type { OurLine } from '../sdp/ours.ts'
import { consumerCapabilities, fits, producerParameters } from '../sdp/router.ts'
import type { WebRtcLine } from '../sdp/webrtc.ts'
import type { Size } from './leg.ts'
import type { Place } from './place.ts'
import { disguise } from './telephone-event.ts'
import { produce } from './trunk.ts'
import type { Wire } from './wire.ts'

export interface Agreed {
  ours: OurLine
  theirs: WebRtcLine
  wire: Wire
}

/** One m-line of a browser: the producer of what it sends, and the consumer of what it is sent. */
export class WebLine {
  readonly mid: string
  readonly #place: Place
  readonly #log: Logger
  readonly #onFlow: () => void
  #agreed: Agreed
  #producer: { producer: types.Producer; key: string } | undefined
  #consumer: { consumer: types.Consumer; source: types.Producer } | undefined
  /** Wanted by who shows something on it, whatever was agreed. */
  #paused = false

  constructor(place: Place, log: Logger, agreed: Agreed, onFlow: () => void) {
    this.#place = place
    this.#log = log
    this.#agreed = agreed
    this.#onFlow = onFlow
    this.mid = agreed.ours.mid
  }

  get ours(): OurLine {
    return this.#agreed.ours
  }

  get producer(): types.Producer | undefined {
    return this.#producer?.producer
  }

  /** The party sends on it now. */
  get receiving(): boolean {
    const { direction } = this.#agreed.ours
    return direction === 'sendrecv' || direction === 'recvonly'
  }

  get sending(): boolean {
    const { direction } = this.#agreed.ours
    return direction === 'sendrecv' || direction === 'sendonly'
  }

  /** The source that it is sent, for the description of a line on which MIDs are not understood. */
  get encoding(): types.RtpEncodingParameters | undefined {
    return this.#consumer?.consumer.rtpParameters.encodings?.[0]
  }

  get source(): types.Producer | undefined {
    return this.#consumer?.source
  }

  /** Takes over what was negotiated: the producer is kept while it is sent the same. */
  async agree(agreed: Agreed, screen: boolean): Promise<void> {
    this.#agreed = agreed
    const { ours, theirs, wire } = agreed
    if (!this.receiving) await this.#producer?.producer.pause()
    else {
      const rtpParameters = producerParameters(theirs, ours)
      const key = JSON.stringify(rtpParameters)
      if (this.#producer?.key !== key || this.#producer.producer.closed) {
        this.#producer?.producer.close()
        this.#producer = undefined
        const kind = ours.kind as types.MediaKind
        const appData = { screen }
        const producer = await produce(this.#place.router, wire.transport, undefined, { kind, rtpParameters, appData })
        let flows = false
        producer.on('score', scores => {
          const now = scores.some(({ score }) => score > 0)
          if (now && !flows) this.#onFlow()
          flows = now
        })
        this.#producer = { producer, key }
      } else if (this.#producer.producer.paused) await this.#producer.producer.resume()
    }
    await this.#steer()
  }

  /** Sends `source` on this line, or nothing. */
  async show(source: types.Producer | undefined, size: Size = 'large'): Promise<void> {
    const { ours, theirs, wire } = this.#agreed
    const shown = this.#consumer
    if (shown !== undefined && shown.source === source && !shown.consumer.closed) {
      await setSize(shown.consumer, size)
      return
    }
    this.#stop()
    if (source === undefined || source.closed || !this.sending || wire.transport.closed) return
    const { codecs = [], ...rest } = consumerCapabilities(theirs, ours, this.#place.capabilities)
    const rtpCapabilities = { ...rest, codecs: disguise(codecs) }
    if (!this.#place.router.canConsume({ producerId: source.id, rtpCapabilities })) {
      this.#log.info({ mid: this.mid, kind: source.kind }, 'no common codec to show')
      return
    }
    const consumer = await this.#consume(source, rtpCapabilities)
    if (consumer === undefined) return
    if (!fits(ours, consumer.rtpParameters)) {
      consumer.close()
      this.#log.info({ mid: this.mid, kind: source.kind }, 'the numbers of the line do not fit')
      return
    }
    this.#place.consumers += 1
    consumer.observer.once('close', () => {
      this.#place.consumers -= 1
    })
    this.#consumer = { consumer, source }
    // It may have been paused while the worker made it.
    await this.#steer()
    await setSize(consumer, size)
  }

  async pause(paused: boolean): Promise<void> {
    this.#paused = paused
    await this.#steer()
  }

  close(): void {
    this.#stop()
    this.#producer?.producer.close()
    this.#producer = undefined
  }

  /** Undefined when the source or the worker has gone meanwhile: who shows is told, and shows anew. */
  async #consume(source: types.Producer, rtpCapabilities: types.RtpCapabilities): Promise<types.Consumer | undefined> {
    const { transport } = this.#agreed.wire
    try {
      return await transport.consume({
        producerId: source.id,
        rtpCapabilities,
        paused: this.#paused,
        ...(this.mid === '' ? {} : { mid: this.mid }),
      })
    } catch (error) {
      if (transport.closed || source.closed) return undefined
      throw error
    }
  }

  #stop(): void {
    // The worker itself ends what consumed a producer that is closed, and complains of who asks for it.
    if (this.#consumer?.source.closed === false) this.#consumer.consumer.close()
    this.#consumer = undefined
  }

  async #steer(): Promise<void> {
    const { consumer } = this.#consumer ?? {}
    if (consumer === undefined || consumer.closed) return
    const paused = this.#paused || !this.sending
    if (paused === consumer.paused) return
    await (paused ? consumer.pause() : consumer.resume())
  }
}

/** Which of the sizes that the source is sent in (simulcast) the line gets at most. */
async function setSize(consumer: types.Consumer, size: Size): Promise<void> {
  if (consumer.type !== 'simulcast' || consumer.closed) return
  const scalability = consumer.rtpParameters.encodings?.[0]?.scalabilityMode ?? 'L1'
  const most = Number(/^[LS](\d)/.exec(scalability)?.[1] ?? 1) - 1
  const spatialLayer = size === 'large' ? most : size === 'medium' ? Math.min(1, most) : 0
  if (consumer.preferredLayers?.spatialLayer !== spatialLayer) await consumer.setPreferredLayers({ spatialLayer })
}
