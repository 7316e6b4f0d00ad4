import type { types } from 'mediasoup'
import type { Logger } from '../../log.ts'
import type { LocalAddress } from '../../network/interfaces.ts'
import { listenInfos } from './listen-infos.ts'

/** Where one worker listens for browsers. */
export interface MediaServer {
  /** For new transports. */
  current(): types.WebRtcServer
  /** Listens on other addresses from now on; transports that are there go on with the old ones. */
  move(addresses: readonly LocalAddress[]): Promise<void>
}

export interface MediaServerDeps {
  worker: types.Worker
  /** In order of preference. */
  ports: readonly number[]
  publicAddress: string
  log: Logger
}

// An IPv6 address that the kernel still probes for duplicates cannot be bound for a second or two.
const retryMs = 2000

/** Rejects with mediasoup's error when none of the ports is free. */
export async function openServer(deps: MediaServerDeps, addresses: readonly LocalAddress[]): Promise<MediaServer> {
  const { worker, log } = deps
  let current = await listen(deps, addresses)
  let moving: Promise<void> = Promise.resolve()
  let retry: NodeJS.Timeout | undefined
  worker.observer.once('close', () => clearTimeout(retry))

  async function follow(now: readonly LocalAddress[]): Promise<void> {
    clearTimeout(retry)
    if (worker.closed) return
    const old = current
    // One that nobody uses frees its port for its successor; one in use goes with its last transport.
    old.retire()
    current = await listen(deps, now)
    again(now)
  }
  function move(now: readonly LocalAddress[]): Promise<void> {
    moving = moving
      .then(() => follow(now))
      .catch(error => {
        if (!worker.closed)
          log.error({ err: error, pid: worker.pid }, 'cannot listen for browsers on the new addresses')
      })
    return moving
  }
  function again(now: readonly LocalAddress[]): void {
    if (current.missing && !worker.closed) retry = setTimeout(() => void move(now), retryMs).unref()
  }
  again(addresses)
  return { current: () => current.server, move }
}

interface Listening {
  server: types.WebRtcServer
  /** Some address could not be bound. */
  missing: boolean
  /** Closes it as soon as it has no transport. */
  retire(): void
}

async function listen(deps: MediaServerDeps, addresses: readonly LocalAddress[]): Promise<Listening> {
  const { worker, ports, publicAddress, log } = deps
  let usable = addresses
  for (let index = 0; ; ) {
    const port = ports[index]!
    try {
      const server = await worker.createWebRtcServer({ listenInfos: listenInfos(usable, port, publicAddress) })
      if (index > 0) log.warn({ wanted: ports[0], port }, 'media port is in use, taking the next free one')
      return watch(server, usable.length < addresses.length)
    } catch (error) {
      const { message } = error as Error
      const address = /ip:'([^']+)'/.exec(message)?.[1]
      if (message.includes('address already in use') && index < ports.length - 1) index++
      else if (address !== undefined && usable.length > 1) {
        log.warn({ err: error, address }, 'cannot listen for browsers here; trying again')
        usable = usable.filter(one => one.address !== address)
      } else throw error
    }
  }
}

function watch(server: types.WebRtcServer, missing: boolean): Listening {
  let [transports, retired] = [0, false]
  const closeIfDone = () => {
    if (retired && transports === 0) server.close()
  }
  server.observer.on('webrtctransporthandled', () => transports++)
  server.observer.on('webrtctransportunhandled', () => {
    transports--
    closeIfDone()
  })
  return {
    server,
    missing,
    retire() {
      retired = true
      closeIfDone()
    },
  }
}
