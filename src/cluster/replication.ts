// The seam through which calls (and meetings) outlive their node. What a snapshot holds is its owner's business; here it
// is a text that belongs to one node at a time.

/** `none`: nothing is kept. `lazy`: kept soon after, found when a request for it comes. `hot-standby`: kept before the caller hears the answer, and adopted when its node dies. */
export type Strategy = 'none' | 'lazy' | 'hot-standby'

/** What is kept of one call or meeting. */
export interface Kept {
  /** `call` or `meeting`, then its id. */
  kind: 'call' | 'meeting'
  id: string
  /** Dialogs by which it is found: see `dialogName`. */
  dialogs: readonly string[]
  /** JSON text, under 4 kB by aim and under 64 kB by force. */
  snapshot: string
}

/** A taken over one: it is ours from now on. */
export interface Taken extends Kept {
  /** Fencing token: grows with each owner; only the newest may write. */
  fence: number
  /** The life that owned it. */
  from: string
}

export interface Replication {
  readonly strategy: Strategy
  /**
   * Keeps the state of one that is ours, its first time included. With `must` it resolves when the store has it, or after
   * the store's timeout (it is then written as soon as the store is back); else at once. Never rejects. Only the newest
   * state of each waits for a store that is away, bounded. `strategy` may keep one less well than all others.
   */
  save(kept: Kept, options?: { must?: boolean; strategy?: Strategy }): Promise<void>
  /** It has ended, here and for good. Resolves with true when it was still ours: its record is ours to write, once. */
  end(kind: Kept['kind'], id: string): Promise<boolean>
  /** True while we may act for it: it is not known to be lost, and our lease holds. Costs nothing. */
  owns(kind: Kept['kind'], id: string): boolean
  /** The same for sure: after a pause it waits until the store has told whose it is. */
  sure(kind: Kept['kind'], id: string): Promise<boolean>
  /** Gives it up in its newest state, for whoever calls `takeOver` first. True when it was ours and is given up. */
  release(kind: Kept['kind'], id: string): Promise<boolean>
  /** The one with this dialog, made ours if its owner is dead or gave it up. Undefined: there is none. */
  takeOver(dialog: string): Promise<Taken | { owner: string } | undefined>
  /** All that a dead life owned, each made ours one after the other; what another node takes first is left out. */
  adopt(life: string, kind: Kept['kind']): AsyncIterable<Taken>
  /** It turned out to be another node's by now: let go of it without a word to anybody. */
  onLost(listener: (kind: Kept['kind'], id: string, owner: string) => void): () => void
  healthy(): boolean
  close(): Promise<void>
}

/** How a dialog is named: by what both ends of a request in it carry (RFC 3261 section 12), seen from this server. */
export function dialogName(callId: string, localTag: string, remoteTag: string): string {
  return `${callId};${localTag};${remoteTag}`
}
