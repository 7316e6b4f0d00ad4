import type { Member, Members, NodeState } from './members.ts'

export interface NoMembersDeps extends Pick<Member, 'node' | 'life' | 'roles' | 'priority' | 'version'> {
  places(): { sip: string; http: string }
}

/** One node by itself: nobody else is there, and nobody can take anything from it. */
export function createNoMembers(deps: NoMembersDeps): Members {
  const { places, ...identity } = deps
  const figures = new Set<() => Record<string, number>>()
  const changed = new Set<(member: Member, was: Member['state']) => void>()
  const since = Date.now()
  let state: Member['state'] = 'up'
  const self = (): Member => {
    const load: Record<string, number> = {}
    for (const read of figures) Object.assign(load, read())
    return { ...identity, state, ...places(), link: '', since, seen: Date.now(), load, weight: 1 }
  }
  function turn(to: NodeState): void {
    const was = state
    state = to
    if (was !== state) for (const listener of changed) listener(self(), was)
  }

  return {
    node: deps.node,
    life: deps.life,
    list: () => [self()],
    find: nodeOrLife => (nodeOrLife === deps.node || nodeOrLife === deps.life ? self() : undefined),
    self,
    onBeat: read => void figures.add(read),
    holdsLease: () => true,
    onChange(listener) {
      changed.add(listener)
      return () => changed.delete(listener)
    },
    onDeath: () => () => {},
    onReturn: () => () => {},
    drain: async () => turn('draining'),
    undrain: async () => turn('up'),
    close: async () => {},
  }
}
