import type { types } from 'mediasoup'
import type { Kind } from '../media.ts'
import { isMedia, isNamed, nameOf, sameCodec } from './codecs.ts'
import type { OurLine } from './ours.ts'
import { sends } from './streams.ts'
import type { Extension, WebRtcLine } from './webrtc.ts'

// How a browser's numbers meet mediasoup's. A consumer sends the payload types that its producer was mapped to when it was
// produced, and header extensions under mediasoup's own ids, whatever was negotiated. So:
// - on a line that the browser has offered, only that may be sent whose producer was made right after
//   `router.updateMediaCodecs(dialect(line))`, in the same tick; `fits` tells.
// - unless the browser took mediasoup's ids (it answered us first, or the page wrote them into its offer), its packets are
//   told by the SSRC that we announce, and there is no bandwidth estimation for what it is sent.
// - all lines stay in one BUNDLE group: with two, Chromium 156 cannot make an offer any more ("has changed group").

/** The codecs of every router, numbered as Chromium numbers them where that can be chosen. */
export const routerCodecs: types.RouterRtpCodecCapability[] = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2, preferredPayloadType: 111 },
  { kind: 'audio', mimeType: 'audio/G722', clockRate: 8000, preferredPayloadType: 9 },
  { kind: 'audio', mimeType: 'audio/PCMA', clockRate: 8000, preferredPayloadType: 8 },
  { kind: 'audio', mimeType: 'audio/PCMU', clockRate: 8000, preferredPayloadType: 0 },
  { kind: 'audio', mimeType: 'audio/CN', clockRate: 8000, preferredPayloadType: 13 },
  { kind: 'audio', mimeType: 'audio/telephone-event', clockRate: 48000, preferredPayloadType: 110 },
  { kind: 'audio', mimeType: 'audio/telephone-event', clockRate: 8000, preferredPayloadType: 126 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90000, preferredPayloadType: 96 },
  {
    kind: 'video',
    mimeType: 'video/H264',
    clockRate: 90000,
    preferredPayloadType: 108,
    parameters: { 'packetization-mode': 1, 'profile-level-id': '42e01f', 'level-asymmetry-allowed': 1 },
  },
  { kind: 'video', mimeType: 'video/VP9', clockRate: 90000, preferredPayloadType: 98, parameters: { 'profile-id': 0 } },
]

const mid = 'urn:ietf:params:rtp-hdrext:sdes:mid'
const mediasoupMid = 1
const levels = 'urn:ietf:params:rtp-hdrext:ssrc-audio-level'
const sendTime = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time'
const transportCc = 'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01'

// Others that mediasoup knows would be copied under its own ids into packets for browsers that number them differently. Without
// `urn:3gpp:video-orientation` a telephone turns its pictures itself.
const used: Record<Kind, ReadonlySet<string>> = {
  audio: new Set([mid, levels, sendTime, transportCc]),
  video: new Set([
    mid,
    sendTime,
    transportCc,
    'urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id',
    'urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id',
  ]),
}

/** The router's media codecs for producing what is to be sent on this line; for anything else they are `routerCodecs`. */
export function dialect(line: OurLine): types.RouterRtpCodecCapability[] {
  return line.codecs
    .filter(codec => routerCodecs.some(ours => sameCodec(ours, codec)))
    .map(({ mimeType, clockRate, channels = 1, payloadType, parameters = {} }) => ({
      kind: line.kind as Kind,
      mimeType,
      clockRate,
      ...(line.kind === 'audio' ? { channels } : { parameters }),
      preferredPayloadType: payloadType,
    }))
}

/** Lines with the same name can be sent the same producers, for example `opus/111`. */
export function dialectName(line: OurLine): string {
  const codec = line.codecs.find(isMedia)
  return codec === undefined ? '' : `${nameOf(codec)}/${codec.payloadType}`
}

/** Whether what a consumer sends has the numbers of this line; otherwise the browser would not understand a packet. */
export function fits(line: OurLine, consumer: Pick<types.RtpParameters, 'codecs'>): boolean {
  return consumer.codecs.every(sent => line.codecs.some(codec => codec.payloadType === sent.payloadType))
}

/** What we may choose from, by encoding names (empty: all): for `offerNext`, in the router's numbers. */
export function offerParameters(
  router: types.RtpCapabilities,
  kind: Kind,
  names: readonly string[] = [],
): Pick<types.RtpParameters, 'codecs' | 'headerExtensions'> {
  const known = (router.codecs ?? []).filter(codec => codec.kind === kind)
  const wanted = ranked(known.filter(isMedia), names)
  const codecs = wanted.flatMap(codec => [codec, ...companionsOf(codec, known, codec.preferredPayloadType)])
  return {
    codecs: [...new Set(codecs)].map(({ preferredPayloadType: payloadType, kind: _, ...codec }) => ({
      ...codec,
      payloadType,
    })),
    headerExtensions: (router.headerExtensions ?? [])
      .filter(one => one.kind === kind && used[kind].has(one.uri))
      .map(({ uri, preferredId: id }) => ({ uri, id })),
  }
}

/**
 * The codec of an offered line that we take, as the party numbers it, with what comes along (rtx, telephone-event and CN of
 * the same clock) and no feedback that the router does not give; empty when we share none.
 */
