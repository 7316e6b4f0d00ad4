import { Refusal } from '../../errors.ts'
import type { AudioCodec, PayloadType, PortRemote, SrtpKeys } from '../audio/audio.ts'
import type { Direction } from '../media.ts'
import { format, type MediaLine, type Session } from './description.ts'
import { type Crypto, type Dtmf, type LineHead, type PlainRemote, secured } from './plain-remote.ts'
import { direct, mirror } from './streams.ts'

export { type PlainRemote, readPlain } from './plain-remote.ts'

/** What we have said to a phone: an offer or an answer. The next one of the call is made from it. */
export interface PlainOurs {
  id: string
  version: number
  address: string
  rtpPort: number
  rtcpPort: number
  rtcpMux: boolean
  protocol: string
  codecs: readonly PayloadType[]
  dtmf: readonly Dtmf[]
  comfortNoise: number | undefined
  direction: Direction
  crypto: Crypto | undefined
  /** Where our audio line stands among all, the others of which we reject. */
  index: number
  lines: readonly LineHead[]
}

export interface PlainWish {
  address: string
  rtpPort: number
  rtcpPort: number
  direction: Direction
  /** Encoding names, best first; empty: what was agreed before, else all. */
  codecs: readonly string[]
  /** A fresh key of ours, base64 of 30 octets: an offer is then RTP/SAVP; answers need it where the phone wants SRTP. */
  key?: string | undefined
  previous?: PlainOurs | undefined
  /** Session id of a first description, digits. */
  id: string
}

const ours: Record<AudioCodec, PayloadType> = {
  opus: { payloadType: 96, codec: 'opus', clockRate: 48000, channels: 2, fmtp: 'useinbandfec=1' },
  G722: { payloadType: 9, codec: 'G722', clockRate: 8000, channels: 1 },
  PCMA: { payloadType: 8, codec: 'PCMA', clockRate: 8000, channels: 1 },
  PCMU: { payloadType: 0, codec: 'PCMU', clockRate: 8000, channels: 1 },
}

const events: readonly Dtmf[] = [
  { payloadType: 97, clockRate: 48000 },
  { payloadType: 101, clockRate: 8000 },
]

/** An offer to a phone: one audio line and no more than every phone understands; a later one keeps numbers and keys. */
export function offerPlain(wish: PlainWish): PlainOurs {
  const { address, rtpPort, rtcpPort, direction, previous } = wish
  const codecs = offered(wish)
  if (codecs.length === 0) throw new Refusal('not-acceptable-here', 'No audio codec is left to offer')
  const known = previous?.dtmf ?? []
  const rates = new Set(codecs.map(codec => codec.clockRate))
  const dtmf = [...known, ...events.filter(one => known.every(other => other.clockRate !== one.clockRate))].filter(
    one =>
      (one.clockRate === 8000 || rates.has(one.clockRate)) &&
      codecs.every(codec => codec.payloadType !== one.payloadType),
  )
  const key = wish.key ?? ''
  const fresh: Crypto | undefined = key === '' ? undefined : { tag: 1, suite: 'AES_CM_128_HMAC_SHA1_80', key }
  const crypto = previous === undefined ? fresh : previous.crypto
  const protocol = previous?.protocol ?? (crypto === undefined ? 'RTP/AVP' : 'RTP/SAVP')
  return {
    ...next(wish),
    address,
    rtpPort,
    rtcpPort,
    rtcpMux: previous?.rtcpMux ?? false,
    protocol,
    codecs,
    dtmf,
    comfortNoise: previous?.comfortNoise,
    direction,
    crypto,
    index: previous?.index ?? 0,
    lines: previous?.lines ?? [{ kind: 'audio', protocol, formats: '' }],
  }
}

/** Our answer to a phone's offer: one codec of it, the first of our list, in its numbers. Refuses `not-acceptable-here`. */
export function answerPlain(offer: PlainRemote, wish: PlainWish): PlainOurs {
  const { address, rtpPort, rtcpPort, previous } = wish
  const stays = wish.codecs.length === 0 ? previous?.codecs.slice(0, 1) : undefined
  const names = [
    ...(stays?.map(one => one.codec) ?? []),
    ...(wish.codecs.length === 0 ? Object.keys(ours) : wish.codecs),
  ]
  const codec = names.flatMap(name => offer.codecs.find(one => one.codec.toLowerCase() === name.toLowerCase()) ?? [])[0]
  if (codec === undefined) throw new Refusal('not-acceptable-here', 'No common audio codec')
  const { ptime: _, fmtp: __, ...numbered } = codec
  const { fmtp } = ours[codec.codec]
  const dtmf = offer.dtmf.find(one => one.clockRate === codec.clockRate) ?? offer.dtmf[0]
  return {
    ...next(wish),
    address,
    rtpPort,
    rtcpPort,
    rtcpMux: offer.rtcpMux,
    protocol: offer.protocol,
    codecs: [fmtp === undefined ? numbered : { ...numbered, fmtp }],
    dtmf: dtmf === undefined ? [] : [dtmf],
    comfortNoise: codec.clockRate === 8000 ? offer.comfortNoise : undefined,
    direction: direct(wish.direction, mirror(offer.direction)),
    crypto: secured(offer.protocol) ? answeredKey(offer, wish) : undefined,
    index: offer.index,
    lines: offer.lines,
  }
}

/**
 * What our description and the phone's make together, for `AudioEngine.setPort`; either may be the offer. Refuses
 * `not-acceptable-here` when they do not fit.
 */
