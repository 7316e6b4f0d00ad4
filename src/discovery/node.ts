import { type AnnounceOptions, type Discovery, openDiscovery } from './discovery.ts'
import { type SharedName, shareName, type Turn } from './shared.ts'

export interface NodeOptions extends Omit<AnnounceOptions, 'shared'> {
  /** Name of this node among several: it announces itself as `name-node`, and as `name` while it is its turn. */
  node?: { name: string; turn: Turn } | undefined
  /** The own name is claimed. */
  onClaimed(): void
}

/** A server on the local network: by a name of its own, or by one of its own and one that it shares with other nodes. */
export function announceNode(options: NodeOptions): Pick<Discovery, 'name' | 'close'> {
  const { node, onClaimed, ...own } = options
  const name = node === undefined ? own.name : `${own.name}-${node.name}`
  const { discovery, claimed } = openDiscovery({ ...own, name })
  void claimed.then(onClaimed)
  const shared: SharedName | undefined = node && shareName({ ...own, name: own.name }, node.turn)
  return {
    name: discovery.name,
    async close() {
      await Promise.all([discovery.close(), shared?.close()])
    },
  }
}
