import type { Journal } from './journal.ts'
import type { LocationStore } from './store.ts'
import { createTable } from './table.ts'

/**
 * The embedded store: bindings in memory, every change told to the journal when there is one. It answers at once,
 * never with a promise, so two registrations of one address cannot meet in between.
 */
export function createMemoryStore(deps: { now(): number; journal?: Journal | undefined }): LocationStore {
  const { now, journal } = deps
  const table = createTable(now)
  const states = { get: (aor: string) => table.get(aor)?.bindings ?? [], aors: table.aors, count: table.count }
  journal?.open(states, (aor, bindings) => {
    // A flow does not outlive the process, and its id may name another one by now.
    const kept = bindings.filter(binding => binding.expiresAt > now()).map(binding => ({ ...binding, flow: '' }))
    table.put(aor, kept)
  })
  return {
    load: table.load,
    save(aor, version, bindings) {
      const state = table.get(aor)
      if ((state?.id ?? 0) !== version) return false
      table.put(aor, bindings)
      journal?.changed(state?.bindings[0]?.aor ?? table.get(aor)?.bindings[0]?.aor ?? aor)
      return true
    },
    list: table.list,
    count: table.size,
    healthy: () => journal?.healthy() ?? true,
    why: () => (journal?.healthy() === false ? 'registrations cannot be written to the disk' : ''),
    close: async () => journal?.close(),
  }
}
