import { randomBytes } from 'node:crypto'
import type { Protocol } from '../../../events.ts'
import type { Flow, Target } from './transport.ts'

// Every connection of TCP, TLS, WS and WSS, whoever opened it: found by its id and by its peer, counted per address
// from the accept on, and closed when nothing passes for too long.

// A peer that does not read is given up when this much waits for it.
const mostQueuedBytes = 1 << 20
// How long a closing connection may take to send the rest before it is torn down.
const closingMs = 1000

export interface Endpoint {
  address: string
  port: number
}

/** The socket side of a connection, whatever its protocol. */
export interface Wire {
  /** Bytes handed over that the system has not taken yet. */
  queued(): number
  write(bytes: Buffer, done: (error?: Error | null) => void): void
  /** Closes after what is queued has gone out. */
  end(): void
  destroy(): void
  /** Asks a silent peer for a sign of life, where the protocol has one. */
  probe?(): void
}

export interface ConnectionInfo {
  protocol: Protocol
  local: Endpoint
  remote: Endpoint
  advertised: { host: string; port: number }
  /** The name that the peer's certificate was checked for; undefined when the peer opened the connection. */
  serverName?: string | undefined
}

interface Owner {
  now(): number
  onSent(bytes: Buffer, flow: Flow): void
  onClosing(connection: Connection): void
  onClosed(connection: Connection): void
}

export class Connection implements Flow {
  readonly id: string
  readonly protocol: Protocol
  readonly local: Endpoint
  readonly remote: Endpoint
  readonly reliable = true
  readonly advertised: { host: string; port: number }
  readonly serverName: string | undefined
  /** When bytes last passed, either way, in milliseconds of the table's clock. */
  lastSeen: number
  readonly #wire: Wire
  readonly #owner: Owner
  #closed = false
  #gone = false
  #closing: NodeJS.Timeout | undefined

  constructor(id: string, info: ConnectionInfo, wire: Wire, owner: Owner) {
    this.id = id
    this.protocol = info.protocol
    this.local = info.local
    this.remote = info.remote
    this.advertised = info.advertised
    this.serverName = info.serverName
    this.#wire = wire
    this.#owner = owner
    this.lastSeen = owner.now()
  }

  get closed(): boolean {
    return this.#closed
  }

  touch(): void {
    this.lastSeen = this.#owner.now()
  }

