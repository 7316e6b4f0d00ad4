import type { Redis } from 'ioredis'
import type { Logger } from '../log.ts'

export interface Subscriber {
  subscribe(channel: string, listener: (message: string) => void, onBack?: () => void): Promise<() => void>
  /** Takes a new connection, because the present one may be dead or lead to a server that is no master any more. */
  renew(): void
  /** Connects now, if it waits to try again. */
  hasten(): void
  close(): void
}

export interface SubscriberDeps {
  /** A new connection to a server that hears what is published; it must not reconnect by itself. */
  open(): Redis | undefined
  log: Logger
  /** How often the connection is asked whether it lives, in ms. */
  checkMs: number
}

interface Listener {
  listener(message: string): void
  onBack?: (() => void) | undefined
}

const mostDelayMs = 1000

/**
 * Hears channels over a connection of its own. One that ends or does not answer is replaced. `onBack` says each time,
 * the first included, that from now on all is heard: what was published before may have been missed.
 */
export function createSubscriber(deps: SubscriberDeps): Subscriber {
  const { open, log, checkMs } = deps
  const channels = new Map<string, Set<Listener>>()
  let client: Redis | undefined
  /** The channels that `client` hears. */
  let heard = new Set<string>()
  let retry: NodeJS.Timeout | undefined
  let failures = 0
  let closed = false
  const check = setInterval(() => void ping(), checkMs)
  check.unref()

  function connect(): void {
    clearTimeout(retry)
    retry = undefined
    if (closed || client !== undefined || channels.size === 0) return
    const opened = open()
    if (opened === undefined) {
      later()
      return
    }
    client = opened
    heard = new Set()
    opened.on('error', error => log.debug({ why: error.message }, 'redis subscription failed'))
    opened.on('end', () => {
      if (client !== opened) return
      client = undefined
      later()
    })
    opened.on('message', (channel: string, message: string) => {
      for (const { listener } of channels.get(channel) ?? []) listener(message)
    })
    opened.on('ready', () => void hear(opened))
  }

  function later(): void {
    if (closed || retry !== undefined) return
    retry = setTimeout(connect, Math.min(50 * 2 ** failures++, mostDelayMs))
    retry.unref()
  }

  /** Subscribes to what this connection does not hear yet; more may be wished for meanwhile. */
  async function hear(opened: Redis): Promise<void> {
    while (client === opened && opened.status === 'ready') {
      const missing = [...channels.keys()].filter(channel => !heard.has(channel))
      if (missing.length === 0) return
      try {
        await opened.subscribe(...missing)
      } catch (error) {
        log.debug({ why: (error as Error).message }, 'redis subscription refused')
        opened.disconnect()
        return
      }
      if (client !== opened) return
      failures = 0
      for (const channel of missing) {
        heard.add(channel)
        for (const { onBack } of channels.get(channel) ?? []) onBack?.()
      }
    }
  }

  async function ping(): Promise<void> {
    const asked = client
    if (asked?.status !== 'ready') return
    try {
      await asked.ping()
    } catch {
      // Its 'end' brings the next one.
      asked.disconnect()
    }
  }

  function renew(): void {
    const old = client
    client = undefined
    old?.disconnect()
    failures = 0
    connect()
  }

  return {
    async subscribe(channel, listener, onBack) {
      const entry: Listener = { listener, onBack }
      const listeners = channels.get(channel)
      if (listeners === undefined) channels.set(channel, new Set([entry]))
      else listeners.add(entry)
      if (client === undefined) connect()
      else if (heard.has(channel)) onBack?.()
      else await hear(client)
      return () => {
        const present = channels.get(channel)
        if (present?.delete(entry) !== true || present.size > 0) return
        channels.delete(channel)
        heard.delete(channel)
        // One that fails ends its connection, and the next does not hear the channel.
        void client?.unsubscribe(channel).catch(() => client?.disconnect())
      }
    },
    renew,
    hasten() {
      failures = 0
      connect()
    },
    close() {
      closed = true
      clearInterval(check)
      clearTimeout(retry)
      client?.disconnect()
    },
  }
}
