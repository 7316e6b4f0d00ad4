import { createSocket } from 'node:dgram'
import { BlockList, isIPv6 } from 'node:net'
import type { LocalAddress } from '../../../network/interfaces.ts'

export type ChooseSource = (target: string) => LocalAddress | undefined

/**
 * Chooses the address of ours to send from: the target itself when it is ours, else the one with the longest prefix
 * that holds the target, else the one that the default route uses, else any that is not loopback. The tables are made
 * once for each list of addresses, because this is asked for every message that starts a transaction.
 */
export function createSourceChoice(own: readonly LocalAddress[], defaults: readonly string[]): ChooseSource {
  const exact = new Map(own.map(address => [address.address, address]))
  const nets = own
    .map(address => ({ address, family: address.family, holds: netOf(address) }))
    .sort((a, b) => b.address.prefix - a.address.prefix)
  const fallback = (family: 4 | 6) => {
    const usable = own.filter(a => a.family === family)
    return usable.find(a => defaults.includes(a.address)) ?? usable.find(a => !a.internal) ?? usable[0]
  }
  const fallbacks = { 4: fallback(4), 6: fallback(6) }
  return target => {
    const family = isIPv6(target) ? 6 : 4
    const near = exact.get(target) ?? nets.find(net => net.family === family && net.holds(target))?.address
    return near ?? fallbacks[family]
  }
}

function netOf(own: LocalAddress): (target: string) => boolean {
  const net = new BlockList()
  const family = own.family === 6 ? 'ipv6' : 'ipv4'
  net.addSubnet(own.address, own.prefix, family)
  return target => net.check(target, family)
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