  send(bytes: Buffer, failed?: (error: Error) => void): void {
    if (this.#closed) {
      if (failed) process.nextTick(failed, new Error(`connection ${this.id} is closed`))
      return
    }
    const queued = this.#wire.queued()
    if (queued > 0 && queued + bytes.length > mostQueuedBytes) {
      if (failed) process.nextTick(failed, new Error(`the peer of connection ${this.id} does not read`))
      this.destroy()
      return
    }
    this.touch()
    this.#owner.onSent(bytes, this)
    this.#wire.write(bytes, error => {
      if (error) failed?.(error)
    })
  }

  /** Answers a keep-alive (RFC 5626 section 3.5.1); these bytes are no message. */
  pong(): void {
    if (!this.#closed && this.#wire.queued() < mostQueuedBytes) this.#wire.write(Buffer.from('\r\n'), () => {})
  }

  probe(): void {
    this.#wire.probe?.()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#owner.onClosing(this)
    this.#closing = setTimeout(() => this.#wire.destroy(), closingMs)
    this.#closing.unref()
    this.#wire.end()
  }

  destroy(): void {
    if (!this.#closed) {
      this.#closed = true
      this.#owner.onClosing(this)
    }
    this.#wire.destroy()
  }

  /** The socket has closed; called by whoever owns it. */
  ended(): void {
    if (this.#gone) return
    this.#gone = true
    clearTimeout(this.#closing)
    if (!this.#closed) {
      this.#closed = true
      this.#owner.onClosing(this)
    }
    this.#owner.onClosed(this)
  }
}

export interface FlowTableOptions {
  most: number
  mostPerAddress: number
  idleMs: number
  onOpened(connection: Connection): void
  onClosed(connection: Connection): void
  onSent(bytes: Buffer, flow: Flow): void
  now?: () => number
}

export interface FlowTable {
  /** Counts one socket of `address`; the returned function, called once, counts it off. Undefined when a limit is reached. */
  admit(address: string): (() => void) | undefined
  open(info: ConnectionInfo, wire: Wire): Connection
  byId(id: string): Connection | undefined
  byTarget(target: Target): Connection | undefined
  count(): Record<Protocol, number>
  /** Tears down every connection of an address that this machine no longer has. */
  dropLocal(address: string): void
  /** Closes every connection, and resolves when all sockets are gone. */
  close(): Promise<void>
}

export function createFlowTable(options: FlowTableOptions): FlowTable {
  const now = options.now ?? (() => performance.now())
  // Ids are never used again, not even by the next process: a binding from before a restart must find nothing.
  const prefix = `c${randomBytes(6).toString('hex')}`
  let next = 0
  let admitted = 0
  const perAddress = new Map<string, number>()
  const alive = new Set<Connection>()
  const ids = new Map<string, Connection>()
  const peers = new Map<string, Connection>()
  let emptied: (() => void) | undefined

  const key = (protocol: Protocol, end: Endpoint) => `${protocol} ${end.address} ${end.port}`
  const owner: Owner = {
    now,
    onSent: options.onSent,
    onClosing(connection) {
      ids.delete(connection.id)
      const peer = key(connection.protocol, connection.remote)
      if (peers.get(peer) === connection) peers.delete(peer)
    },
    onClosed(connection) {
      alive.delete(connection)
      options.onClosed(connection)
      if (alive.size === 0) emptied?.()
    },
  }
  function sweep(): void {
    const at = now()
    for (const connection of alive) {
      const idle = at - connection.lastSeen
      if (idle >= options.idleMs) connection.destroy()
      else if (idle >= options.idleMs / 2) connection.probe()
    }
  }
  const timer = setInterval(sweep, Math.min(15_000, Math.max(20, options.idleMs / 8)))
  timer.unref()

  return {
    admit(address) {
      const here = perAddress.get(address) ?? 0
      if (admitted >= options.most || here >= options.mostPerAddress) return undefined
      admitted++
      perAddress.set(address, here + 1)
      let counted = true
      return () => {
        if (!counted) return
        counted = false
        admitted--
        const left = perAddress.get(address)! - 1
        if (left > 0) perAddress.set(address, left)
        else perAddress.delete(address)
      }
    },
    open(info, wire) {
      const connection = new Connection(`${prefix}${(next++).toString(36)}`, info, wire, owner)
      alive.add(connection)
      ids.set(connection.id, connection)
      peers.set(key(info.protocol, info.remote), connection)
      options.onOpened(connection)
      return connection
    },
    byId: id => ids.get(id),
    byTarget(target) {
      const found = peers.get(key(target.protocol, target))
      // A certificate that was checked for one name says nothing about another (RFC 5922 section 7.3), and a connection
      // that the peer opened proves no name at all.
      const name = target.serverName
      const named = target.protocol === 'tls' && name !== undefined && name !== target.address
      return named && found?.serverName !== name ? undefined : found
    },
    count() {
      const counts: Record<Protocol, number> = { udp: 0, tcp: 0, tls: 0, ws: 0, wss: 0 }
      for (const connection of alive) counts[connection.protocol]++
      return counts
    },
    dropLocal(address) {
      for (const connection of [...alive]) if (connection.local.address === address) connection.destroy()
    },
    async close() {
      clearInterval(timer)
      if (alive.size === 0) return
      const done = new Promise<void>(resolve => (emptied = resolve))
      for (const connection of [...alive]) connection.close()
      await done
    },
  }
}
