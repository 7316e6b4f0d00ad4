import type { Member, Members, NodeState } from '../../src/cluster/members.ts'

/** What a test says of the nodes, where these are not what it is about. */
export interface SaidMembers extends Pick<Members, 'life' | 'self' | 'find' | 'holdsLease' | 'onReturn'> {
  lease: boolean
  say(life: string, state: NodeState): void
  comeBack(): void
}

export function sayMembers(life: string): SaidMembers {
  const states = new Map<string, NodeState>([[life, 'up']])
  const listeners = new Set<() => void>()
  const member = (name: string): Member => ({
    node: name,
    life: name,
    state: states.get(name) ?? 'down',
    roles: ['sip'],
    priority: 10,
    sip: '',
    http: '',
    link: '',
    version: '',
    since: 0,
    seen: 0,
    load: {},
    weight: 1,
  })
  return {
    life,
    lease: true,
    self: () => member(life),
    find: name => (states.has(name) ? member(name) : undefined),
    holdsLease() {
      return this.lease
    },
    onReturn(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    say: (name, state) => void states.set(name, state),
    comeBack() {
      this.lease = true
      for (const listener of listeners) listener()
    },
  }
}
