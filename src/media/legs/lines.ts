import type { types } from 'mediasoup'
import type { Kind, Stream } from '../media.ts'
import { type LineWish, wishesFor } from '../sdp/answer.ts'
import { isMedia, nameOf, sameCodec } from '../sdp/codecs.ts'
import { parse } from '../sdp/description.ts'
import type { OfferWish } from '../sdp/offer.ts'
import type { OurLine, OurSession } from '../sdp/ours.ts'
import { chooseCodecs, chooseExtensions, needsMid, offerParameters } from '../sdp/router.ts'
import { direct, mirror, sends } from '../sdp/streams.ts'
import { readWebRtc, type WebRtcLine, type WebRtcSession } from '../sdp/webrtc.ts'

// What a browser's lines are to be, before it is negotiated. Pure.

const midUri = 'urn:ietf:params:rtp-hdrext:sdes:mid'

// Header extensions that mediasoup puts into every video packet that it sends, by their fixed ids: MID, abs-send-time,
// transport-cc.
const inVideo = new Set([1, 4, 5])

/**
 * Whether a browser can be sent videos on a line: where the payload type is the router's, and the browser does not misread
 * the extensions that come under its own numbers.
 */
function canShow(
  { codecs, extensions }: Pick<OurLine, 'codecs' | 'extensions'>,
  router: types.RtpCapabilities,
): boolean {
  const codec = codecs.find(isMedia)
  if (codec === undefined) return false
  const numbered = router.codecs?.some(one => one.preferredPayloadType === codec.payloadType && sameCodec(one, codec))
  return numbered === true && extensions.every(one => isRouters(one, router) || !inVideo.has(one.id))
}

function isRouters({ id, uri }: { id: number; uri: string }, router: types.RtpCapabilities): boolean {
  return (router.headerExtensions ?? []).some(own => own.uri === uri && own.preferredId === id)
}

/** Whether the browser finds the line of a packet by its MID, so that its source may change unannounced. */
function hasMid(line: OurLine): boolean {
  return line.extensions.some(one => one.uri === midUri && one.id === 1)
}

/** What we want of each line of an offer: what `streams` allow, or without them everything that can be carried. */
export function answerWishes(
  offer: WebRtcSession,
  streams: readonly Stream[] | undefined,
  router: types.RtpCapabilities,
): (LineWish | undefined)[] {
  const all = offer.lines.map((line): LineWish | undefined =>
    line.kind === 'audio' || line.kind === 'video' ? { direction: 'sendrecv', codecs: [] } : undefined,
  )
  const wishes = streams === undefined ? all : wishesFor(offer, streams)
  const withMid = needsMid(offer.lines)
  return wishes.map((wish, index) => {
    const line = offer.lines[index]!
    if (wish === undefined || line.kind !== 'video') return wish
    const codecs = chooseCodecs(line, router, wish.codecs)
    if (canShow({ codecs, extensions: chooseExtensions(line, withMid) }, router)) return wish
    return { ...wish, direction: direct(wish.direction, 'recvonly') }
  })
}

/** Our wishes for the lines of an offer: those of `streams` by kind and order, and lines in our numbers for more pictures. */
export function offerWishes(options: {
  previous: OurSession | undefined
  /** Undefined: all stays as it is. */
  streams: readonly Stream[] | undefined
  tiles: number
  capabilities: types.RtpCapabilities
}): OfferWish[] {
  const { previous, streams = [], capabilities } = options
  const left = (previous?.lines ?? []).filter(line => !line.rejected)
  const wishes = streams.map((stream): OfferWish => {
    const at = left.findIndex(line => line.kind === stream.kind)
    const [kept] = at < 0 ? [] : left.splice(at, 1)
    if (kept === undefined) {
      const parameters = offerParameters(capabilities, stream.kind, stream.codecs)
      return { kind: stream.kind, direction: stream.direction, parameters, transport: 0 }
    }
    const mute = kept.kind === 'video' && !canShow(kept, capabilities)
    const direction = mute ? direct(stream.direction, 'recvonly') : stream.direction
    const parameters = renumbered(kept, stream.codecs, capabilities)
    return { kind: stream.kind, direction, transport: 0, mid: kept.mid, ...(parameters && { parameters }) }
  })
  for (let count = 0; count < options.tiles; count += 1) {
    const parameters = offerParameters(capabilities, 'video')
    wishes.push({ kind: 'video', direction: 'sendonly', parameters, transport: 0 })
  }
  return wishes
}

