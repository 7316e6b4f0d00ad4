import type { types } from 'mediasoup'
import { Refusal } from '../../errors.ts'
import type { Direction } from '../media.ts'
import { codecsOf } from './codecs.ts'
import { type MediaLine, type Session, whole } from './description.ts'

/** What a browser's description says, in mediasoup's words. */
export interface WebRtcSession {
  /** Of the o= line. */
  id: string
  version: number
  /** BUNDLE groups (RFC 8843), and lines outside of any, by the order of their first lines. */
  transports: readonly RemoteTransport[]
  lines: readonly WebRtcLine[]
}

export interface RemoteTransport {
  mids: readonly string[]
  ice: { ufrag: string; pwd: string; lite: boolean }
  /** Ready for `transport.connect`: the role is `client` where the party says actpass, since we answer passive. */
  dtls: { role: 'client' | 'server'; fingerprints: types.DtlsFingerprint[] }
}

export interface WebRtcLine {
  /** Empty when the party gave none. */
  mid: string
  kind: 'audio' | 'video' | 'application' | 'other'
  /** The first field of the m= line, and others of it, kept to answer it. */
  type: string
  protocol: string
  formats: string
  /** Port 0 and not bundle-only. */
  rejected: boolean
  /** Index of its transport; -1 when rejected. */
  transport: number
  /** The party's. */
  direction: Direction
  /** As the party numbers them, best first; rtx, red, CN and telephone-event among them. */
  codecs: readonly types.RtpCodecParameters[]
  extensions: readonly Extension[]
  /** What it sends in several sizes (RFC 8853), as it lists them; empty without simulcast. */
  rids: readonly string[]
  /** Announced sources (RFC 5576), repair flows folded into theirs; more than one only with an old-style SIM group. */
  sources: readonly Source[]
  /** `stream track` of RFC 8830. */
  msid: string | undefined
  cname: string | undefined
  rtcpMux: boolean
}

export interface Extension {
  id: number
  uri: string
}

export interface Source {
  ssrc: number
  rtxSsrc?: number | undefined
}

const mostRids = 4
const mostExtensions = 32
const mostSources = 16
const hashes = new Set(['sha-1', 'sha-224', 'sha-256', 'sha-384', 'sha-512'])
const hexPairs = /^[0-9A-F]{2}(:[0-9A-F]{2}){19,63}$/

/** Reads a browser's offer or answer; refuses `not-acceptable-here` without ICE, a fingerprint or DTLS-SRTP. */
export function readWebRtc(session: Session): WebRtcSession {
  const lines = session.media.map(line => readLine(line, session))
  const mids = lines.flatMap(line => (line.mid === '' ? [] : [line.mid]))
  if (new Set(mids).size < mids.length) throw new Refusal('bad-request', 'Two m= lines have the same mid')
  const transports: RemoteTransport[] = []
  for (const group of groupsOf(session, lines)) {
    // The first line of a group that is in use speaks for all of it (RFC 8843 section 7.2).
    const tagged = session.media[lines.indexOf(group[0]!)]!
    for (const line of group) line.transport = transports.length
    onceEach(group)
    transports.push({ mids: group.map(line => line.mid), ...security(tagged, session) })
  }
  if (transports.length === 0) throw new Refusal('not-acceptable-here', 'No m= line is in use')
  const { sessionId, sessionVersion } = session.origin
  return { id: String(sessionId), version: Number(sessionVersion) || 0, transports, lines }
}

/** Whether the party's ICE was restarted between two of its descriptions (RFC 8839 section 4.4.1.1.1), for a transport. */
export function iceRestarted(previous: WebRtcSession, next: WebRtcSession, transport = 0): boolean {
  const [before, after] = [previous.transports[transport]?.ice, next.transports[transport]?.ice]
  return before !== undefined && after !== undefined && (before.ufrag !== after.ufrag || before.pwd !== after.pwd)
}

type Draft = { -readonly [K in keyof WebRtcLine]: WebRtcLine[K] }

function readLine(line: MediaLine, session: Session): Draft {
  const { type } = line
  const kind = type === 'audio' || type === 'video' || type === 'application' ? type : 'other'
  const flowing = kind === 'audio' || kind === 'video'
  const cname = line.ssrcs?.find(one => one.attribute === 'cname')?.value
  return {
    mid: line.mid ?? '',
    kind,
    type,
    protocol: line.protocol,
    formats: line.payloads!,
    rejected: line.port === 0 && line.bundleOnly === undefined,
    transport: -1,
    direction: line.direction ?? session.direction ?? 'sendrecv',
    codecs: flowing ? codecsOf(line) : [],
    extensions: flowing ? extensionsOf(line, session) : [],
    rids: flowing ? ridsOf(line) : [],
    sources: flowing ? sourcesOf(line) : [],
    msid: msidOf(line),
    cname: cname === undefined ? undefined : String(cname),
    rtcpMux: line.rtcpMux !== undefined,
  }
}

