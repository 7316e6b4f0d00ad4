import { createSocket, type Socket } from 'node:dgram'
import type { LocalAddress } from '../../../network/interfaces.ts'
import type { Endpoint } from './flows.ts'
import type { Receiver } from './receive.ts'
import { answerStun, isStun, packAddress } from './stun.ts'
import type { Flow } from './transport.ts'

// Requests come in bursts after a power cut; the system caps this to what it allows.
const receiveBufferBytes = 4 << 20

export interface UdpDeps {
  receiver: Receiver
  allowed(address: string): boolean
  onDropped(address: string): void
  onError(error: Error, local: Endpoint): void
  advertise(local: Endpoint, remote: string): { host: string; port: number }
}

export interface UdpListener {
  readonly local: Endpoint
  readonly closed: boolean
  flowTo(remote: Endpoint): Flow
  close(): Promise<void>
}

interface UdpSender extends UdpListener {
  send(bytes: Buffer, flow: Flow, failed?: (error: Error) => void): void
}

/**
 * One way to one peer over UDP. It holds no state of its own, so that strangers can not make a table of them grow: the
 * id spells out both ends, and a flow is made anew from it whenever it is needed, also after a restart.
 */
class UdpFlow implements Flow {
  readonly protocol = 'udp'
  readonly reliable = false
  readonly local: Endpoint
  readonly remote: Endpoint
  readonly #listener: UdpSender
  readonly #deps: UdpDeps

  constructor(listener: UdpSender, remote: Endpoint, deps: UdpDeps) {
    this.local = listener.local
    this.remote = remote
    this.#listener = listener
    this.#deps = deps
  }

  get id(): string {
    return formatUdpId(this.local, this.remote)
  }
  get closed(): boolean {
    return this.#listener.closed
  }
  get advertised(): { host: string; port: number } {
    return this.#deps.advertise(this.local, this.remote.address)
  }
  send(bytes: Buffer, failed?: (error: Error) => void): void {
    this.#listener.send(bytes, this, failed)
  }
  close(): void {}
}

/** Flow id of two ends: 'u', then ports and addresses in base64url. */
export function formatUdpId(local: Endpoint, remote: Endpoint): string {
  const ports = Buffer.allocUnsafe(4)
  ports.writeUInt16BE(local.port, 0)
  ports.writeUInt16BE(remote.port, 2)
  return `u${Buffer.concat([ports, packAddress(local.address), packAddress(remote.address)]).toString('base64url')}`
}

/** The remote end that a UDP flow id of `local` names; undefined when the id is of another socket, or none. */
export function readUdpId(id: string, local: Endpoint): Endpoint | undefined {
  if (id[0] !== 'u' || id.length > 60) return undefined
  const bytes = Buffer.from(id.slice(1), 'base64url')
  const own = packAddress(local.address)
  const size = own.length
  if (bytes.length !== 4 + 2 * size || bytes.readUInt16BE(0) !== local.port) return undefined
  if (!bytes.subarray(4, 4 + size).equals(own)) return undefined
  const remote = bytes.subarray(4 + size)
  return { address: size === 4 ? remote.join('.') : formatIpv6(remote), port: bytes.readUInt16BE(2) }
}

function formatIpv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16))
  // URL writes the shortest form, the one that sockets report too.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

/** Binds one UDP socket. Rejects with the system's error when the port is taken. */
export async function openUdp(address: LocalAddress, port: number, deps: UdpDeps): Promise<UdpListener> {
  const socket = createSocket({
    type: address.family === 6 ? 'udp6' : 'udp4',
    ipv6Only: address.family === 6,
    recvBufferSize: receiveBufferBytes,
    // Targets are numeric already; the default would ask the resolver for each datagram.
    lookup: (host, _options, done) => done(null, host, address.family),
  })
  await bind(socket, address.address, port)
  return serve(socket, address, deps)
}

function bind(socket: Socket, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', error => {
      socket.close()
      reject(error)
    })
    socket.bind({ address, port, exclusive: true }, () => {
      socket.removeAllListeners('error')
      resolve()
    })
  })
}

function serve(socket: Socket, address: LocalAddress, deps: UdpDeps): UdpListener {
  const local = { address: address.address, port: socket.address().port }
  let closed = false
  // An error without a callback concerns one datagram that is lost, which UDP may do at any time.
  socket.on('error', error => deps.onError(error, local))
  const listener: UdpSender = {
    local,
    get closed() {
      return closed
    },
    flowTo: remote => new UdpFlow(listener, remote, deps),
    send(bytes, flow, failed) {
      const { address, port } = flow.remote
      if (closed || port < 1 || port > 65535) {
        const why = closed ? `the UDP socket ${local.address}:${local.port} is closed` : `${port} is no port`
        if (failed) process.nextTick(failed, new Error(why))
        return
      }
      deps.receiver.sent(bytes, flow)
      socket.send(bytes, port, address, error => {
        if (error) failed?.(error)
      })
    },
    close: () =>
      new Promise<void>(resolve => {
        if (closed) return resolve()
        closed = true
        socket.close(resolve)
      }),
  }
  socket.on('message', (bytes, { address, port }) => {
    if (!deps.allowed(address)) return deps.onDropped(address)
    if (isStun(bytes)) {
      const answer = answerStun(bytes, { address, port })
      if (answer && port > 0) socket.send(answer, port, address)
    } else if (port > 0 && !isKeepAlive(bytes)) {
      deps.receiver.message(bytes, listener.flowTo({ address, port }))
    }
  })
  return listener
}

/** Phones keep their NAT binding open with datagrams of a few line ends or zero bytes. */
function isKeepAlive(bytes: Buffer): boolean {
  if (bytes.length > 4) return false
  for (const byte of bytes) if (byte !== 0x0d && byte !== 0x0a && byte !== 0) return false
  return true
}
