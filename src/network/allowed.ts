import { BlockList, isIPv6 } from 'node:net'

// Loopback, RFC 1918, RFC 6598 (shared), link-local and unique-local: a home or office network.
const lan: [string, number, 'ipv4' | 'ipv6'][] = [
  ['127.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  ['::1', 128, 'ipv6'],
  ['fc00::', 7, 'ipv6'],
  ['fe80::', 10, 'ipv6'],
]

/**
 * Says whether an address may talk to this server: loopback, private and link-local ones may, and those in `allow`
 * (CIDR, or a single address). Throws a TypeError when an entry of `allow` is no CIDR.
 */
export function createAllowed(allow: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const [net, prefix, family] of lan) list.addSubnet(net, prefix, family)
  for (const entry of allow) {
    const [net = '', prefix] = entry.split('/')
    const family = isIPv6(net) ? 'ipv6' : 'ipv4'
    try {
      list.addSubnet(net, Number(prefix ?? (family === 'ipv6' ? 128 : 32)), family)
    } catch (cause) {
      throw new TypeError(`network.allow: '${entry}' is no address range such as 192.0.2.0/24`, { cause })
    }
  }
  return address => {
    const plain = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
    return list.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4')
  }
}
