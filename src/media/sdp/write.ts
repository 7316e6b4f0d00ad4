import { formatParameters, nameOf } from './codecs.ts'
import { format, type MediaLine, type Session } from './description.ts'
import type { OurLine, OurSession } from './ours.ts'

/** The SDP text of what we say to a browser. */
export function writeWebRtc(session: OurSession): string {
  const live = session.lines.filter(line => !line.rejected)
  const groups = session.transports.flatMap((_, index) => {
    const mids = live.filter(line => line.transport === index && line.mid !== '').map(line => line.mid)
    return mids.length === 0 ? [] : [{ type: 'BUNDLE', mids: mids.join(' ') }]
  })
  const leads = new Set(session.transports.map((_, index) => live.find(line => line.transport === index)))
  const description = {
    version: 0,
    origin: {
      username: 'vaartha',
      sessionId: session.id,
      sessionVersion: session.version,
      netType: 'IN',
      ipVer: 4,
      address: '0.0.0.0',
    },
    name: '-',
    timing: { start: 0, stop: 0 },
    icelite: 'ice-lite',
    groups,
    msidSemantic: { semantic: 'WMS', token: '*' },
    media: session.lines.map(line => (line.rejected ? rejected(line) : media(line, session, leads.has(line)))),
  }
  return format(description as unknown as Session)
}

function rejected({ type, protocol, formats, codecs, mid }: OurLine): Partial<MediaLine> {
  const payloads = codecs.length > 0 ? codecs.map(codec => codec.payloadType).join(' ') : formats || '0'
  const connection = { version: 4, ip: '0.0.0.0' }
  const base = { type, port: 0, protocol, payloads, connection, rtp: [], fmtp: [], direction: 'inactive' as const }
  return mid === '' ? base : { ...base, mid }
}

function media(line: OurLine, session: OurSession, leads: boolean): Partial<MediaLine> {
  const transport = session.transports[line.transport]
  if (transport === undefined) throw new Error(`no transport ${line.transport}`)
  const { ice, candidates, dtls, setup } = transport
  const first = candidates.find(one => one.protocol === 'udp') ?? candidates[0]
  const fingerprint = dtls.fingerprints.find(one => one.algorithm === 'sha-256') ?? dtls.fingerprints[0]!
  const address = first?.address ?? '0.0.0.0'
  return {
    type: line.type,
    port: first?.port ?? 9,
    protocol: line.protocol,
    payloads: line.codecs.map(codec => codec.payloadType).join(' '),
    connection: { version: address.includes(':') ? 6 : 4, ip: address },
    ...formats(line),
    ext: line.extensions.map(({ id, uri }) => ({ value: id, uri })),
    setup,
    ...(line.mid === '' ? {} : { mid: line.mid }),
    direction: line.direction,
    iceUfrag: ice.usernameFragment,
    icePwd: ice.password,
    fingerprint: { type: fingerprint.algorithm, hash: fingerprint.value },
    // The first line of a group speaks for all of it (RFC 8843 section 7.1.3).
    ...(leads && first
      ? { candidates: candidates.map(candidateLine), endOfCandidates: 'end-of-candidates' as const }
      : {}),
    ...sources(line),
    rtcpMux: 'rtcp-mux',
    rtcpRsize: 'rtcp-rsize',
    ...(line.rids.length === 0
      ? {}
      : {
          rids: line.rids.map(id => ({ id, direction: 'recv' })),
          simulcast: { dir1: 'recv' as const, list1: line.rids.join(';') },
        }),
  }
}

function formats({ codecs }: OurLine): Pick<MediaLine, 'rtp' | 'fmtp' | 'rtcpFb'> {
  return {
    rtp: codecs.map(codec => ({
      payload: codec.payloadType,
      codec: nameOf(codec),
      rate: codec.clockRate,
      ...((codec.channels ?? 1) > 1 ? { encoding: codec.channels! } : {}),
    })),
    fmtp: codecs.flatMap(({ payloadType, parameters }) => {
      const config = formatParameters(parameters)
      return config === '' ? [] : [{ payload: payloadType, config }]
    }),
    rtcpFb: codecs.flatMap(({ payloadType, rtcpFeedback = [] }) =>
      rtcpFeedback.map(({ type, parameter = '' }) => ({
        payload: payloadType,
        type,
        ...(parameter === '' ? {} : { subtype: parameter }),
      })),
    ),
  }
}

type Candidate = OurSession['transports'][number]['candidates'][number]

// mediasoup's priorities are lower than any browser's. A call that moves from the direct way to this server would keep to
// the old way for seconds, until that has died: ours go above, in the same order (RFC 8445 section 5.1.2).
const raise = 2 ** 30 - 2 ** 22

function candidateLine({ foundation, priority, address, port, protocol, type, tcpType }: Candidate) {
  const line = {
    foundation,
    component: 1,
    transport: protocol,
    priority: Math.min(priority + raise, 2 ** 31 - 1),
    ip: address,
    port,
    type,
  }
  return tcpType === undefined ? line : { ...line, tcptype: tcpType }
}

function sources({ sender }: OurLine): object {
  if (sender === undefined) return {}
  const { ssrc, rtxSsrc, cname, msid } = sender
  if (ssrc === undefined || cname === undefined) return { msid }
  const ids = rtxSsrc === undefined ? [ssrc] : [ssrc, rtxSsrc]
  return {
    msid,
    ssrcs: ids.map(id => ({ id, attribute: 'cname', value: cname })),
    ...(rtxSsrc === undefined ? {} : { ssrcGroups: [{ semantics: 'FID', ssrcs: `${ssrc} ${rtxSsrc}` }] }),
  }
}
