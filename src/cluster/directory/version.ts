// Which of two states of a row holds. Pure, and the same on all nodes: they see the states in any order and any number of
// times, and end with the same ones.

/** Rows that the nodes hold in common; a call record is added to by nobody, so it needs no versions. */
export const kinds = ['account', 'group', 'invitation', 'recording'] as const
export type Kind = (typeof kinds)[number]

/** `stamp` is a hybrid logical clock in microseconds since 1970; `node` decides between equal ones. */
export interface Version {
  readonly stamp: number
  readonly node: string
}

/** One state of one row, as JSON text; undefined for one that is gone. */
export interface Entry extends Version {
  readonly kind: Kind
  readonly id: string
  readonly doc: string | undefined
}

/** Below 0 when `a` is the older one. */
export function compareVersions(a: Version, b: Version): number {
  if (a.stamp !== b.stamp) return a.stamp - b.stamp
  return a.node === b.node ? 0 : a.node < b.node ? -1 : 1
}

export function isNewer(a: Version, b: Version | undefined): boolean {
  return b === undefined || compareVersions(a, b) > 0
}

/** `stamp:gone:node`, as Redis and its scripts hold it. */
export function writeVersion({ stamp, node, doc }: Version & Pick<Entry, 'doc'>): string {
  return `${stamp}:${doc === undefined ? 1 : 0}:${node}`
}

/** Undefined for what is no version. */
export function readVersion(text: string): (Version & { gone: boolean }) | undefined {
  const [, stamp, gone, node] = /^(\d{1,16}):([01]):(.+)$/.exec(text) ?? []
  if (stamp === undefined || node === undefined) return undefined
  return { stamp: Number(stamp), gone: gone === '1', node }
}
