import { type AnnounceOptions, type Discovery, openDiscovery } from './discovery.ts'

/** Says whether this node is the one that answers to the name, and when that changes. */
export interface Turn {
  isOurs(): boolean
  onChange(listener: () => void): () => void
}

/** A name of several nodes, here while it is our turn. */
export interface SharedName {
  /** True when it is claimed here. */
  held(): boolean
  /** Says goodbye if it is ours. Idempotent. */
  close(): Promise<void>
}

/**
 * Answers to a name that the nodes of a cluster share: whoever's turn it is probes for it and announces it with the
 * cache-flush bit, so that phones and browsers forget the address of a node that died (RFC 6762 sections 8 and 10.2); who
 * has to give it up says goodbye first. While two hold it for a moment, each waits for the other as for any host.
 */
export function shareName(options: Omit<AnnounceOptions, 'shared' | 'services'>, turn: Turn): SharedName {
  let open: Discovery | undefined
  let held = false
  let closed = false
  let last: Promise<void> = Promise.resolve()

  const give = async () => {
    const leaving = open
    open = undefined
    held = false
    await leaving?.close()
  }

  const take = () => {
    const { discovery, claimed } = openDiscovery({ ...options, services: [], shared: true })
    open = discovery
    void claimed.then(() => {
      held = open === discovery
      if (held) options.log.info({ name: discovery.name() }, 'this node answers to the shared name')
    })
  }

  // One change after the other: a goodbye must not be overtaken by the next claim.
  const follow = () => {
    last = last.then(async () => {
      const wanted = turn.isOurs() && !closed
      if (wanted && open === undefined) take()
      if (!wanted && open !== undefined) {
        options.log.info({ name: options.name }, 'another node answers to the shared name')
        await give()
      }
    })
    return last
  }

  const unfollow = turn.onChange(() => void follow())
  void follow()
  return {
    held: () => held,
    close() {
      unfollow()
      closed = true
      return follow()
    },
  }
}
