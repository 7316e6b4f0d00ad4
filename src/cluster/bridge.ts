import type { Events, FactName, Facts } from '../events.ts'
import type { Bus, Json } from './bus.ts'
import type { Members } from './members.ts'

// Facts of this node that the others hear, by their subjects. The ends of calls and meetings are kept until every node has
// heard them. What comes from another node is told here as `elsewhere`, and not as if it had happened here: counters and
// records belong to the node where it did.
const subjects = {
  registered: 'registered',
  unregistered: 'unregistered',
  callStarted: 'call.started',
  callAnswered: 'call.answered',
  callChanged: 'call.changed',
  callTaken: 'call.taken',
  callEnded: 'call.ended',
  groupStarted: 'group.started',
  groupTaken: 'group.taken',
  groupChanged: 'group.changed',
  topologyChanged: 'group.topology',
  groupEnded: 'group.ended',
  nodeChanged: 'node.changed',
} as const satisfies Partial<Record<FactName, string>>

type Told = keyof typeof subjects
const names = new Map<string, Told>((Object.keys(subjects) as Told[]).map(name => [subjects[name], name]))

export interface BridgeDeps {
  events: Events
  bus: Pick<Bus, 'publish' | 'keep' | 'subscribe'>
  members: Pick<Members, 'node' | 'life' | 'onChange'>
}

/** Carries facts between `events` of this node and the bus. */
export function createBridge({ events, bus, members }: BridgeDeps): { close(): void } {
  const stops = (Object.keys(subjects) as Told[]).map(name => events.on(name, fact => tell(name, fact)))

  function tell(name: Told, fact: Facts[Told]): void {
    // Renewals come by the thousand, and tell nobody anything new.
    if (name === 'registered' && (fact as Facts['registered']).renewed) return
    const json = fact as unknown as Json
    if (name === 'callEnded') return keep(name, (fact as Facts['callEnded']).id, json)
    if (name === 'groupEnded') return keep(name, (fact as Facts['groupEnded']).meeting, json)
    bus.publish(subjects[name], json)
  }

  /** A call ends once, whichever node it ended on. */
  function keep(name: Told, id: string, fact: Json): void {
    void bus.keep(subjects[name], `${name} ${id}`, fact)
  }

  stops.push(
    bus.subscribe('>', (subject, fact, from) => {
      const what = names.get(subject)
      if (what === undefined || from === members.node) return
      events.emit('elsewhere', { node: from, what, fact: fact as Record<string, unknown> })
    }),
    members.onChange((member, was) => {
      const { node, life, state } = member
      events.emit('nodeChanged', { node, life, state, was: was ?? '' })
    }),
  )
  return {
    close() {
      for (const stop of stops.splice(0)) stop()
    },
  }
}
