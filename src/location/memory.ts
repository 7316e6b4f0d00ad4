import { type Binding, partByTime } from './binding.ts'
import type { Journal } from './journal.ts'
import type { Loaded, LocationStore } from './store.ts'

interface Entry {
  version: number
  bindings: readonly Binding[]
}

const nothing: Loaded = { version: 0, bindings: [], expired: [] }
const noPath: readonly string[] = []

/**
 * The embedded store: bindings in memory, every change told to the journal when there is one. It answers at once,
 * never with a promise, so two registrations of one address cannot meet in between.
 */
export function createMemoryStore(deps: { now(): number; journal?: Journal | undefined }): LocationStore {
  const { now, journal } = deps
  const entries = new Map<string, Entry>()
  let versions = 0
  let size = 0
  let removed = 0

  const states = {
    get: (aor: string) => entries.get(aor)?.bindings ?? [],
    aors: () => entries.keys(),
    count: () => entries.size,
  }
  const share = createShare()
  journal?.open(states, (aor, bindings) => {
    // A flow does not outlive the process, and its id may name another one by now.
    const kept = bindings
      .filter(binding => binding.expiresAt > now())
      .map(binding => share({ ...binding, flow: '' }, undefined))
    put(aor, kept)
  })

  function put(aor: string, bindings: readonly Binding[]): void {
    size += bindings.length - (entries.get(aor)?.bindings.length ?? 0)
    if (bindings.length === 0) removed += Number(entries.delete(aor))
    else entries.set(aor, { version: ++versions, bindings })
  }

  return {
    load(aor) {
      const entry = entries.get(aor)
      if (entry === undefined) return nothing
      return { version: entry.version, ...partByTime(entry.bindings, now()) }
    },
    save(aor, version, bindings) {
      const entry = entries.get(aor)
      if ((entry?.version ?? 0) !== version) return false
      // The key is a string of its own too: see `own`.
      const key = entry?.bindings[0]?.aor ?? own(aor)
      put(
        key,
        bindings.map(binding => share({ ...binding, aor: key }, entry?.bindings)),
      )
      journal?.changed(key)
      return true
    },
    list: (cursor, limit) => listPage(entries, removed, cursor, limit, now()),
    count: () => size,
    healthy: () => journal?.healthy() ?? true,
    close: async () => journal?.close(),
  }
}

// The cursor is a position in the order of insertion. An address that is removed between two pages moves those behind
// it forward, so pages overlap by as many as went: `removed` at the time of the first page travels in the cursor.
function listPage(
  entries: Map<string, Entry>,
  removed: number,
  cursor: string | undefined,
  limit: number,
  now: number,
) {
  const [at = 0, before = removed] = (cursor ?? '').split('.').filter(Boolean).map(Number)
  const start = Math.max(0, at - (removed - before))
  const bindings: Binding[] = []
  let position = 0
  for (const entry of entries.values()) {
    if (position++ < start) continue
    if (bindings.length >= limit) return { bindings, cursor: `${position - 1}.${removed}` }
    for (const binding of entry.bindings) if (binding.expiresAt > now) bindings.push(binding)
  }
  return { bindings, cursor: undefined }
}

// A string cut out of a message keeps the whole message in memory, so what stays is copied.
function own(text: string): string {
  return text.length < 13 ? text : Buffer.from(text, 'utf8').toString('utf8')
}

/**
 * Makes a binding cheap to keep: strings that the last state already held are taken from there, names of phones are
 * held once for all of a kind, and every other string is a copy of its own.
 */
function createShare() {
  const agents = new Map<string, string>()
  const agent = (text: string): string => {
    const known = agents.get(text)
    if (known !== undefined) return known
    // Phones choose this text, so the table that saves memory must not itself grow without end.
    if (agents.size >= 1000) agents.clear()
    const copy = own(text)
    agents.set(copy, copy)
    return copy
  }
  return (binding: Binding, last: readonly Binding[] | undefined): Binding => {
    const before = last?.find(other => other.contact === binding.contact)
    const keep = (text: string, old: string | undefined) => (text === old ? old : own(text))
    binding.contact = before?.contact ?? own(binding.contact)
    binding.callId = keep(binding.callId, before?.callId)
    binding.flow = keep(binding.flow, before?.flow)
    binding.node = agent(binding.node)
    binding.userAgent = agent(binding.userAgent)
    binding.path = binding.path.length === 0 ? noPath : binding.path.map(own)
    if (binding.instance !== undefined) binding.instance = keep(binding.instance, before?.instance)
    const { address, port } = binding.source
    const same = before?.source.address === address && before.source.port === port
    binding.source = same ? before.source : { address: own(address), port }
    return binding
  }
}
