import { createSocket, type RemoteInfo, type Socket, type SocketOptions } from 'node:dgram'
import { isIPv6 } from 'node:net'

/** A bound socket of the audio thread. */
export interface MediaSocket {
  readonly address: string
  readonly port: number
  /** Who takes each datagram, before the next one is read, and who is told of errors of the system. */
  receive(take: (bytes: Buffer, from: RemoteInfo) => void, fail: () => void): void
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

/** One that can be read without the loop of events. */
export interface DirectMediaSocket extends MediaSocket {
  /** Its number in this process. */
  readonly fd: number
  /** Takes so many datagrams of those that have come, and says how many. */
  read(most: number): number
}

export const isDirect = (socket: MediaSocket): socket is DirectMediaSocket => 'fd' in socket

/** Binds a socket of Node's. Rejects with the system's error, `EADDRINUSE` when the port is taken. */
export function bindNode(address: string, port: number): Promise<MediaSocket> {
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
