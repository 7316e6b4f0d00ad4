import type { Members } from '../cluster/members.ts'

/** The node that is to have what this one gives away: one that is up, as DNS would choose it (RFC 2782). */
export function heirOf(members: Pick<Members, 'self' | 'list'>): string | undefined {
  const self = members.self().node
  return members
    .list()
    .filter(({ node, state, roles }) => node !== self && state === 'up' && roles.includes('sip'))
    .toSorted((a, b) => a.priority - b.priority)[0]?.node
}
