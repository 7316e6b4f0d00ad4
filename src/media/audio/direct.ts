import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { EADDRINUSE, EAGAIN, type Libc, placeBytes, writePlace } from './libc.ts'
import type { DirectMediaSocket } from './media-socket.ts'

// A socket that Node watches as any other, and that a thread which sleeps through to its beat reads by itself: one call
// for a datagram, into one standing buffer, in place of all that Node does around it.

const mostBytes = 2048
// One for the whole thread: a packet is dealt with before the next one is read.
const room = Buffer.allocUnsafeSlow(mostBytes + placeBytes + 4)
// A view for each length that came: phones send packets of few lengths, and making one costs as much as reading.
const views: (Buffer | undefined)[] = []
const words = new Int32Array(room.buffer, mostBytes, placeBytes / 4 + 1)

/** Binds an IPv4 socket. Rejects with the system's error, `EADDRINUSE` when the port is taken. */
export function bindDirect(libc: Libc, address: string, port: number): Promise<DirectSocket> {
  const fd = libc.socket()
  if (fd < 0) return Promise.reject(systemError(libc.errno()))
  if (libc.bind(fd, writePlace(address, port)) < 0) {
    const error = systemError(libc.errno())
    libc.close(fd)
    return Promise.reject(error)
  }
  const socket = createSocket('udp4')
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind({ fd, exclusive: true }, () => {
      socket.removeAllListeners('error')
      resolve(new DirectSocket(libc, fd, socket))
    })
  })
}

export class DirectSocket implements DirectMediaSocket {
  readonly port: number
  readonly address: string
  readonly fd: number
  readonly #libc: Libc
  readonly #socket: Socket
  readonly #at: number
  #take: (bytes: Buffer, from: RemoteInfo) => void = () => {}
  #fail: () => void = () => {}
  // Where the last datagram came from: the place as the system writes it, and as we do.
  #low = 0
  #high = 0
  #from: RemoteInfo = { address: '', family: 'IPv4', port: 0, size: 0 }
  #toAddress = ''
  #toPort = -1
  #to: Buffer | null = null
  #closed = false

  constructor(libc: Libc, fd: number, socket: Socket) {
    this.#libc = libc
    this.fd = fd
    this.#socket = socket
    this.#at = libc.addressOf(room)
    const { address, port } = socket.address()
    this.address = address
    this.port = port
  }

  receive(take: (bytes: Buffer, from: RemoteInfo) => void, fail: () => void): void {
    this.#take = take
    this.#fail = fail
    this.#socket.on('message', take)
    this.#socket.on('error', fail)
  }

  read(most: number): number {
    const libc = this.#libc
    const place = this.#at + mostBytes
    let count = 0
    for (; count < most && !this.#closed; count++) {
      words[placeBytes / 4] = placeBytes
      const size = libc.receive(this.fd, this.#at, mostBytes, place, place + placeBytes)
      if (size < 0) {
        // An ICMP message is told once; what else is there waits for the loop of events.
        if (libc.errno() !== EAGAIN) this.#fail()
        return count
      }
      if (words[0] !== this.#low || words[1] !== this.#high) this.#meet()
      this.#take((views[size] ??= room.subarray(0, size)), this.#from)
    }
    return count
  }

  send(bytes: Buffer, length: number, port: number, address: string): void {
    if (this.#closed) return
    if (port !== this.#toPort || address !== this.#toAddress) {
      this.#to = writePlace(address, port)
      this.#toPort = port
      this.#toAddress = address
    }
    this.#put(bytes, length, this.#to)
  }

  sendConnected(bytes: Buffer, length: number): void {
    if (!this.#closed) this.#put(bytes, length, null)
  }

  connect(port: number, address: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.connect(port, address, (error?: Error) => (error ? reject(error) : resolve()))
    })
  }

  disconnect(): void {
    this.#socket.disconnect()
  }

  setBuffer(bytes: number): void {
    this.#socket.setRecvBufferSize(bytes)
  }

  close(): Promise<void> {
    // The number means another socket as soon as it is closed.
    this.#closed = true
    return new Promise(resolve => this.#socket.close(resolve))
  }

  #put(bytes: Buffer, length: number, place: Buffer | null): void {
    // Sound that the system has no room for now is of no use later.
    if (this.#libc.send(this.fd, bytes, length, place) < 0) this.#fail()
  }

  #meet(): void {
    this.#low = words[0]!
    this.#high = words[1]!
    const ip = mostBytes + 4
    this.#from = {
      address: `${room[ip]}.${room[ip + 1]}.${room[ip + 2]}.${room[ip + 3]}`,
      family: 'IPv4',
      port: room.readUInt16BE(mostBytes + 2),
      size: 0,
    }
  }
}

function systemError(errno: number): NodeJS.ErrnoException {
  const code = errno === EADDRINUSE ? 'EADDRINUSE' : `errno ${errno}`
  return Object.assign(new Error(`no socket: ${code}`), { errno: -errno, code })
}
