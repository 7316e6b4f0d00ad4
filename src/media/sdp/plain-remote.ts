import { isIP } from 'node:net'
import { Refusal } from '../../errors.ts'
import type { PayloadType, SrtpKeys } from '../audio/audio.ts'
import type { Direction } from '../media.ts'
import { codecsOf, formatParameters, isNamed, nameOf } from './codecs.ts'
import { type MediaLine, type Session, whole } from './description.ts'
import { direct } from './streams.ts'

/** What a phone's description says of its first audio line that we can use. */
export interface PlainRemote {
  id: string
  version: number
  /** Which m-line it is. */
  index: number
  /** What all lines are, to reject the others in the answer. */
  lines: readonly LineHead[]
  protocol: string
  address: string
  port: number
  rtcpPort: number
  rtcpMux: boolean
  /** Those that we know, best first, in the phone's numbers; `ptime` as it wants to be sent. */
  codecs: readonly PayloadType[]
  /** telephone-event (RFC 4733), one for each clock rate. */
  dtmf: readonly Dtmf[]
  comfortNoise: number | undefined
  /** The phone's. */
  direction: Direction
  /** Its own keys that we can use (RFC 4568), best first; empty for RTP/AVP. */
  crypto: readonly Crypto[]
}

export interface LineHead {
  kind: string
  protocol: string
  formats: string
}

export interface Dtmf {
  payloadType: number
  clockRate: number
}

export interface Crypto {
  tag: number
  suite: SrtpKeys['suite']
  /** Base64 of key and salt, 30 octets. */
  key: string
}

const known: Record<string, Pick<PayloadType, 'codec' | 'clockRate' | 'channels'>> = {
  opus: { codec: 'opus', clockRate: 48000, channels: 2 },
  g722: { codec: 'G722', clockRate: 8000, channels: 1 },
  pcmu: { codec: 'PCMU', clockRate: 8000, channels: 1 },
  pcma: { codec: 'PCMA', clockRate: 8000, channels: 1 },
}

const usable = new Set(['RTP/AVP', 'RTP/AVPF', 'RTP/SAVP', 'RTP/SAVPF'])
const anywhere = new Set(['0.0.0.0', '::'])

/** Reads a phone's offer or answer; refuses `not-acceptable-here` where no line can be used. */
export function readPlain(session: Session): PlainRemote {
  const { media, origin } = session
  for (const [index, line] of media.entries()) {
    if (line.type !== 'audio' || line.port === 0 || !usable.has(line.protocol)) continue
    const address = (line.connection ?? session.connection)?.ip
    const all = codecsOf(line)
    const ptime = packetTimeOf(line)
    const codecs = all.flatMap((codec): PayloadType[] => {
      const ours = known[nameOf(codec).toLowerCase()]
      if (ours === undefined || codec.clockRate !== ours.clockRate || codec.channels !== ours.channels) return []
      const fmtp = formatParameters(codec.parameters)
      return [{ payloadType: codec.payloadType, ...ours, ptime, ...(fmtp === '' ? {} : { fmtp }) }]
    })
    const crypto = secured(line.protocol) ? cryptoOf(line) : []
    if (!isUnicast(address) || codecs.length === 0 || (secured(line.protocol) && crypto.length === 0)) continue
    const said = line.direction ?? session.direction ?? 'sendrecv'
    return {
      id: String(origin.sessionId),
      version: Number(origin.sessionVersion) || 0,
      index,
      lines: media.map(one => ({ kind: one.type, protocol: one.protocol, formats: one.payloads! })),
      protocol: line.protocol,
      address,
      port: line.port,
      rtcpPort: whole(line.rtcp?.port, 65_535) || Math.min(line.port + 1, 65_535),
      rtcpMux: line.rtcpMux !== undefined,
      codecs,
      dtmf: all
        .filter(codec => isNamed(codec, 'telephone-event'))
        .map(({ payloadType, clockRate }) => ({ payloadType, clockRate })),
      comfortNoise: all.find(codec => isNamed(codec, 'CN') && codec.clockRate === 8000)?.payloadType,
      // Hold as before RFC 3264 (section 8.4): there is no place to send to.
      direction: anywhere.has(address) ? direct(said, 'sendonly') : said,
      crypto,
    }
  }
  throw new Refusal(
    'not-acceptable-here',
    'No audio that we can have: RTP/AVP or RTP/SAVP with SDES, and a codec we know',
  )
}

/** Whether an m-line of this protocol carries SRTP. */
export function secured(protocol: string): boolean {
  return protocol.startsWith('RTP/SAVP')
}

// With an MKI each packet would carry it, and session parameters other than the window hint change what SRTP does: such
// keys are left alone, as are sets of several. A lifetime is at least 2^20 packets in practice, which is six hours.
function cryptoOf(line: MediaLine): Crypto[] {
  return (line.crypto ?? []).flatMap(({ id, suite, config, sessionConfig }) => {
    if (suite !== 'AES_CM_128_HMAC_SHA1_80' && suite !== 'AES_CM_128_HMAC_SHA1_32') return []
    if (sessionConfig !== undefined && !String(sessionConfig).startsWith('WSH=')) return []
    const text = String(config)
    const [key = '', ...limits] = text.slice('inline:'.length).split('|')
    const plain = text.startsWith('inline:') && !text.includes(';') && !limits.some(one => one.includes(':'))
    const tag = whole(id, 999_999_999)
    if (!plain || tag === undefined || Buffer.from(key, 'base64').length !== 30) return []
    return [{ tag, suite, key }]
  })
}

// In ms. What is no multiple of ten is left for the default: 20 is what everybody has.
function packetTimeOf(line: MediaLine): number {
  const [wanted, most] = [whole(line.ptime, 120) ?? 20, whole(line.maxptime, 1000) ?? 120]
  const time = Math.min(wanted, most)
  return time >= 10 && time % 10 === 0 ? time : 20
}

function isUnicast(address: string | undefined): address is string {
  if (typeof address !== 'string') return false
  const family = isIP(address)
  if (family === 4) return Number(address.slice(0, address.indexOf('.'))) < 224
  return family === 6 && !address.toLowerCase().startsWith('ff')
}
