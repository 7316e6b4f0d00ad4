import { createSocket } from 'node:dgram'
import type { DecodedPacket, Packet, Question as WireQuestion } from 'dns-packet'
import createMulticastDns, { type RemoteInfoOutgoing } from 'multicast-dns'
import type { Logger } from '../log.ts'
import type { Question, WireRecord } from './records.ts'

/** A received packet. */
export interface Received {
  id: number
  kind: 'query' | 'response'
  /** More known answers follow in further packets (RFC 6762 section 7.2). */
  truncated: boolean
  questions: Question[]
  answers: WireRecord[]
  authorities: WireRecord[]
  additionals: WireRecord[]
}

/** A packet to send. Records with `flush` carry the cache-flush bit. */
export interface Sent {
  id?: number
  kind: 'query' | 'response'
  questions?: { name: string; type: string }[]
  answers?: (WireRecord & { flush?: boolean })[]
  authorities?: WireRecord[]
  additionals?: (WireRecord & { flush?: boolean })[]
}

export interface Sender {
  address: string
  port: number
}

/** One socket on one interface, for one address family. */
export interface Link {
  /** Sends to the multicast group, or to one host; the promise rejects when the system refuses. */
  send(packet: Sent, to?: Sender): Promise<void>
  close(): Promise<void>
}

export interface LinkEvents {
  ready(): void
  packet(packet: Received, from: Sender): void
  /** The link is of no use any more. */
  failed(cause: Error): void
}

/** Where a link is opened. */
export interface LinkPlace {
  interface: string
  family: 4 | 6
  /** An address of the interface, of that family. */
  address: string
}

export type OpenLink = (place: LinkPlace, events: LinkEvents) => Link

/** The mDNS port. A query from any other port comes from a resolver that knows only unicast DNS (RFC 6762 section 6.7). */
export const mdnsPort = 5353
const groups = { 4: '224.0.0.251', 6: 'ff02::fb' } as const

type Parts = Required<Omit<DecodedPacket, 'type'>>
type Decoded = { [K in keyof Parts]: NonNullable<Parts[K]> } & { type: string; opcode: string; rcode: string }

function received(packet: Decoded): Received {
  const records = (list: Decoded['answers']) => list as unknown as WireRecord[]
  return {
    id: packet.id,
    kind: packet.type === 'query' ? 'query' : 'response',
    truncated: packet.flag_tc,
    questions: packet.questions.map(q => ({
      name: q.name,
      type: q.type,
      // dns-packet knows no class with the QU bit set, and gives its number in the name.
      unicast: (q.class as string) === 'UNKNOWN_32769' || (q.class as string) === 'UNKNOWN_33023',
    })),
    answers: records(packet.answers),
    authorities: records(packet.authorities),
    additionals: records(packet.additionals),
  }
}

function outgoing(packet: Sent): Packet {
  return {
    id: packet.id ?? 0,
    questions: (packet.questions ?? []).map(q => ({ name: q.name, type: q.type as WireQuestion['type'] })),
    answers: (packet.answers ?? []) as unknown as NonNullable<Packet['answers']>,
    authorities: (packet.authorities ?? []) as unknown as NonNullable<Packet['authorities']>,
    additionals: (packet.additionals ?? []) as unknown as NonNullable<Packet['additionals']>,
  }
}

/**
 * Opens real sockets. They are bound to the group's address and not to every address, so that on a host where avahi
 * runs too the packets that are meant for avahi alone are not taken from it; the port is shared (RFC 6762 section 15).
 */
export function createOpenLink(log: Logger): OpenLink {
  return (place, events) => {
    const ip = groups[place.family]
    const v6 = place.family === 6
    const zone = `%${place.interface}`
    const bind = process.platform === 'win32' ? (v6 ? '::' : '0.0.0.0') : v6 ? ip + zone : ip
    const socket = createSocket({ type: v6 ? 'udp6' : 'udp4', reuseAddr: true })
    // Unicast answers too go out with 255 hops (RFC 6762 section 11); multicast-dns sets that for multicast only.
    socket.on('listening', () => socket.setTTL(255))
    const mdns = createMulticastDns({
      socket,
      type: v6 ? 'udp6' : 'udp4',
      ip,
      bind,
      interface: v6 ? `::${zone}` : place.address,
    })
    let closing: Promise<void> | undefined

    // In the next turn: multicast-dns is still setting up its socket when it warns, and must not find it closed.
    const fail = (cause: Error) => {
      setImmediate(() => {
        if (!closing) events.failed(cause)
      })
    }
    mdns.on('error', fail)
    mdns.on('warning', (cause: NodeJS.ErrnoException) => {
      // multicast-dns warns of malformed packets, which concern nobody, and of a group that could not be joined.
      if (cause.syscall) fail(cause)
      else log.debug({ err: cause, interface: place.interface }, 'mdns packet is malformed')
    })
    mdns.on('ready', () => {
      if (!closing) events.ready()
    })
    mdns.on('packet', (packet: Decoded, from: Sender) => {
      // Other operations and failures are to be ignored (RFC 6762 sections 18.3 and 18.11).
      if (closing || packet.opcode !== 'QUERY' || packet.rcode !== 'NOERROR') return
      try {
        events.packet(received(packet), { address: from.address, port: from.port })
      } catch (err) {
        log.debug({ err, interface: place.interface }, 'mdns packet is malformed')
      }
    })

    return {
      send(packet, to) {
        const target: RemoteInfoOutgoing | undefined = to && { address: to.address, port: to.port }
        return new Promise((resolve, reject) => {
          const done = (err: Error | null) => (err && !closing ? reject(err) : resolve())
          if (packet.kind === 'query') mdns.query(outgoing(packet) as { questions: WireQuestion[] }, target, done)
          else mdns.respond(outgoing(packet) as { answers: NonNullable<Packet['answers']> }, target, done)
        })
      },
      close() {
        closing ??= new Promise(resolve => mdns.destroy(() => resolve()))
        return closing
      },
    }
  }
}