function groupsOf(session: Session, lines: Draft[]): Draft[][] {
  const used = lines.filter(line => !line.rejected)
  const groups: Draft[][] = []
  const grouped = new Set<Draft>()
  for (const { type, mids } of session.groups ?? []) {
    if (type !== 'BUNDLE') continue
    const wanted = String(mids).trim().split(' ')
    const group = wanted.flatMap(mid => used.find(line => line.mid === mid && !grouped.has(line)) ?? [])
    for (const line of group) grouped.add(line)
    if (group.length > 0) groups.push([...new Set(group)])
  }
  for (const line of used) if (!grouped.has(line)) groups.push([line])
  return groups.sort((one, other) => lines.indexOf(one[0]!) - lines.indexOf(other[0]!))
}

// A source belongs to one line of an RTP session; mediasoup would not take it twice.
function onceEach(group: Draft[]): void {
  const seen = new Set<number>()
  for (const line of group) {
    line.sources = line.sources.filter(({ ssrc, rtxSsrc }) => !seen.has(ssrc) && !seen.has(rtxSsrc ?? ssrc))
    for (const { ssrc, rtxSsrc } of line.sources) seen.add(ssrc).add(rtxSsrc ?? ssrc)
  }
}

function security(line: MediaLine, session: Session): Omit<RemoteTransport, 'mids'> {
  const [ufrag, pwd] = [line.iceUfrag ?? session.iceUfrag, line.icePwd ?? session.icePwd]
  if (ufrag === undefined || pwd === undefined) throw new Refusal('not-acceptable-here', 'No ICE')
  const fingerprint = line.fingerprint ?? session.fingerprint
  const algorithm = String(fingerprint?.type ?? '').toLowerCase()
  const value = String(fingerprint?.hash ?? '').toUpperCase()
  if (!hashes.has(algorithm) || !hexPairs.test(value)) {
    throw new Refusal('not-acceptable-here', 'No DTLS fingerprint that can be checked')
  }
  return {
    ice: { ufrag: String(ufrag), pwd: String(pwd), lite: session.icelite !== undefined },
    dtls: {
      role: (line.setup ?? session.setup) === 'passive' ? 'server' : 'client',
      fingerprints: [{ algorithm: algorithm as types.FingerprintAlgorithm, value }],
    },
  }
}

function extensionsOf(line: MediaLine, session: Session): Extension[] {
  const found: Extension[] = []
  for (const { value, uri, 'encrypt-uri': encrypted } of line.ext ?? session.ext ?? []) {
    const id = whole(value, 255)
    if (id === undefined || id === 0 || encrypted !== undefined || found.some(one => one.id === id)) continue
    if (found.push({ id, uri: String(uri) }) === mostExtensions) break
  }
  return found
}

function ridsOf(line: MediaLine): string[] {
  const { simulcast } = line
  const list = simulcast?.dir1 === 'send' ? simulcast.list1 : simulcast?.dir2 === 'send' ? simulcast.list2 : undefined
  if (list === undefined) return []
  const known = new Set(line.rids?.flatMap(one => (one.direction === 'send' ? [String(one.id)] : [])))
  // Of alternatives (RFC 8853 section 5.2) the first is taken, and a paused layer may come later.
  const first = String(list)
    .split(';')
    .map(alternatives => alternatives.split(',')[0]!.replace('~', ''))
  return [...new Set(first)].filter(rid => known.has(rid)).slice(0, mostRids)
}

function sourcesOf(line: MediaLine): Source[] {
  const announced = new Set(line.ssrcs?.flatMap(one => whole(one.id, 0xffff_ffff) ?? []))
  const repairs = new Map<number, number>()
  let layers: number[] = []
  for (const { semantics, ssrcs } of (line.ssrcGroups ?? []).slice(0, mostSources)) {
    const members = String(ssrcs).split(' ').map(Number)
    if (semantics === 'FID' && announced.has(members[0]!) && announced.has(members[1]!)) {
      repairs.set(members[0]!, members[1]!)
    }
    if (semantics === 'SIM') layers = members.filter(ssrc => announced.has(ssrc)).slice(0, mostRids)
  }
  const repairing = new Set(repairs.values())
  const [first] = [...announced].filter(ssrc => ssrc !== 0 && !repairing.has(ssrc))
  const main = layers.length > 0 ? layers : first === undefined ? [] : [first]
  return main.map(ssrc => ({ ssrc, rtxSsrc: repairs.get(ssrc) }))
}

// The package's types are ahead of it here: it gives the text after a=msid.
function msidOf(line: MediaLine): string | undefined {
  const msid = (line.msid as unknown) ?? line.ssrcs?.find(one => one.attribute === 'msid')?.value
  return msid === undefined ? undefined : String(msid)
}
