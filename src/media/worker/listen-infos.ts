import { isIPv6 } from 'node:net'
import type { types } from 'mediasoup'
import type { LocalAddress } from '../../network/interfaces.ts'

/**
 * Where a worker listens for browsers: UDP and TCP on every address, those of the LAN first, because ICE prefers what is
 * named first. The public address is announced beside the first address of the LAN of its family: a router forwards to it.
 */
export function listenInfos(
  addresses: readonly LocalAddress[],
  port: number,
  publicAddress: string,
): types.TransportListenInfo[] {
  const family = isIPv6(publicAddress) ? 6 : 4
  const sorted = [...addresses.filter(a => !a.internal), ...addresses.filter(a => a.internal)]
  const forwarded = publicAddress === '' ? undefined : sorted.find(a => !a.internal && a.family === family)
  const announced = { announcedAddress: publicAddress, exposeInternalIp: true }
  return sorted.flatMap(one =>
    (['udp', 'tcp'] as const).map(protocol => ({
      protocol,
      ip: one.address,
      port,
      ...(one === forwarded ? announced : {}),
      ...(one.family === 6 ? { flags: { ipv6Only: true } } : {}),
    })),
  )
}
