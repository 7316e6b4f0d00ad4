import { createSocket } from 'node:dgram'
import { BlockList, isIPv6 } from 'node:net'
import type { LocalAddress } from '../../../network/interfaces.ts'

/**
 * The address of ours to send from: the target itself when it is ours, else the one with the longest prefix that
 * holds the target, else the one that the default route uses, else any that is not loopback.
 */
export function chooseSource(
  target: string,
  own: readonly LocalAddress[],
  defaults: readonly string[],
): LocalAddress | undefined {
  const family = isIPv6(target) ? 6 : 4
  const usable = own.filter(a => a.family === family)
  const near = usable
    .filter(a => a.address === target || holds(a, target))
    .sort((a, b) => Number(b.address === target) - Number(a.address === target) || b.prefix - a.prefix)
  return near[0] ?? usable.find(a => defaults.includes(a.address)) ?? usable.find(a => !a.internal) ?? usable[0]
}

function holds(own: LocalAddress, target: string): boolean {
  const net = new BlockList()
  const family = own.family === 6 ? 'ipv6' : 'ipv4'
  net.addSubnet(own.address, own.prefix, family)
  return net.check(target, family)
}

/** Which address the system would send from to the Internet; undefined without a default route. Nothing is sent. */
export function findDefaultSource(family: 4 | 6): Promise<string | undefined> {
  return new Promise(resolve => {
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6')
    const answer = (address?: string) => {
      socket.close()
      resolve(address)
    }
    socket.once('error', () => answer())
    // Addresses kept for documentation (RFC 5737, RFC 3849): connecting a UDP socket only asks the routing table.
    socket.connect(9, family === 4 ? '192.0.2.1' : '2001:db8::1', () => answer(socket.address().address))
  })
}
