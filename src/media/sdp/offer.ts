import type { types } from 'mediasoup'
import { Refusal } from '../../errors.ts'
import type { Direction, Kind } from '../media.ts'
import type { OurLine, OurSession, OurTransport, Sender } from './ours.ts'
import type { WebRtcLine, WebRtcSession } from './webrtc.ts'

/** A line that we offer: to send what `sender` sends, or to receive. */
export interface OfferWish {
  kind: Kind
  direction: Direction
  /** Of the consumer's `rtpParameters` for a line that sends, else `offerParameters`; left out, a kept line's stay. */
  parameters?: Pick<types.RtpParameters, 'codecs' | 'headerExtensions'> | undefined
  sender?: Sender | undefined
  /** rids of simulcast that we are ready to receive. */
  rids?: readonly string[] | undefined
  transport: number
  /** Keeps the line with this mid and changes it; without it a rejected line is recycled, or one is added. */
  mid?: string | undefined
}

export interface OfferOptions {
  /** New ICE parameters in one are an ICE restart. */
  transports: readonly OurTransport[]
  wishes: readonly OfferWish[]
  /** mids of lines that end; their place may be recycled by a later offer (RFC 8829 section 5.2.2). */
  drop?: readonly string[] | undefined
  /** Session id of a first description, digits. */
  id: string
}

/** Our next offer. Lines of `previous` that no wish names by mid stay as they are. */
export function offerNext(previous: OurSession | undefined, options: OfferOptions): OurSession {
  const dropped = new Set(options.drop)
  const lines = (previous?.lines ?? []).map(line => (dropped.has(line.mid) ? ended(line) : line))
  const free = lines.flatMap((line, index) => (line.rejected && !dropped.has(line.mid) ? [index] : []))
  let nextMid = previous?.nextMid ?? 0
  for (const wish of options.wishes) {
    const kept = wish.mid === undefined ? undefined : lines.findIndex(one => one.mid === wish.mid && !one.rejected)
    if (kept === -1) throw new Error(`no line has the mid ${wish.mid}`)
    const at = kept ?? free.shift() ?? lines.length
    const made = line(wish, kept === undefined ? undefined : lines[kept], () => unusedMid(lines, () => nextMid++))
    lines[at] = { ...made, extensions: withoutClashes(made, lines.toSpliced(at, 1)) }
  }
  // A browser that has had another partner would greet us at once as if we were that: with the fingerprint that it knows,
  // until it has answered. So it learns where we are with the next offer (RFC 8838 section 4.1 calls this half trickle).
  const stranger = previous?.version === 0
  const transports = options.transports.map(transport => ({
    ...transport,
    candidates: stranger ? [] : transport.candidates,
    setup: 'actpass' as const,
  }))
  return { id: previous?.id ?? options.id, version: (previous?.version ?? 0) + 1, transports, lines, nextMid }
}

/**
 * What the party has answered to each of our lines, by index; undefined where the line is rejected, or was taken out of the
 * group, which we cannot follow. Refuses `not-acceptable-here` what is no answer to this offer (RFC 3264 section 6).
 */
export function readAnswer(ours: OurSession, answer: WebRtcSession): (WebRtcLine | undefined)[] {
  if (answer.lines.length !== ours.lines.length) {
    throw new Refusal('not-acceptable-here', 'The answer has not as many lines as the offer')
  }
  const groups = new Map<number, number>()
  return ours.lines.map((line, index) => {
    const theirs = answer.lines[index]!
    if (theirs.rejected || line.rejected) return undefined
    // What knows no BUNDLE gives no mid.
    if ((theirs.mid !== line.mid && theirs.mid !== '') || theirs.type !== line.type) {
      throw new Refusal('not-acceptable-here', `The answer's line ${index} is not that of the offer`)
    }
    if (!theirs.rtcpMux) throw new Refusal('not-acceptable-here', 'The answer is without rtcp-mux')
    const group = groups.get(line.transport) ?? theirs.transport
    groups.set(line.transport, group)
    return theirs.transport === group ? theirs : undefined
  })
}

function line(wish: OfferWish, kept: OurLine | undefined, newMid: () => string): OurLine {
  const { kind, direction, sender, parameters, transport } = wish
  const { codecs = [], headerExtensions = [] } = parameters ?? {}
  return {
    mid: kept?.mid ?? newMid(),
    kind,
    type: kind,
    protocol: kept?.protocol ?? 'UDP/TLS/RTP/SAVPF',
    formats: kept?.formats ?? '',
    rejected: false,
    direction,
    codecs: parameters === undefined && kept !== undefined ? kept.codecs : codecs,
    extensions:
      parameters === undefined && kept !== undefined
        ? kept.extensions
        : headerExtensions.map(({ id, uri }) => ({ id, uri })),
    rids: wish.rids ?? kept?.rids ?? [],
    sender,
    transport,
  }
}

function ended(line: OurLine): OurLine {
  return { ...line, rejected: true, direction: 'inactive', extensions: [], rids: [], sender: undefined }
}

// In a BUNDLE group an id means the same on every line (RFC 8843 section 9.1.2); who came first keeps it. Nor gets an extension a
// second id: Chromium's next offer would renumber the lines that are there.
function withoutClashes(line: OurLine, others: readonly OurLine[]): OurLine['extensions'] {
  const taken = others.flatMap(one => (one.rejected ? [] : one.extensions))
  return line.extensions.filter(({ id, uri }) => taken.every(one => (one.id === id) === (one.uri === uri)))
}

// At most eight characters, or mediasoup has no room for it in its packets.
function unusedMid(lines: readonly OurLine[], next: () => number): string {
  for (;;) {
    const mid = `v${next()}`
    if (lines.every(line => line.mid !== mid)) return mid
  }
}
