import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Events } from '../events.ts'
import type { MediaLoad } from '../media/media.ts'

const buckets = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10]

/** What this node has given to which media node, and what moved; the returned functions end the counting. */
export function countMediaNodes(registry: Registry, events: Events, mediaLoad: () => MediaLoad): (() => void)[] {
  const registers = [registry]
  const gauge = (name: string, help: string, read: (node: NonNullable<MediaLoad['nodes']>[number]) => number) =>
    new Gauge({
      name: `vaartha_media_node_${name}`,
      help,
      labelNames: ['node'],
      registers,
      collect() {
        this.reset()
        for (const node of mediaLoad().nodes ?? []) this.set({ node: node.node }, read(node))
      },
    })
  gauge('legs', 'Legs of this node, by the node that carries them.', node => node.legs)
  gauge('busy', 'How busy a media node is as it says: 1 is all that it can carry.', node => node.busy)
  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name: `vaartha_media_${name}_total`, help, labelNames, registers })
  const placed = counter('allocations', 'Legs given to media nodes, and refused by them.', ['node', 'result'])
  const moves = counter('moves', 'Legs moved to another media node, or made anew there.', ['why', 'result'])
  const lost = counter('nodes_lost', 'Times that a media node ceased to answer.', ['node'])
  const moving = new Histogram({
    name: 'vaartha_media_move_seconds',
    help: 'From what brought a move about to the party being at its new place.',
    buckets,
    labelNames: ['why'],
    registers,
  })
  return [
    events.on('mediaPlaced', ({ node, result }) => placed.inc({ node, result })),
    events.on('mediaNodeLost', ({ node }) => lost.inc({ node })),
    events.on('mediaMoved', ({ why, ms, undone }) => {
      moves.inc({ why, result: undone ? 'undone' : 'done' })
      if (!undone) moving.observe({ why }, ms / 1000)
    }),
  ]
}
