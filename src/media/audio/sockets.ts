import { randomInt } from 'node:crypto'
import { isIPv4 } from 'node:net'
import { Refusal } from '../../errors.ts'
import { bindDirect } from './direct.ts'
import type { Libc } from './libc.ts'
import { bindNode, type MediaSocket } from './media-socket.ts'

// UDP sockets of the audio thread, out of configured ranges. RTP ports are even and RTCP's the next (RFC 3550 section 11).

export interface PortRange {
  first: number
  last: number
}

/** Reads `45000-45999`. Throws a Refusal `bad-config` when that is no range of at least two ports. */
export function parseRange(text: string): PortRange {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text.trim())
  const [first, last] = [Number(match?.[1]), Number(match?.[2])]
  if (!match || first < 1 || last > 65535 || last <= first) {
    throw new Refusal('bad-config', `"${text}" is no range of UDP ports such as 45000-45999`)
  }
  return { first, last }
}

export interface Ports {
  /** An RTP and an RTCP socket side by side. Refuses `media-unavailable` when the range is used up. */
  openPair(address: string, receiveBytes: number): Promise<{ rtp: MediaSocket; rtcp: MediaSocket }>
  openOne(address: string, receiveBytes: number): Promise<MediaSocket>
  /** Gives back what `open…` gave. */
  close(...sockets: MediaSocket[]): Promise<void>
}

export interface PortsOptions {
  /** Gives 0 to n-1: where in the range the first one is looked for, so that ports can not be guessed. */
  random?: (n: number) => number
  /** With it, sockets of IPv4 can be read and sent from by calls of our own. */
  libc?: Libc | undefined
}

export function createPorts(range: PortRange, { random = randomInt, libc }: PortsOptions = {}): Ports {
  // `address:port`, from before a bind until after the close.
  const used = new Set<string>()
  const bind = async (address: string, port: number, receiveBytes: number) => {
    const name = `${address}:${port}`
    if (used.has(name)) return undefined
    used.add(name)
    try {
      const socket = await (libc && isIPv4(address) ? bindDirect(libc, address, port) : bindNode(address, port))
      socket.setBuffer(receiveBytes)
      return socket
    } catch (error) {
      used.delete(name)
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined
      throw error
    }
  }
  const close = async (...sockets: MediaSocket[]) => {
    for (const socket of sockets) {
      await socket.close()
      used.delete(`${socket.address}:${socket.port}`)
    }
  }
  const search = async <T>(step: number, open: (port: number) => Promise<T | undefined>): Promise<T> => {
    const first = range.first + (range.first % step)
    const places = Math.floor((range.last - first + 1) / step)
    const start = places > 0 ? random(places) : 0
    for (let i = 0; i < places; i++) {
      const found = await open(first + step * ((start + i) % places))
      if (found) return found
    }
    throw new Refusal('media-unavailable', `all UDP ports ${range.first}-${range.last} are in use`)
  }
  return {
    openPair: (address, receiveBytes) =>
      search(2, async port => {
        const rtp = await bind(address, port, receiveBytes)
        if (!rtp) return undefined
        const rtcp = await bind(address, port + 1, receiveBytes)
        if (rtcp) return { rtp, rtcp }
        await close(rtp)
        return undefined
      }),
    openOne: (address, receiveBytes) => search(1, port => bind(address, port, receiveBytes)),
    close,
  }
}
