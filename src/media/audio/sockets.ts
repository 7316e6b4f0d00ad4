import { randomInt } from 'node:crypto'
import { createSocket, type RemoteInfo, type Socket, type SocketOptions } from 'node:dgram'
import { isIPv4, isIPv6 } from 'node:net'
import { Refusal } from '../../errors.ts'
import { bindDirect } from './direct.ts'
import type { Libc } from './libc.ts'

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

/** A bound socket of the audio thread. */
export interface MediaSocket {
  readonly address: string
  readonly port: number
  /** Who takes each datagram, before the next one is read, and who is told of errors of the system. */
  receive(take: (bytes: Buffer, from: RemoteInfo) => void, fail: () => void): void
  /** Takes what has come, of a flood the first part, and says how many; only where a socket can be read so. */
  read?(): number
  send(bytes: Buffer, length: number, port: number, address: string): void
  /** To where it is connected. */
  sendConnected(bytes: Buffer, length: number): void
  /** Rejects with the system's error. */
  connect(port: number, address: string): Promise<void>
  disconnect(): void
  /** Bytes that may wait to be taken; the system may grant less. */
  setBuffer(bytes: number): void
  close(): Promise<void>
}

/** Binds a socket. Rejects with the system's error, `EADDRINUSE` when the port is taken. */
function bindNode(address: string, port: number): Promise<MediaSocket> {
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
      resolve(nodeSocket(socket))
    })
  })
}

function nodeSocket(socket: Socket): MediaSocket {
  return {
    ...socket.address(),
    receive(take, fail) {
      socket.on('message', take)
      socket.on('error', fail)
    },
    send: (bytes, length, port, address) => socket.send(bytes, 0, length, port, address),
    sendConnected: (bytes, length) => socket.send(bytes, 0, length),
    connect: (port, address) =>
      new Promise((resolve, reject) => {
        socket.connect(port, address, (error?: Error) => (error ? reject(error) : resolve()))
      }),
    disconnect: () => socket.disconnect(),
    setBuffer: bytes => socket.setRecvBufferSize(bytes),
    close: () => new Promise(resolve => socket.close(resolve)),
  }
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