export function chooseCodecs(
  line: WebRtcLine,
  router: types.RtpCapabilities,
  names: readonly string[],
): types.RtpCodecParameters[] {
  const known = router.codecs ?? []
  const shared = line.codecs.filter(codec => known.some(ours => sameCodec(ours, codec)))
  const [codec] = ranked(shared.filter(isMedia), names)
  if (codec === undefined) return []
  const along = companionsOf(codec, line.codecs, codec.payloadType)
  const congestion = line.extensions.some(one => one.uri === transportCc) ? 'goog-remb' : 'transport-cc'
  return [codec, ...along].map(one => {
    const ours = known.find(other => sameCodec(other, one))?.rtcpFeedback ?? []
    const rtcpFeedback = (one.rtcpFeedback ?? []).filter(
      ({ type, parameter = '' }) =>
        type !== congestion && ours.some(other => other.type === type && (other.parameter ?? '') === parameter),
    )
    return { ...one, rtcpFeedback }
  })
}

/** The header extensions of an offered line that we use. */
export function chooseExtensions(line: WebRtcLine, withMid: boolean): Extension[] {
  return line.extensions.filter(
    ({ id, uri }) => used[line.kind as Kind]?.has(uri) && (uri !== mid || withMid || id === mediasoupMid),
  )
}

/**
 * Whether the party's MIDs are needed to tell its streams apart on a transport. We do without where we can: a browser that
 * has agreed on them under another id than mediasoup's sees none in our packets, and then drops all that have no announced
 * SSRC instead of telling them by payload type.
 */
export function needsMid(lines: readonly WebRtcLine[]): boolean {
  const rids = new Set<string>()
  return lines.some(line => {
    if (line.sources.length > 0 || !sends(line.direction) || used[line.kind as Kind] === undefined) return false
    const told = line.rids.length > 0 && !line.rids.some(rid => rids.has(rid))
    for (const rid of line.rids) rids.add(rid)
    return !told
  })
}

/** Whether mediasoup can find out which packets belong to the line: by SSRC, rid or MID. */
export function isTold(line: WebRtcLine): boolean {
  const byMid = line.mid !== '' && line.extensions.some(({ uri }) => uri === mid)
  return byMid || line.sources.length > 0 || line.rids.length > 0
}

/** For `transport.produce`: what the party sends on a line, after the negotiation of it. */
export function producerParameters(line: WebRtcLine, ours: OurLine): types.RtpParameters {
  return {
    ...(line.mid === '' ? {} : { mid: line.mid }),
    codecs: agreed(line, ours),
    headerExtensions: extensionsOf(line, ours),
    encodings: encodingsOf(line, ours),
    rtcp: { reducedSize: true, ...(line.cname === undefined ? {} : { cname: line.cname }) },
  }
}

/**
 * For `router.canConsume` and `transport.consume` (with `enableRtx` as mediasoup has it by default): what the party can hear
 * or see on a line. Repair packets are left out where their number is not the router's, and lost ones are sent again as they were.
 */
export function consumerCapabilities(
  line: WebRtcLine,
  ours: OurLine,
  router: types.RtpCapabilities,
): types.RtpCapabilities {
  const kind = line.kind as Kind
  const repairs = (router.codecs ?? []).filter(codec => isNamed(codec, 'rtx'))
  const sendable = (codec: types.RtpCodecParameters) =>
    !isNamed(codec, 'rtx') ||
    repairs.some(
      one => one.preferredPayloadType === codec.payloadType && one.parameters?.['apt'] === codec.parameters?.['apt'],
    )
  return {
    codecs: agreed(line, ours)
      .filter(sendable)
      .map(({ payloadType, ...codec }) => ({ ...codec, kind, preferredPayloadType: payloadType })),
    headerExtensions: extensionsOf(line, ours).map(({ uri, id }) => ({ kind, uri, preferredId: id })),
  }
}

// Copies, because mediasoup fills in defaults. The numbers are ours: the party sends what we have asked for.
function agreed(line: WebRtcLine, ours: OurLine): types.RtpCodecParameters[] {
  return structuredClone(
    ours.codecs.filter(codec =>
      isNamed(codec, 'rtx')
        ? line.codecs.some(other => isNamed(other, 'rtx'))
        : line.codecs.some(other => sameCodec(codec, other)),
    ),
  )
}

function extensionsOf(line: WebRtcLine, ours: OurLine): types.RtpHeaderExtensionParameters[] {
  const both = ours.extensions.filter(({ id, uri }) => line.extensions.some(one => one.id === id && one.uri === uri))
  return both.map(({ id, uri }) => ({ id, uri: uri as types.RtpHeaderExtensionUri }))
}

// A single source may stay unnamed: mediasoup then finds it by its MID.
function encodingsOf(line: WebRtcLine, ours: OurLine): types.RtpEncodingParameters[] {
  const layers = line.rids.filter(rid => ours.rids.includes(rid))
  if (layers.length > 0) return layers.map(rid => ({ rid, scalabilityMode: 'L1T3' }))
  const repaired = ours.codecs.some(codec => isNamed(codec, 'rtx'))
  return line.sources.map(({ ssrc, rtxSsrc }) =>
    repaired && rtxSsrc !== undefined ? { ssrc, rtx: { ssrc: rtxSsrc } } : { ssrc },
  )
}

function ranked<T extends { mimeType: string }>(codecs: readonly T[], names: readonly string[]): T[] {
  if (names.length === 0) return [...codecs]
  return names.flatMap(name => codecs.filter(codec => isNamed(codec, name)))
}

type Companion = Pick<types.RtpCodecParameters, 'mimeType' | 'clockRate' | 'parameters'>

function companionsOf<T extends Companion>(codec: Companion, all: readonly T[], payloadType: number): T[] {
  const repair = all.filter(one => isNamed(one, 'rtx') && one.parameters?.['apt'] === payloadType)
  const beside = all.filter(one => isNamed(one, 'telephone-event') || isNamed(one, 'CN'))
  return [...repair.slice(0, 1), ...beside.filter(one => one.clockRate === codec.clockRate)]
}
