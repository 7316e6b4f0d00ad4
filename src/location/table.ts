import { type Binding, partByTime } from './binding.ts'
import type { Loaded, Page } from './store.ts'

/** The bindings of one address as this process holds them. */
export interface State {
  /** Names this state in this process and never comes again. */
  id: number
  /** Names it for all nodes; 0 where there are no others. */
  stamp: number
  /** The last comparison with Redis that this address was part of. */
  round: number
  bindings: readonly Binding[]
}

/** All bindings, in memory. */
export interface Table {
  get(aor: string): State | undefined
  load(aor: string): Loaded
  /** Takes copies that keep no received message alive; an empty list removes the address. */
  put(aor: string, bindings: readonly Binding[], stamp?: number, round?: number): void
  list(cursor: string | undefined, limit: number): Page
  aors(): Iterable<string>
  /** How many addresses, and how many bindings. */
  count(): number
  size(): number
}

const nothing: Loaded = { version: 0, bindings: [], expired: [] }
const noPath: readonly string[] = []

export function createTable(now: () => number): Table {
  const states = new Map<string, State>()
  const share = createShare()
  let ids = 0
  let size = 0
  let removed = 0
  return {
    get: aor => states.get(aor),
    load(aor) {
      const state = states.get(aor)
      if (state === undefined) return nothing
      return { version: state.id, ...partByTime(state.bindings, now()) }
    },
    put(aor, bindings, stamp = 0, round = 0) {
      const last = states.get(aor)?.bindings
      size += bindings.length - (last?.length ?? 0)
      if (bindings.length === 0) {
        removed += Number(states.delete(aor))
        return
      }
      // The key is a string of its own too: see `own`.
      const key = last?.[0]?.aor ?? own(aor)
      const copies = bindings.map(binding => share({ ...binding, aor: key }, last))
      states.set(key, { id: ++ids, stamp, round, bindings: copies })
    },
    list: (cursor, limit) => listPage(states, removed, cursor, limit, now()),
    aors: () => states.keys(),
    count: () => states.size,
    size: () => size,
  }
}

// The cursor is a position in the order of insertion. An address that is removed between two pages moves those behind
// it forward, so pages overlap by as many as went: `removed` at the time of the first page travels in the cursor.
function listPage(
  states: Map<string, State>,
  removed: number,
  cursor: string | undefined,
  limit: number,
  now: number,
): Page {
  const [at = 0, before = removed] = (cursor ?? '').split('.').filter(Boolean).map(Number)
  const start = Math.max(0, at - (removed - before))
  const bindings: Binding[] = []
  let position = 0
  for (const state of states.values()) {
    if (position++ < start) continue
    if (bindings.length >= limit) return { bindings, cursor: `${position - 1}.${removed}` }
    for (const binding of state.bindings) if (binding.expiresAt > now) bindings.push(binding)
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
