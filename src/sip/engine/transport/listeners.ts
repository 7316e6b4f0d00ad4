import type { SecureContextOptions } from 'node:tls'
import type { SipConfig } from '../../../config/schema.ts'
import { Refusal } from '../../../errors.ts'
import type { Protocol } from '../../../events.ts'
import type { Logger } from '../../../log.ts'
import type { AddressWatch, LocalAddress } from '../../../network/interfaces.ts'
import type { Endpoint } from './flows.ts'
import { type ChooseSource, createSourceChoice, findDefaultSource } from './route.ts'
import { openStream, type StreamDeps, type StreamListener, type TlsMaterial } from './stream.ts'
import type { Flow } from './transport.ts'
import { openUdp, readUdpId, type UdpDeps, type UdpListener } from './udp.ts'
import { openWebSocket } from './websocket.ts'

// One socket for each address of this machine and each protocol that is on, kept so while addresses come and go.

const protocols = ['udp', 'tcp', 'tls', 'ws', 'wss'] as const
const retryMs = 2000

export interface Listener {
  protocol: Protocol
  address: LocalAddress
  local: Endpoint
  udp?: UdpListener
  reload?: StreamListener['reload']
  close(): Promise<void>
}

export interface ListenersDeps {
  config: Pick<SipConfig, Protocol>
  addresses: Pick<AddressWatch, 'current' | 'onChange'>
  tls?: TlsMaterial | undefined
  ports?: 'ephemeral' | undefined
  stream: StreamDeps
  udp: UdpDeps
  log: Logger
}

export interface Listeners {
  /** Opens all; rejects with an error that names the port in use. From then on it follows the addresses. */
  open(): Promise<void>
  all(): IterableIterator<Listener>
  /** The port that a protocol listens on, at `address` if it does so there; undefined when it is off. */
  portOf(protocol: Protocol, address: string): number | undefined
  udpTo(target: Endpoint): Flow | undefined
  udpById(id: string): Flow | undefined
  /** Gives open listeners the certificate that holds now; connections go on as they are. */
  reload(): void
  close(): Promise<void>
}

export function createListeners(deps: ListenersDeps): Listeners {
  const { config, log } = deps
  const listeners = new Map<string, Listener>()
  let choose: ChooseSource = () => undefined
  let closed = false
  let work: Promise<void> = Promise.resolve()
  let retry: NodeJS.Timeout | undefined
  let unsubscribe = () => {}

  /** Opens what is missing and closes what is gone. `strict`: the first failure is thrown, else it is tried again. */
  async function reconcile(strict: boolean): Promise<void> {
    if (closed) return
    const wanted = new Map<string, [Protocol, LocalAddress]>()
    for (const address of deps.addresses.current()) {
      for (const protocol of protocols) {
        if (config[protocol] !== 0) wanted.set(`${protocol} ${address.address}`, [protocol, address])
      }
    }
    for (const [key, listener] of [...listeners]) if (!wanted.has(key)) await remove(key, listener)
    for (const [key, [protocol, address]] of wanted) {
      if (listeners.has(key) || closed) continue
      try {
        listeners.set(key, await openListener(protocol, address, deps))
        log.debug({ protocol, ...listeners.get(key)?.local }, 'listening')
      } catch (cause) {
        const error = explain(cause, protocol, address.address, config[protocol])
        // An IPv6 address that has just come is checked for duplicates first and can not be bound until then.
        if (strict && codeOf(cause) !== 'EADDRNOTAVAIL') throw error
        log.warn({ err: error, protocol, address: address.address }, 'not listening yet, will try again')
        clearTimeout(retry)
        retry = setTimeout(follow, retryMs)
        retry.unref()
      }
    }
    await learnSources()
  }
  async function remove(key: string, listener: Listener): Promise<void> {
    listeners.delete(key)
    const done = listener.close()
    // With its address every connection of it is dead, though the system would not say so for many minutes.
    deps.stream.flows.dropLocal(listener.local.address)
    await done
    log.debug({ protocol: listener.protocol, ...listener.local }, 'no longer listening')
  }
  async function learnSources(): Promise<void> {
    const found = await Promise.all([findDefaultSource(4), findDefaultSource(6)])
    const own = [...listeners.values()].filter(listener => listener.udp).map(listener => listener.address)
    const defaults = found.filter(address => address !== undefined)
    choose = createSourceChoice(own, defaults)
  }
  function follow(): void {
    work = work.then(() => reconcile(false)).catch(err => log.error({ err }, 'following the addresses failed'))
  }

  return {
    async open() {
      unsubscribe = deps.addresses.onChange(follow)
      const first = reconcile(true)
      work = first.catch(() => {})
      await first
    },
    all: () => listeners.values(),
    portOf(protocol, address) {
      const exact = listeners.get(`${protocol} ${address}`)
      if (exact) return exact.local.port
      for (const listener of listeners.values()) if (listener.protocol === protocol) return listener.local.port
      return undefined
    },
    udpTo(target) {
      const source = choose(target.address)
      const udp = source && listeners.get(`udp ${source.address}`)?.udp
      return udp?.flowTo({ address: target.address, port: target.port })
    },
    udpById(id) {
      for (const { udp } of listeners.values()) {
        const remote = udp && readUdpId(id, udp.local)
        if (remote) return udp.flowTo(remote)
      }
      return undefined
    },
    reload() {
      for (const { protocol, reload } of listeners.values()) reload?.(contextFor(protocol, deps.tls))
    },
    async close() {
      closed = true
      unsubscribe()
      clearTimeout(retry)
      await work
      const closing = [...listeners.values()].map(listener => listener.close())
      listeners.clear()
      await Promise.all(closing)
    },
  }
}

async function openListener(protocol: Protocol, address: LocalAddress, deps: ListenersDeps): Promise<Listener> {
  const port = deps.ports === 'ephemeral' ? 0 : deps.config[protocol]
  if (protocol === 'udp') {
    const udp = await openUdp(address, port, deps.udp)
    return { protocol, address, local: udp.local, udp, close: udp.close }
  }
  const context = protocol === 'tls' || protocol === 'wss' ? contextFor(protocol, deps.tls) : undefined
  const open = protocol === 'tcp' || protocol === 'tls' ? openStream : openWebSocket
  return { ...(await open(address.address, port, deps.stream, context)), protocol, address }
}

/** Of the material, only what a server needs: an authority given to a server would mean client certificates. */
function contextFor(protocol: Protocol, material: TlsMaterial | undefined): SecureContextOptions {
  if (!material) throw new Error(`sip.${protocol} is on, but there is no certificate`)
  const { key, cert } = material.current()
  return { key, cert }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

function explain(cause: unknown, protocol: Protocol, address: string, port: number): Error {
  const code = codeOf(cause)
  const place = `${protocol.toUpperCase()} port ${port} on ${address}`
  const why: Record<string, string> = {
    EADDRINUSE: `${place} is in use by another program: stop that, or choose another port with sip.${protocol}`,
    EACCES: `${place} may not be opened by this user: choose a port above 1023 with sip.${protocol}`,
  }
  const text = why[code ?? ''] ?? `${place} can not be opened: ${(cause as Error).message}`
  return new Refusal('bad-config', text, { cause })
}
