import type { LocalAddress } from '../network/interfaces.ts'
import type { LinkPlace } from './link.ts'

/** Where sockets are needed: one for each family of each real interface, with its first address. */
export function placesOf(addresses: readonly LocalAddress[]): LinkPlace[] {
  const places = new Map<string, LinkPlace>()
  for (const { interface: name, family, address, internal } of addresses) {
    const key = `${name} ${family}`
    if (!internal && !places.has(key)) places.set(key, { interface: name, family, address })
  }
  return [...places.values()]
}

function bits(address: string): number {
  return address.split('.').reduce((sum, part) => (sum << 8) | Number(part), 0)
}

/**
 * Says whether a packet from `source` came over this link. An IPv4 socket hears the multicast of every interface, so
 * the subnet of the sender has to tell (RFC 6762 section 11); an IPv6 socket is bound to its interface.
 */
export function onLink(source: string, place: LinkPlace, addresses: readonly LocalAddress[]): boolean {
  if (place.family === 6) return true
  return addresses.some(a => {
    if (a.family !== 4 || a.interface !== place.interface) return false
    const mask = a.prefix === 0 ? 0 : -1 << (32 - a.prefix)
    return (bits(source) & mask) === (bits(a.address) & mask)
  })
}