export function agree(ours: PlainOurs, remote: PlainRemote): PortRemote {
  const common = remote.codecs.filter(codec => ours.codecs.some(one => one.codec === codec.codec))
  const [send] = common
  if (remote.index !== ours.index || send === undefined || remote.lines.length !== ours.lines.length) {
    throw new Refusal('not-acceptable-here', 'The answer does not fit the offer')
  }
  const dtmf = remote.dtmf.find(one => one.clockRate === send.clockRate) ?? remote.dtmf[0]
  const listened = ours.dtmf.find(one => one.clockRate === dtmf?.clockRate)
  return {
    address: remote.address,
    port: remote.port,
    rtcpPort: ours.rtcpMux && remote.rtcpMux ? 0 : remote.rtcpPort,
    send,
    receive: ours.codecs.filter(codec => common.some(one => one.codec === codec.codec)),
    dtmf: dtmf && listened && { send: dtmf.payloadType, receive: listened.payloadType, clockRate: dtmf.clockRate },
    comfortNoise: ours.comfortNoise === undefined ? undefined : remote.comfortNoise,
    srtp: keys(ours, remote),
    direction: direct(ours.direction, mirror(remote.direction)),
  }
}

/** The SDP text of what we say to a phone. */
export function writePlain(said: PlainOurs): string {
  const version = said.address.includes(':') ? 6 : 4
  const origin = {
    username: '-',
    sessionId: said.id,
    sessionVersion: said.version,
    netType: 'IN',
    ipVer: version,
    address: said.address,
  }
  const media = said.lines.map((line, index): Partial<MediaLine> => {
    if (index === said.index) return audio(said)
    return { type: line.kind, port: 0, protocol: line.protocol, payloads: line.formats, rtp: [], fmtp: [] }
  })
  return format({
    version: 0,
    origin,
    name: '-',
    connection: { version, ip: said.address },
    timing: { start: 0, stop: 0 },
    media: media as Session['media'],
  })
}

function audio(said: PlainOurs): Partial<MediaLine> {
  const { codecs, dtmf, comfortNoise, crypto, rtpPort, rtcpPort, rtcpMux } = said
  const noise = comfortNoise === undefined ? [] : [comfortNoise]
  return {
    type: 'audio',
    port: rtpPort,
    protocol: said.protocol,
    payloads: [...codecs, ...dtmf]
      .map(one => one.payloadType)
      .concat(noise)
      .join(' '),
    rtp: [
      ...codecs.map(({ payloadType: payload, codec, clockRate: rate, channels }) => ({
        payload,
        codec,
        rate,
        ...(channels > 1 ? { encoding: channels } : {}),
      })),
      ...dtmf.map(({ payloadType: payload, clockRate: rate }) => ({ payload, codec: 'telephone-event', rate })),
      ...noise.map(payload => ({ payload, codec: 'CN', rate: 8000 })),
    ],
    fmtp: [
      ...codecs.flatMap(({ payloadType, fmtp }) =>
        fmtp === undefined ? [] : [{ payload: payloadType, config: fmtp }],
      ),
      ...dtmf.map(({ payloadType: payload }) => ({ payload, config: '0-16' })),
    ],
    ptime: 20,
    direction: said.direction,
    ...(crypto === undefined
      ? {}
      : { crypto: [{ id: crypto.tag, suite: crypto.suite, config: `inline:${crypto.key}` }] }),
    ...(rtcpMux ? { rtcpMux: 'rtcp-mux' as const } : rtcpPort === rtpPort + 1 ? {} : { rtcp: { port: rtcpPort } }),
  }
}

function next({ previous, id }: PlainWish): Pick<PlainOurs, 'id' | 'version'> {
  return previous === undefined ? { id, version: 1 } : { id: previous.id, version: previous.version + 1 }
}

// A number, once it means a codec, means it for the whole call (RFC 3264 section 8.3.2).
function offered({ codecs, previous }: PlainWish): PayloadType[] {
  if (codecs.length === 0 && previous !== undefined) return [...previous.codecs]
  const names = codecs.length === 0 ? Object.keys(ours) : codecs
  const chosen = names.flatMap(name => {
    const codec = Object.values(ours).find(one => one.codec.toLowerCase() === name.toLowerCase())
    return codec === undefined ? [] : [previous?.codecs.find(one => one.codec === codec.codec) ?? codec]
  })
  const taken = new Set(previous?.codecs.map(one => one.payloadType))
  return chosen.filter(one => previous?.codecs.includes(one) || !taken.has(one.payloadType))
}

function answeredKey(offer: PlainRemote, { key, previous }: PlainWish): Crypto {
  const [theirs] = offer.crypto
  if (theirs === undefined || key === undefined) throw new Refusal('not-acceptable-here', 'No SRTP key to answer with')
  const { tag, suite } = theirs
  return { tag, suite, key: previous?.crypto?.suite === suite ? previous.crypto.key : key }
}

function keys(ours: PlainOurs, remote: PlainRemote): SrtpKeys | undefined {
  if (secured(ours.protocol) !== secured(remote.protocol)) {
    throw new Refusal('not-acceptable-here', 'One side wants SRTP, the other does not')
  }
  const { crypto } = ours
  if (crypto === undefined) return undefined
  const theirs = remote.crypto.find(one => one.tag === crypto.tag && one.suite === crypto.suite)
  if (theirs === undefined) throw new Refusal('not-acceptable-here', 'No common SRTP key (RFC 4568 section 5.1.2)')
  return { suite: crypto.suite, send: crypto.key, receive: theirs.key }
}
