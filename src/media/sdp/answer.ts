import type { types } from 'mediasoup'
import { Refusal } from '../../errors.ts'
import type { Direction, Stream } from '../media.ts'
import { nameOf } from './codecs.ts'
import type { OurLine, OurSession, OurTransport, Sender } from './ours.ts'
import { chooseCodecs, chooseExtensions, isTold, needsMid } from './router.ts'
import { direct, mirror, receives, sends } from './streams.ts'
import type { WebRtcLine, WebRtcSession } from './webrtc.ts'

/** What we want of one line of an offer. */
export interface LineWish {
  direction: Direction
  /** Encoding names, best first; empty: what the party prefers. */
  codecs: readonly string[]
  sender?: Sender | undefined
  /** Whether its simulcast is taken; default yes. */
  simulcast?: boolean | undefined
}

export interface AnswerOptions {
  /** One, for the party's first BUNDLE group; lines outside of it are rejected. */
  transports: readonly OurTransport[]
  /** As the router had them when it was made with `routerCodecs`. */
  router: types.RtpCapabilities
  /** By index of the offer's lines; a line without a wish is rejected. */
  wishes: readonly (LineWish | undefined)[]
  previous?: OurSession | undefined
  /** Session id of a first description, digits. */
  id: string
}

/**
 * Our answer to a browser's offer (RFC 3264 section 6, RFC 8829 section 5.3): same lines and mids, codecs and extensions in
 * the party's numbers, never more than the router knows. A line that we cannot have is rejected with port 0. Refuses
 * `not-acceptable-here` when none is left.
 */
export function answerTo(offer: WebRtcSession, options: AnswerOptions): OurSession {
  const { previous, router } = options
  if (previous !== undefined && offer.lines.length < previous.lines.length) {
    throw new Refusal('not-acceptable-here', 'An offer may not take lines away (RFC 3264 section 8)')
  }
  const withMid = offer.transports.map((_, index) => needsMid(offer.lines.filter(line => line.transport === index)))
  const lines = offer.lines.map((line, index) => {
    const before = previous?.lines.find(one => one.mid === line.mid && line.mid !== '')
    const transport = transportOf(line, offer, previous)
    const wish = options.transports[transport] === undefined ? undefined : options.wishes[index]
    const taken = accepted(line, wish, before, router)
    if (taken === undefined) return rejectedLine(line)
    return { ...taken, extensions: chooseExtensions(line, withMid[line.transport] ?? false), transport }
  })
  if (lines.every(line => line.rejected)) throw new Refusal('not-acceptable-here', 'No line that we can have')
  const transports = options.transports.map((transport, index) => {
    const remote = offer.transports.find(one =>
      one.mids.some(mid => lines.some(line => line.mid === mid && !line.rejected && line.transport === index)),
    )
    // Roles stay for as long as the DTLS association does (RFC 8842 section 5.5): who asked a first time asks on.
    const active = remote?.dtls.role === 'server' || transport.dtls.role === 'client'
    return { ...transport, setup: active ? ('active' as const) : ('passive' as const) }
  })
  const { id, version, nextMid } = previous ?? { id: options.id, version: 0, nextMid: 0 }
  return { id, version: version + 1, transports, lines, nextMid }
}

/** Wishes for the lines of an offer from streams, matched by kind and order (JSEP pairs them so). */
export function wishesFor(
  offer: WebRtcSession,
  streams: readonly Stream[] = [{ kind: 'audio', direction: 'sendrecv', codecs: [] }],
): (LineWish | undefined)[] {
  const left = [...streams]
  return offer.lines.map(line => {
    const at = line.rejected ? -1 : left.findIndex(one => one.kind === line.kind)
    if (at < 0) return undefined
    const [{ direction, codecs }] = left.splice(at, 1) as [Stream]
    return { direction, codecs }
  })
}

function accepted(
  line: WebRtcLine,
  wish: LineWish | undefined,
  before: OurLine | undefined,
  router: types.RtpCapabilities,
): Omit<OurLine, 'extensions' | 'transport'> | undefined {
  if (wish === undefined || line.rejected || !line.rtcpMux || !line.protocol.includes('SAVP')) return undefined
  // What was agreed stays, as long as it is wanted, so that nothing that flows changes its codec for a hold.
  const kept = before?.codecs[0] === undefined ? [] : [nameOf(before.codecs[0])]
  const stays = kept.filter(name => wish.codecs.length === 0 || wish.codecs.includes(name))
  const again = chooseCodecs(line, router, stays)
  const codecs = stays.length > 0 && again.length > 0 ? again : chooseCodecs(line, router, wish.codecs)
  if (codecs.length === 0) return undefined
  const direction = direct(wish.direction, mirror(line.direction))
  if (receives(direction) && !isTold(line)) return undefined
  return {
    mid: line.mid,
    kind: line.kind,
    type: line.type,
    protocol: line.protocol,
    formats: line.formats,
    rejected: false,
    direction,
    codecs,
    rids: wish.simulcast === false || !receives(direction) ? [] : line.rids,
    sender: sends(direction) ? wish.sender : undefined,
  }
}

function rejectedLine({ mid, kind, type, protocol, formats }: WebRtcLine): OurLine {
  const nothing = { codecs: [], extensions: [], rids: [], sender: undefined, transport: 0 }
  return { mid, kind, type, protocol, formats, rejected: true, direction: 'inactive', ...nothing }
}

// A line stays on its transport; a new one is on that of the lines it is bundled with; the party's first group is our first.
function transportOf(line: WebRtcLine, offer: WebRtcSession, previous: OurSession | undefined): number {
  const group = offer.transports[line.transport]
  if (group === undefined) return -1
  const known = previous?.lines.find(one => !one.rejected && one.mid !== '' && group.mids.includes(one.mid))
  return known?.transport ?? (line.transport === 0 ? 0 : -1)
}
