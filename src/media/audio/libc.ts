import { endianness } from 'node:os'

// The few calls of the system's C library that the audio thread makes itself, through koffi, for packets that are read
// and sent many at a time. They are for Linux on machines of 64 bits, where `sockaddr_in` and these numbers are the same.

export interface Libc {
  /** An IPv4 datagram socket, as its number; -1 when there is none to be had. */
  socket(): number
  /** 0, or -1 with `errno`. */
  bind(fd: number, place: Buffer): number
  close(fd: number): number
  /** Reads one datagram without waiting: `into` and `from` are addresses, and `length` one of an int that holds `from`'s. */
  receive(fd: number, into: number, most: number, from: number, length: number): number
  /** Sends without waiting, to where the socket is connected when `place` is null. */
  send(fd: number, bytes: Buffer, length: number, place: Buffer | null): number
  /** How many of so many `pollfd`s have something, without waiting; it writes what into each. */
  poll(entries: Buffer, count: number): number
  /** The number of the last error of a call that gave -1. */
  errno(): number
  addressOf(buffer: Buffer): number
}

export const placeBytes = 16
export const [EAGAIN, EADDRINUSE] = [11, 98]

const AF_INET = 2
const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const MSG_DONTWAIT = 0x40

/** Undefined where the numbers above are others, or koffi or the library is not there: nothing depends on it. */
export async function loadLibc(): Promise<Libc | undefined> {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch) || endianness() !== 'LE')
    return undefined
  try {
    const { default: koffi } = await import('koffi')
    const library = koffi.load('libc.so.6')
    const socket = library.func('int socket(int, int, int)')
    const bind = library.func('int bind(int, void *, uint32_t)')
    const close = library.func('int close(int)')
    const receive = library.func('intptr_t recvfrom(int, uintptr_t, size_t, int, uintptr_t, uintptr_t)')
    const poll = library.func('int poll(void *, unsigned long, int)')
    const send = library.func('intptr_t sendto(int, void *, size_t, int, void *, uint32_t)')
    return {
      socket: () => socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) as number,
      bind: (fd, place) => bind(fd, place, placeBytes) as number,
      close: fd => close(fd) as number,
      receive: (fd, into, most, from, length) => receive(fd, into, most, MSG_DONTWAIT, from, length) as number,
      send: (fd, bytes, length, place) =>
        send(fd, bytes, length, MSG_DONTWAIT, place, place ? placeBytes : 0) as number,
      poll: (entries, count) => poll(entries, count, 0) as number,
      errno: () => koffi.errno(),
      addressOf: buffer => Number(koffi.address(buffer)),
    }
  } catch (error) {
    // An optional package: without it, or on a system without glibc, Node's own sockets do the same.
    if (error instanceof Error) return undefined
    throw error
  }
}

/** An IPv4 place as a `sockaddr_in`. */
export function writePlace(address: string, port: number): Buffer {
  // Slow: outside of V8's heap and of the shared pool, so that it stays where it is.
  const place = Buffer.allocUnsafeSlow(placeBytes).fill(0)
  place.writeUInt16LE(AF_INET)
  place.writeUInt16BE(port, 2)
  for (const [i, part] of address.split('.').entries()) place[4 + i] = Number(part)
  return place
}
