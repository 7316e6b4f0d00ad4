import type { Members } from '../cluster/members.ts'
import { Refusal } from '../errors.ts'
import { type Binding, isOutbound } from '../location/binding.ts'
import type { Profile } from '../media/media.ts'
import { bytes } from '../sip/engine/message/message.ts'
import { formatHost, parseUri, unescapeUser } from '../sip/engine/message/uri.ts'
import type { Incoming } from './sip.ts'

/** One contact to ring. */
export interface Target {
  /** Request-URI. */
  uri: string
  /** Next hop; absent: the request-URI itself. */
  proxy?: string
  aor: string
  userAgent: string
  /** What it speaks: browsers are the ones behind WebSockets. */
  profile: Profile
  /** The address that its signalling comes from. */
  address: string
  /** What is known of the phone beyond this contact. */
  device: { instance?: string; registration: string }
}

/** The user that a request-URI names. Throws Refusal: another domain is 403 (no relaying), no user 404, foreign scheme 416. */
export function calledUser(requestUri: string, isOwn: (host: string) => boolean): string {
  const uri = parseUri(bytes(requestUri))
  if (uri === undefined) throw new Refusal('bad-request')
  if (uri.scheme !== 'sip' && uri.scheme !== 'sips' && uri.scheme !== 'tel') throw new Refusal('unsupported-uri-scheme')
  if (uri.user === undefined) throw new Refusal('not-found')
  if (uri.scheme !== 'tel' && !isOwn(uri.host)) throw new Refusal('forbidden', 'Calls to other domains are not relayed')
  return unescapeUser(uri.user)
}

/** Where a caller's request came from, to leave the calling device out when it calls its own address. */
export interface Origin {
  flow: string
  address: string
  port: number
  contact: string
}

export function originOf(req: Incoming): Origin {
  const contact = /<([^>]*)>/.exec(req.get('Contact') ?? '')?.[1] ?? ''
  return { flow: req.sessionToken ?? '', address: req.source_address, port: Number(req.source_port), contact }
}

function isOrigin(binding: Binding, origin: Origin): boolean {
  if (origin.contact !== '' && origin.contact === binding.contact) return true
  if (binding.flow !== '' && binding.flow === origin.flow && binding.protocol !== 'udp') return true
  return binding.source.address === origin.address && binding.source.port === origin.port
}

/** Where the run of a node is that holds a flow: this one, another one that takes requests at that URI, or gone. */
export type Whereabouts = (life: string) => 'here' | 'gone' | { sip: string }

/** Without a cluster every flow is ours. */
export function whereIn(members: Pick<Members, 'life' | 'find'> | undefined): Whereabouts {
  return life => {
    if (members === undefined || life === members.life) return 'here'
    const member = members.find(life)
    return member?.life === life && member.state !== 'down' && member.sip ? { sip: member.sip } : 'gone'
  }
}

const here: Whereabouts = () => 'here'

/** Whether the flow of a binding may still be there. */
export const isLive = ({ flow, node }: Binding, where: Whereabouts) => flow !== '' && where(node) !== 'gone'

/** Whether a contact is to be believed: it names the very address that its REGISTER came from, so no NAT is before it. */
const isOpen = ({ contact, source }: Binding) => parseUri(contact)?.host === source.address

/**
 * The contacts to ring, best first and at most `most`. A binding is reached over its own flow, or by the first hop of its
 * Path (RFC 3327); more Path hops cannot be preloaded through drachtio-srf, the edge proxy has to know them. Left out is
 * what only its dead node could reach, a lost flow of a device that has another one, and all but one of a device's flows
 * (RFC 5626 section 5.3): the others are tried when that one fails.
 */
export function chooseTargets(
  bindings: readonly Binding[],
  options: { most: number; origin?: Origin | undefined; where?: Whereabouts },
): Target[] {
  const { most, origin, where = here } = options
  const reachable = bindings.filter(binding => {
    if (isLive(binding, where) || binding.path.length > 0) return true
    const { node, protocol, instance } = binding
    if (isOutbound(binding) && bindings.some(other => other.instance === instance && isLive(other, where))) return false
    return where(node) !== 'gone' || (protocol === 'udp' && isOpen(binding))
  })
  return reachable
    .filter(binding => binding === bestFlow(binding, reachable, where))
    .filter(binding => origin === undefined || !isOrigin(binding, origin))
    .slice(0, most)
    .map(binding => targetOf(binding, where))
}

/** Of the live flows of one device the one to ring: a flow of this node if there is one, else the first. */
function bestFlow(binding: Binding, all: readonly Binding[], where: Whereabouts): Binding {
  if (!isOutbound(binding) || binding.path.length > 0 || !isLive(binding, where)) return binding
  const flows = all.filter(other => other.instance === binding.instance && isOutbound(other) && isLive(other, where))
  return flows.find(({ node }) => where(node) === 'here') ?? flows[0] ?? binding
}

/**
 * Where a binding is reached: over its Path, else over the connection that it came by, which may be another node's. A contact that names the very
 * address its REGISTER came from has no NAT before it and is believed, port and transport included: some phones listen
 * elsewhere than they send from. So is one whose connection is gone: nothing else is left to try.
 */
export function targetOf(binding: Binding, where: Whereabouts = here): Target {
  const { contact, aor, userAgent, path, source, protocol, flow, instance } = binding
  const profile: Profile = protocol === 'ws' || protocol === 'wss' ? 'webrtc' : 'plain'
  const device = { registration: binding.callId, ...(instance === undefined ? {} : { instance }) }
  const common = { uri: contact, aor, userAgent, profile, address: source.address, device }
  const hop = path[0]
  // A Path is the network's word: it may not choose a flow of ours.
  if (hop !== undefined)
    return { ...common, proxy: (/<([^>]*)>/.exec(hop)?.[1] ?? hop).replace(/;(?:fl|node)=[^;?]*/gi, '') }
  const place = where(binding.node)
  if (flow !== '' && typeof place === 'object') {
    return { ...common, proxy: `${place.sip};node=${binding.node};fl=${flow}` }
  }
  const known = place === 'gone' ? '' : flow
  if (protocol === 'udp' ? isOpen(binding) : known === '') return common
  const pinned = known === '' ? '' : `;fl=${known}`
  return { ...common, proxy: `sip:${formatHost(source.address)}:${source.port};transport=${protocol}${pinned}` }
}
