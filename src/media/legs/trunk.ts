import { randomInt } from 'node:crypto'
import type { types } from 'mediasoup'
import type { AudioCodec, AudioEngine, PayloadType, TrunkEnd } from '../audio/audio.ts'
import type { OurLine } from '../sdp/ours.ts'
import { dialect, routerCodecs } from '../sdp/router.ts'
import { disguise, eventRate } from './telephone-event.ts'

// The way between one router and the audio thread: a PlainTransport and a socket of the thread, both on loopback. Every
// browser that talks to phones, hears itself or is in a meeting has one end on it.

const loopback = '127.0.0.1'
const levelUri = 'urn:ietf:params:rtp-hdrext:ssrc-audio-level'
// mediasoup's own number for it: what it sends carries the level under this id whatever was agreed.
const levelId = 6

export interface Trunk {
  /** As the audio thread names it. */
  readonly id: string
  readonly audio: AudioEngine
  /** A producer of what the thread sends, in the payload types of the line that it is for. */
  speak(line: OurLine, cname: string): Promise<Speaker>
  /** Lets the thread hear a producer of this router. */
  hear(producer: types.Producer): Promise<Hearing>
  close(): Promise<void>
}

export interface Speaker {
  producer: types.Producer
  send: NonNullable<TrunkEnd['send']>
}

export interface Hearing {
  consumer: types.Consumer
  receive: NonNullable<TrunkEnd['receive']>
}

/** Opens a trunk; `ports` is the range for the worker's end. */
export async function openTrunk(
  router: types.Router,
  audio: AudioEngine,
  ports: { min: number; max: number },
): Promise<Trunk> {
  const transport = await router.createPlainTransport({
    listenInfo: { protocol: 'udp', ip: loopback, portRange: ports },
    rtcpMux: true,
    comedia: false,
  })
  const { trunk, port } = await audio.openTrunk(loopback)
  await transport.connect({ ip: loopback, port })
  await audio.setTrunk(trunk, { address: loopback, port: transport.tuple.localPort })
  return {
    id: trunk,
    audio,
    async speak(line, cname) {
      const ssrc = randomInt(1, 0xffffffff)
      const codecs = spoken(line.codecs)
      const producer = await produce(router, transport, line, {
        kind: 'audio',
        rtpParameters: {
          codecs: codecs.map(codec => ({ ...codec, rtcpFeedback: [] })),
          headerExtensions: [{ uri: levelUri, id: levelId }],
          encodings: [{ ssrc }],
          rtcp: { cname },
        },
      })
      return { producer, send: { ssrc, cname, levelExtension: levelId, ...numbers(codecs) } }
    },
    async hear(producer) {
      const consumer = await transport.consume({ producerId: producer.id, rtpCapabilities: allOf(producer) })
      const { codecs, encodings, headerExtensions } = consumer.rtpParameters
      return {
        consumer,
        receive: {
          ssrc: encodings?.[0]?.ssrc ?? 0,
          levelExtension: headerExtensions?.find(extension => extension.uri === levelUri)?.id,
          ...numbers(codecs),
        },
      }
    },
    async close() {
      transport.close()
      await audio.closeTrunk(trunk)
    },
  }
}

// The router's own capabilities may be numbered for somebody else at this moment; what the producer can give is what counts.
function allOf({ consumableRtpParameters: all }: types.Producer): types.RtpCapabilities {
  return {
    codecs: all.codecs.map(({ payloadType, ...codec }) => ({
      ...codec,
      kind: 'audio',
      preferredPayloadType: payloadType,
    })),
    headerExtensions: (all.headerExtensions ?? []).map(({ uri, id }) => ({ kind: 'audio', uri, preferredId: id })),
  }
}

/** The codec of a stream and its telephone-event (RFC 4733), which has the clock rate of the codec or is not used. */
function numbers(codecs: readonly types.RtpCodecParameters[]): { codec: PayloadType; dtmf?: number } {
  const codec = codecs.find(isVoice)
  if (codec === undefined) throw new TypeError('an audio stream without a codec of ours')
  const dtmf = codecs.find(one => eventRate(one) === codec.clockRate)?.payloadType
  return {
    codec: {
      payloadType: codec.payloadType,
      codec: nameOf(codec) as AudioCodec,
      clockRate: codec.clockRate,
      channels: codec.channels ?? 1,
    },
    ...(dtmf === undefined ? {} : { dtmf }),
  }
}

const voices: readonly string[] = ['opus', 'G722', 'PCMU', 'PCMA'] satisfies AudioCodec[]

const usual = disguise(routerCodecs)

/** Numbers a new router as `produce` leaves it. */
export function prepareRouter(router: types.Router): void {
  router.updateMediaCodecs(usual)
}

/** Produces for consumers in the payload types of `line`, or the usual ones: a router's numbers count in the tick of the call. */
export function produce(
  router: types.Router,
  transport: types.Transport,
  line: OurLine | undefined,
  options: types.ProducerOptions,
): Promise<types.Producer> {
  const { rtpParameters } = options
  if (line !== undefined) router.updateMediaCodecs(disguise(dialect(line)))
  const producing = transport.produce({
    ...options,
    rtpParameters: { ...rtpParameters, codecs: disguise(rtpParameters.codecs) },
  })
  if (line !== undefined) prepareRouter(router)
  return producing
}

/** The encoding name as the audio thread and SDP write it. */
export function nameOf(codec: { mimeType: string }): string {
  const name = codec.mimeType.slice(codec.mimeType.indexOf('/') + 1)
  return voices.find(voice => voice.toLowerCase() === name.toLowerCase()) ?? name
}

export function isVoice(codec: { mimeType: string }): boolean {
  return voices.includes(nameOf(codec))
}

/** Of the codecs of a line the one that is spoken and its telephone-event. */
export function spoken(codecs: readonly types.RtpCodecParameters[]): types.RtpCodecParameters[] {
  const codec = codecs.find(isVoice)
  if (codec === undefined) return []
  const event = codecs.find(one => eventRate(one) === codec.clockRate)
  return event === undefined ? [codec] : [codec, event]
}
