import { randomInt } from 'node:crypto'
import { createSocket, type Socket, type SocketOptions } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { Refusal } from '../../errors.ts'

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

/** Binds a socket. Rejects with the system's error, `EADDRINUSE` when the port is taken. */
function bindSocket(address: string, port: number, receiveBytes: number): Promise<Socket> {
  const options: SocketOptions = { type: isIPv6(address) ? 'udp6' : 'udp4' }
  const family = isIPv6(address) ? 6 : 4
  // Addresses are never names here: Node's own look-up would put each send off to the next turn of the event loop.
  options.lookup = (host, _options, callback) => callback(null, host, family)
  const socket = createSocket(options)
  return new Promise((resolve, reject) => {
    socket.once('error', error => {
      socket.close()
      reject(error)
    })
    socket.bind({ port, address, exclusive: true }, () => {
      socket.removeAllListeners('error')
      // The system may grant less.
      socket.setRecvBufferSize(receiveBytes)
      resolve(socket)
    })
  })
}

export interface Ports {
  /** An RTP and an RTCP socket side by side. Refuses `media-unavailable` when the range is used up. */
  openPair(address: string, receiveBytes: number): Promise<{ rtp: Socket; rtcp: Socket }>
  openOne(address: string, receiveBytes: number): Promise<Socket>
  /** Gives back what `open…` gave. */
  close(...sockets: Socket[]): Promise<void>
}

/** `random(n)` gives 0 to n-1: where in the range the first one is looked for, so that ports can not be guessed. */
export function createPorts(range: PortRange, random: (n: number) => number = randomInt): Ports {
  // `address:port`, from before a bind until after the close.
  const used = new Set<string>()
  const bind = async (address: string, port: number, receiveBytes: number) => {
    const name = `${address}:${port}`
    if (used.has(name)) return undefined
    used.add(name)
    try {
      return await bindSocket(address, port, receiveBytes)
    } catch (error) {
      used.delete(name)
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined
      throw error
    }
  }
  const close = async (...sockets: Socket[]) => {
    for (const socket of sockets) {
      const { address, port } = socket.address()
      await new Promise<void>(resolve => socket.close(resolve))
      used.delete(`${address}:${port}`)
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