// Another codec on a line that is there: what the line has a number for keeps it (RFC 3264 section 8.3.2).
function renumbered(kept: OurLine, names: readonly string[], router: types.RtpCapabilities): OfferWish['parameters'] {
  const current = kept.codecs.find(isMedia)
  if (names.length === 0 || (current !== undefined && nameOf(current).toLowerCase() === names[0]?.toLowerCase())) {
    return undefined
  }
  const { codecs } = offerParameters(router, kept.kind as Kind, names)
  return {
    codecs: codecs.map(codec => {
      const known = kept.codecs.find(one => sameCodec(one, codec))
      return known === undefined ? codec : { ...codec, payloadType: known.payloadType }
    }),
    headerExtensions: kept.extensions.map(({ id, uri }) => ({ id, uri: uri as types.RtpHeaderExtensionUri })),
  }
}

/** What we would have said to a party that has had another partner until now: the same lines with the same numbers. */
export function sessionAfter(sdp: string, router: types.RtpCapabilities, id: string): OurSession {
  const theirs = readWebRtc(parse(sdp))
  const withMid = needsMid(theirs.lines)
  const lines = theirs.lines.map((line): OurLine => {
    const codecs = line.rejected || line.transport !== 0 ? [] : chooseCodecs(line, router, [])
    const { mid, kind, type, protocol, formats } = line
    const rejected = codecs.length === 0
    const extensions = rejected ? [] : chooseExtensions(line, withMid)
    const wanted = kind !== 'video' || canShow({ codecs, extensions }, router) ? 'sendrecv' : 'recvonly'
    const direction = rejected ? 'inactive' : direct(wanted, mirror(line.direction))
    const rids = rejected ? [] : line.rids
    return {
      mid,
      kind,
      type,
      protocol,
      formats,
      rejected,
      direction,
      codecs,
      extensions,
      rids,
      sender: undefined,
      transport: 0,
    }
  })
  return { id, version: 0, transports: [], lines, nextMid: 0 }
}

/**
 * Names what we send on each line; the source only where the browser could tell it neither by MID nor, with one line of each
 * kind, by payload type. Then a change of the source needs an offer.
 */
export function withSenders(
  session: OurSession,
  encodingOf: (mid: string) => types.RtpEncodingParameters | undefined,
): OurSession {
  const used = session.lines.filter(line => !line.rejected)
  const sending = used.filter(line => sends(line.direction))
  // Two lines of one kind keep Chromium from looking at payload types at all, on lines of the other kind too.
  const crowded = new Set(used.map(line => line.kind)).size < used.length
  const lines = session.lines.map((line): OurLine => {
    if (!sending.includes(line)) return line
    const name = line.mid === '' ? 'vaartha' : line.mid
    const msid = `vaartha-${name} vaartha-${name}-${line.kind}`
    // MIDs that it expects under another id than mediasoup's make it drop what is not announced.
    const strict = line.extensions.some(one => one.uri === midUri)
    const encoding = hasMid(line) || !(crowded || strict) ? undefined : encodingOf(line.mid)
    if (encoding?.ssrc === undefined) return { ...line, sender: { msid } }
    return { ...line, sender: { msid, ssrc: encoding.ssrc, rtxSsrc: encoding.rtx?.ssrc, cname: 'vaartha' } }
  })
  return { ...session, lines }
}

/** Of what we have offered, what the party has taken: one codec for each line, and no more than both send. */
export function takenBy(
  ours: OurSession,
  answered: readonly (WebRtcLine | undefined)[],
  router: types.RtpCapabilities,
): OurSession {
  const lines = ours.lines.map((line, index): OurLine => {
    const theirs = answered[index]
    if (theirs === undefined) return { ...line, rejected: true, direction: 'inactive', sender: undefined }
    return {
      ...line,
      codecs: chooseCodecs(theirs, router, []),
      direction: direct(line.direction, mirror(theirs.direction)),
    }
  })
  return { ...ours, lines }
}

/** What was agreed, as the seam tells it. */
export function streamsAgreed({ lines }: OurSession): Stream[] {
  return lines.flatMap(({ kind, rejected, direction, codecs }) => {
    if (rejected || (kind !== 'audio' && kind !== 'video')) return []
    return [{ kind, direction, codecs: codecs.filter(isMedia).map(nameOf) }]
  })
}
