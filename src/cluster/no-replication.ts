import type { Replication } from './replication.ts'

/** Nothing is kept: what this node has is its own, and ends with it. */
export function createNoReplication(): Replication {
  return {
    strategy: 'none',
    save: async () => {},
    end: async () => true,
    owns: () => true,
    sure: async () => true,
    release: async () => false,
    takeOver: async () => undefined,
    adopt: async function* () {},
    onLost: () => () => {},
    healthy: () => true,
    close: async () => {},
  }
}
