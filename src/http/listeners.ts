import { once } from 'node:events'
import type { Server } from 'node:http'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { AddressWatch } from '../network/interfaces.ts'

export interface Listeners<S extends Server> {
  servers(): S[]
  points(): { address: string; port: number }[]
  /** Stops listening and ends the connections, except those that were upgraded: they belong to whoever took them. */
  close(): Promise<void>
}

export interface ListenersDeps<S extends Server> {
  addresses: AddressWatch
  /** Tried in this order; the first that may be opened on every address is taken. */
  ports: readonly number[]
  /** Name of the setting, for the error message. */
  setting: string
  create(): S
  log: Logger
}

// An IPv6 address that the kernel still probes for duplicates cannot be bound for a second or two.
const retryMs = 2000

/**
 * One server on every address, following the addresses as they come and go. Rejects with an Error that names the port
 * when the last of `ports` is in use or may not be opened.
 */
export async function listen<S extends Server>(deps: ListenersDeps<S>): Promise<Listeners<S>> {
  const { addresses, ports, setting, create, log } = deps
  const open = new Map<string, S>()
  let port = 0
  let retry: NodeJS.Timeout | undefined
  let closed = false

  async function openOn(address: string): Promise<void> {
    const server = create()
    server.listen({ host: address, port, ipv6Only: true, exclusive: true })
    await once(server, 'listening')
    server.on('error', error => log.warn({ err: error, address, port }, 'listener failed'))
    open.set(address, server)
  }

  /** Opens what is missing and closes what is gone. `strict` throws where a port is taken or forbidden. */
  async function follow(strict: boolean): Promise<void> {
    const wanted = new Set(addresses.current().map(a => a.address))
    for (const [address, server] of open) {
      if (wanted.has(address)) continue
      open.delete(address)
      shut(server)
    }
    for (const address of wanted) {
      if (open.has(address) || closed) continue
      try {
        await openOn(address)
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (strict && code !== 'EADDRNOTAVAIL') throw explain(error as NodeJS.ErrnoException, address, port, setting)
        log.warn({ err: error, address, port }, 'cannot listen; trying again')
        clearTimeout(retry)
        retry = setTimeout(later, retryMs).unref()
      }
    }
  }

  function closeAll(): void {
    for (const server of open.values()) shut(server)
    open.clear()
  }

  for (const [index, candidate] of ports.entries()) {
    port = candidate
    try {
      await follow(true)
      break
    } catch (error) {
      closeAll()
      if (index === ports.length - 1) throw error
      log.info({ port, next: ports[index + 1] }, 'port may not be opened, taking the next')
    }
  }

  let following: Promise<void> = Promise.resolve()
  function later(): void {
    following = following.then(() => (closed ? undefined : follow(false)))
  }
  const unfollow = addresses.onChange(later)

  return {
    servers: () => [...open.values()],
    points: () => [...open.keys()].map(address => ({ address, port })),
    async close() {
      closed = true
      unfollow()
      clearTimeout(retry)
      await following
      closeAll()
    },
  }
}

// The callback of server.close() is not waited for: it would wait for upgraded connections as well.
function shut(server: Server): void {
  server.close()
  server.closeAllConnections()
}

function explain(error: NodeJS.ErrnoException, address: string, port: number, setting: string): Error {
  const place = `port ${port} on ${address}`
  const why: Record<string, string> = {
    EADDRINUSE: `${place} is in use by another program: stop that, or choose another port with ${setting}`,
    EACCES: `${place} may not be opened by this user: choose a port above 1023 with ${setting}`,
  }
  const text = why[error.code ?? ''] ?? `${place} can not be opened: ${error.message}`
  return new Refusal('bad-config', text, { cause: error })
}
