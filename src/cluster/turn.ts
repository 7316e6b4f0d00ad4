import type { Member, Members } from './members.ts'

/** The node that phones are to find first: of those that are up the one with the lowest priority, then the name. */
export function activeOf(members: readonly Member[]): Member | undefined {
  const first = (state: Member['state']) =>
    members
      .filter(member => member.state === state && member.roles.includes('sip'))
      .sort((a, b) => a.priority - b.priority || (a.node < b.node ? -1 : 1))[0]
  // One that drains still answers, and is better than none.
  return first('up') ?? first('draining')
}

/** Whether it is this node that answers to the names that all share. */
export function createTurn(members: Pick<Members, 'list' | 'life' | 'onChange'>) {
  return {
    isOurs: () => activeOf(members.list())?.life === members.life,
    onChange: (listener: () => void) => members.onChange(() => listener()),
  }
}
