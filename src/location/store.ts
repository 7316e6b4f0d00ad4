import type { Binding } from './binding.ts'

export type { Binding } from './binding.ts'

/** A value that is there at once where that is possible, so that the embedded store costs no turn of the event loop. */
export type MaybePromise<T> = T | Promise<T>

/** The bindings of one address of record at one moment. */
export interface Loaded {
  /** Names this state for `save`; 0 when there is none. */
  version: number
  /** Live ones, best first: by q, then the most recent. */
  bindings: readonly Binding[]
  /** Those whose time has run out and that the next `save` drops; who saves reports their end. */
  expired: readonly Binding[]
}

/** One page of bindings; `cursor` opens the next one and is undefined after the last. */
export interface Page {
  bindings: Binding[]
  cursor: string | undefined
}

/**
 * Where bindings live. Absence is an empty list, never an error; a store that cannot
 * take more is Refusal('store-unavailable').
 */
export interface LocationStore {
  load(aor: string): MaybePromise<Loaded>
  /** Replaces all bindings of `aor` when its version still is `version`; false when it is not. An empty list removes it. */
  save(aor: string, version: number, bindings: readonly Binding[]): MaybePromise<boolean>
  /** Live bindings in no order, about `limit` a page; each that stays is met at least once. */
  list(cursor: string | undefined, limit: number): MaybePromise<Page>
  /** How many bindings there are; expired ones may still be counted for some seconds. */
  count(): MaybePromise<number>
  /** True while the store answers. */
  healthy(): boolean
  /** Why not, in words for people; '' while healthy. */
  why(): string
  /** Bindings of all nodes in memory here, and addresses that wait to be shared; absent without others. */
  figures?(): { healthy: boolean; replica: number; waiting: number }
  /** Calls `listener` with the new state of an address, also of those that other nodes change; absent without others. */
  onChanged?(listener: (aor: string, bindings: readonly Binding[]) => void): () => void
  /** Resolves when everything saved is where it should be; idempotent. */
  close(): Promise<void>
}
