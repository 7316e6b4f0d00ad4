import type { Binding } from '../location/store.ts'
import type { DialogState } from '../sip/dialogs.ts'
import { bytes } from '../sip/engine/message/message.ts'
import { parseUri } from '../sip/engine/message/uri.ts'
import { isLive, targetOf, type Whereabouts } from './route.ts'
import type { Device } from './snapshot.ts'

/** How a phone of another node's call can be asked something now. */
export interface Way {
  /** Its contact. */
  uri: string
  /** Next hop; undefined: the contact itself. */
  proxy: string | undefined
  /** The connection that it goes over; '' for the contact itself. */
  flow: string
  /** Whether the phone itself has chosen this way since; a guess may fail without harm. */
  sure: boolean
}

/**
 * The way to a phone whose node is gone: another registration of the same device here (RFC 5626), else its contact itself
 * where it came over UDP with no NAT before it, else a connection that another node holds. Undefined: it has to register anew.
 */
export function findWay(
  { target, source }: DialogState,
  device: Device,
  bindings: readonly Binding[],
  where: Whereabouts,
  /** Flows that were tried already. */
  failed: readonly string[] = [],
): Way | undefined {
  const live = ofDevice({ ...device, contact: device.contact || target }, bindings)
    .filter(binding => isLive(binding, where) && !failed.includes(binding.flow))
    .toSorted((a, b) => b.updatedAt - a.updatedAt)
  const here = live.find(({ node }) => where(node) === 'here')
  // The other node may be just about to go, as one that gives its calls away is.
  const direct = source.protocol === 'udp' && parseUri(bytes(target))?.host === source.address
  const binding = here ?? (direct ? undefined : live[0])
  if (binding === undefined) return direct ? { uri: target, proxy: undefined, flow: '', sure: false } : undefined
  const { uri, proxy } = targetOf(binding, where)
  return { uri, proxy, flow: binding.flow, sure: true }
}

/** The bindings of the device; a phone that tells nothing of itself is the only one of its user. */
function ofDevice(device: Device, bindings: readonly Binding[]): readonly Binding[] {
  const { contact, instance, registration } = device
  // A phone without an instance id may be known by another binding of the one that we know its contact by.
  const known = bindings.find(binding => binding.contact === contact)
  const [id, call] = [instance ?? known?.instance, registration ?? known?.callId]
  const own = bindings.filter(binding => {
    if (id !== undefined && binding.instance !== undefined) return binding.instance === id
    return binding.contact === contact || binding.callId === call
  })
  return own.length === 0 && bindings.length === 1 ? bindings : own
}
