import type { AddressWatch } from './interfaces.ts'

/** True for a host that means this server: one of its names, one of its addresses, or the public one. */
export function createIsOwn(
  names: () => string[],
  addresses: AddressWatch,
  publicAddress: string,
): (host: string) => boolean {
  return host => {
    const plain = host.toLowerCase().replace(/^\[|\]$/g, '')
    if (plain === publicAddress && plain !== '') return true
    return names().includes(plain) || addresses.current().some(a => a.address === plain)
  }
}
