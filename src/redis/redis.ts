import type { Cluster, Redis } from 'ioredis'

// The seam to a shared Redis: one connection for all rooms of a node. `createRedisLink` in link.ts is what is behind it.

export type RedisClient = Redis | Cluster

export interface RedisLink {
  /** A Redis Cluster: keys of different slots may lie on different servers. */
  readonly sharded: boolean
  /**
   * Runs commands, each bounded by `store.timeoutMs`. Refuses `store-unavailable`: at once while Redis is known to be away,
   * hung, or read-only, so that nothing piles up behind it.
   */
  ask<T>(operation: string, commands: (client: RedisClient) => Promise<T>): Promise<T>
  /**
   * Defines a Lua script once and gives the function that runs it, through `ask`. All `keys` of one call lie in one hash
   * slot, named by the braces in them, where the Redis is `sharded`. Without `keys` the first word says how many they are.
   */
  script<R>(name: string, lua: string, keys?: number): (...keysAndArguments: (string | number)[]) => Promise<R>
  /**
   * Hears a channel over a second connection. `onBack` is called each time that begins, the first time included: what was
   * published before may have been missed.
   */
  subscribe(channel: string, listener: (message: string) => void, onBack?: () => void): Promise<() => void>
  publish(channel: string, message: string): Promise<void>
  /** Walks over all keys that begin with `prefix`, on every master, about `count` at a time. */
  scan(prefix: string, count?: number): AsyncIterable<string[]>
  healthy(): boolean
  /** Why not, in words for people; '' while healthy. */
  why(): string
  /** Calls `listener` when Redis goes or comes back; the returned function ends that. */
  onChange(listener: (healthy: boolean) => void): () => void
  /** True as soon as Redis answers; false when it has not within the timeout, and is tried on. */
  ready(): Promise<boolean>
  close(): Promise<void>
}
