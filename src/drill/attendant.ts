import type { Bus, Json } from '../cluster/bus.ts'
import type { Members } from '../cluster/members.ts'
import type { Nodes } from '../cluster/nodes.ts'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { DrillHow } from './report.ts'

// What a node answers to the one that conducts a drill. Only nodes that know `cluster.secret` can ask, and only an administrator
// or the calendar makes one of them do so.

export interface AttendantDeps {
  members: Pick<Members, 'node' | 'onDeath'>
  bus: Pick<Bus, 'answer'>
  nodes: Pick<Nodes, 'drain' | 'undrain'>
  /** Strategy of replication. */
  replication: string
  calls: {
    list(): readonly { id: string; from: string; state: string; since: string }[]
    /** Brings the media of a call to this node. */
    relay(id: string): Promise<void>
    hangUp(id: string): unknown
  }
  meetings(): number
  knows(user: string): Promise<boolean>
  recordsOf(aor: string): Promise<number>
  /** Ends this program as a failure of power would. */
  die(): void
  log: Logger
}

/** What goes on at a node, and whether it would outlive it. */
export interface Look {
  calls: number
  meetings: number
  replication: string
}

// The answer is to leave before the program does.
const dieMs = 100
// Should the conductor live and say nothing.
const longestDrainMs = 300_000

/** Begins to answer; the returned function ends that. */
export function attend(deps: AttendantDeps): () => void {
  const { members, bus, nodes, calls, log } = deps
  let timer: NodeJS.Timeout | undefined
  /** For whom this node drains; '' while it does not. */
  let drainsFor = ''

  async function mend(): Promise<void> {
    clearTimeout(timer)
    drainsFor = ''
    await nodes.undrain(members.node)
    log.warn('this node takes new work again after a drill')
  }

  function mendAlone(): void {
    mend().catch((error: unknown) => log.error({ err: error }, 'this node could not be told to serve again'))
  }

  async function breakDown(question: Json, from: string): Promise<Json> {
    const { id, how } = question as unknown as { id: string; how: DrillHow }
    log.warn(
      { id, how, conductor: from },
      how === 'kill' ? 'this node is killed by a drill' : 'this node drains for a drill',
    )
    if (how === 'kill') {
      setTimeout(deps.die, dieMs)
      return null
    }
    await nodes.drain(members.node)
    drainsFor = from
    clearTimeout(timer)
    timer = setTimeout(mendAlone, longestDrainMs)
    timer.unref()
    return null
  }

  async function relay(aor: Json): Promise<Json> {
    const all = calls.list().filter(({ from, state }) => from === aor && state === 'answered')
    const [newest] = all.toSorted((a, b) => (a.since < b.since ? 1 : -1))
    if (newest === undefined) throw new Refusal('no-such-call', 'there is no call of that test phone')
    await calls.relay(newest.id)
    return null
  }

  const verbs: Record<string, (question: Json, from: string) => Promise<Json>> = {
    look: async () =>
      ({ calls: calls.list().length, meetings: deps.meetings(), replication: deps.replication }) satisfies Look,
    knows: async users => (await Promise.all((users as string[]).map(deps.knows))).every(known => known),
    records: async aor => deps.recordsOf(String(aor)),
    relay,
    break: breakDown,
    mend: async () => mend().then(() => null),
  }
  const stops = Object.entries(verbs).map(([verb, how]) => bus.answer(`drill.${verb}`, how))
  const onDeath = members.onDeath(({ node }) => {
    if (node === drainsFor) mendAlone()
  })
  stops.push(onDeath)
  return () => {
    clearTimeout(timer)
    for (const stop of stops) stop()
  }
}
