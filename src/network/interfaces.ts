import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'

/** One address of this machine. IPv6 link-local addresses carry their zone in `scope`. */
export interface LocalAddress {
  interface: string
  address: string
  family: 4 | 6
  netmask: string
  prefix: number
  internal: boolean
  scope: number
}

// Names that Docker, libvirt, container runtimes and VPNs give. Their addresses mean nothing to a phone on the Wi-Fi.
const virtual =
  /^(docker|br-|veth|virbr|vnet|lxc|lxd|cni|flannel|cali|podman|tun|tap|wg|utun|tailscale|zt|ppp|ifb|dummy|vmnet|vboxnet|bridge|awdl|llw|kube|nodelocaldns)/

export function isVirtual(name: string): boolean {
  return virtual.test(name)
}

/** All addresses of this machine as the operating system lists them now. */
export function allAddresses(table: NodeJS.Dict<NetworkInterfaceInfo[]> = networkInterfaces()): LocalAddress[] {
  return Object.entries(table).flatMap(([name, infos]) =>
    (infos ?? []).map(info => ({
      interface: name,
      address: info.address,
      family: info.family === 'IPv6' ? 6 : 4,
      netmask: info.netmask,
      prefix: Number(info.cidr?.split('/')[1] ?? (info.family === 'IPv6' ? 128 : 32)),
      internal: info.internal,
      scope: info.family === 'IPv6' ? (info.scopeid ?? 0) : 0,
    })),
  )
}

/**
 * The addresses that the server uses: those named in `listen` (addresses or interface names), or every address of
 * the real interfaces and loopback. IPv6 link-local addresses are left out: a SIP URI cannot carry a zone (RFC 3986).
 */
export function chooseAddresses(
  all: LocalAddress[],
  config: { listen: readonly string[]; include: readonly string[] },
): LocalAddress[] {
  const usable = all.filter(a => !(a.family === 6 && a.address.toLowerCase().startsWith('fe80')))
  if (config.listen.length > 0) {
    return usable.filter(a => config.listen.includes(a.address) || config.listen.includes(a.interface))
  }
  return usable.filter(a => a.internal || !isVirtual(a.interface) || config.include.includes(a.interface))
}

export interface AddressWatch {
  current(): LocalAddress[]
  /** Calls `listener` with the new list whenever an address came or went; the returned function ends that. */
  onChange(listener: (now: LocalAddress[]) => void): () => void
  close(): void
}

/** Node has no event for address changes, so the list is read every `everyMs`. */
export function watchAddresses(
  config: { listen: readonly string[]; include: readonly string[] },
  everyMs = 2000,
  read: () => LocalAddress[] = allAddresses,
): AddressWatch {
  const listeners = new Set<(now: LocalAddress[]) => void>()
  const key = (list: LocalAddress[]) =>
    list
      .map(a => `${a.interface} ${a.address}/${a.prefix}`)
      .sort()
      .join()
  let now = chooseAddresses(read(), config)
  const timer = setInterval(() => {
    const next = chooseAddresses(read(), config)
    if (key(next) === key(now)) return
    now = next
    for (const listener of listeners) listener(next)
  }, everyMs)
  timer.unref()
  return {
    current: () => now,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: () => clearInterval(timer),
  }
}
