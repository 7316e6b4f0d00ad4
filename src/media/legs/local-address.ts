import { BlockList, isIPv6 } from 'node:net'
import type { LocalAddress } from '../../network/interfaces.ts'

/** Where a socket is opened, and what the SDP says: different only behind a router that forwards to us. */
export interface OwnAddress {
  bind: string
  announce: string
}

// What no router on the Internet carries, so a peer with such an address reaches us without our public one.
const inside = new BlockList()
inside.addSubnet('10.0.0.0', 8)
inside.addSubnet('172.16.0.0', 12)
inside.addSubnet('192.168.0.0', 16)
inside.addSubnet('169.254.0.0', 16)
inside.addSubnet('100.64.0.0', 10)
inside.addSubnet('fc00::', 7, 'ipv6')
inside.addSubnet('fe80::', 10, 'ipv6')

/**
 * Our address for the media of a peer: loopback for loopback, else that of the interface in whose subnet the peer is, else
 * the public one for peers from the Internet, else our first of the peer's family. Undefined when we have none at all.
 */
export function addressTowards(
  peer: string,
  addresses: readonly LocalAddress[],
  publicAddress: string,
): OwnAddress | undefined {
  const plain = peer.replace(/^\[|\]$/g, '').replace(/^::ffff:(?=[\d.]+$)/i, '')
  const type = isIPv6(plain) ? 'ipv6' : 'ipv4'
  const family = addresses.filter(a => a.family === (type === 'ipv6' ? 6 : 4))
  const outside = family.filter(a => !a.internal)
  const same = (address: string) => ({ bind: address, announce: address })
  if (plain === '::1' || plain.startsWith('127.')) {
    return same(family.find(a => a.address === plain)?.address ?? (type === 'ipv6' ? '::1' : '127.0.0.1'))
  }
  const near = outside.find(a => contains(a, plain, type))
  if (near !== undefined) return same(near.address)
  const first = outside[0] ?? addresses.find(a => !a.internal) ?? family[0] ?? addresses[0]
  if (first === undefined) return undefined
  const announce = publicAddress !== '' && !inside.check(plain, type) ? publicAddress : first.address
  return { bind: first.address, announce }
}

function contains(own: LocalAddress, peer: string, type: 'ipv4' | 'ipv6'): boolean {
  const net = new BlockList()
  net.addSubnet(own.address, own.prefix, type)
  return net.check(peer, type)
}
