import { randomBytes } from 'node:crypto'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import type { Sealer } from './seal.ts'

/** One signed-in browser, by a hash of what it shows; `ends` in ms since 1970. */
export interface Session {
  user: string
  ends: number
}

/** The part of a Map that holds sessions, the same on all nodes a moment later. */
export interface SessionTable extends Iterable<[string, Session]> {
  readonly size: number
  get(key: string): Session | undefined
  set(key: string, session: Session): unknown
  delete(key: string): boolean
}

export interface SharedSessions extends SessionTable {
  /** Resolves when the sessions of the others are here, or at once while Redis is away. */
  start(): Promise<void>
  close(): void
}

const signedOut = ''
const mostWaiting = 20_000
const mostGone = 20_000
// Of another node's clock, which may be a little wrong.
const clockMs = 60_000

/**
 * Sessions in the memory of each node, kept in Redis until they end, so that a browser need not sign in anew when its
 * node dies. A look-up never waits; what is changed while Redis is away is told when it is back.
 */
export function createSharedSessions(deps: {
  redis: RedisLink
  sealer: Sealer
  /** Of all keys in Redis. */
  prefix: string
  /** Tells one kind of sessions from another. */
  name: string
  log: Logger
  now?(): number
}): SharedSessions {
  const { redis, sealer, log, now = Date.now } = deps
  const place = `${deps.prefix}:session:${deps.name}:`
  const channel = `${deps.prefix}:sessions:${deps.name}`
  const life = randomBytes(6).toString('base64url')
  const sessions = new Map<string, Session>()
  // Signed out ones are remembered until they would have ended; the others may not have heard of it.
  const gone = new Map<string, number>()
  const waiting = new Set<string>()
  const stops: (() => void)[] = []
  let telling = false
  let closed = false

  function take(key: string, sealed: string): void {
    const text = sealer.open(sealed, place + key)
    if (text === undefined) {
      log.warn({ name: deps.name }, 'a session of another node cannot be read')
      return
    }
    const at = text.indexOf(' ')
    const [ends, user] = [Number(text.slice(0, at)), text.slice(at + 1)]
    if (user === signedOut) {
      sessions.delete(key)
      forget(key, ends)
    } else if (ends > now() && !gone.has(key)) {
      for (const [old, session] of sessions) {
        if (session.ends > now()) break
        sessions.delete(old)
      }
      sessions.set(key, { user, ends })
    }
  }

  /** The oldest come first, in both tables. */
  function forget(key: string, ends: number): void {
    for (const [old, end] of gone) {
      if (end > now() && gone.size < mostGone) break
      gone.delete(old)
    }
    gone.set(key, ends)
  }

  function tell(key: string): void {
    if (waiting.size >= mostWaiting) return
    waiting.add(key)
    tellAll()
  }

  /** What cannot be told now is told after the next comparison, or with the next session. */
  function tellAll(): void {
    if (telling) return
    telling = true
    tellWaiting()
      .then(
        () => waiting.size > 0 && !closed,
        error => {
          log.debug({ err: error }, 'sessions wait for Redis')
          return false
        },
      )
      .then(more => {
        telling = false
        if (more) tellAll()
      })
  }

  async function tellWaiting(): Promise<void> {
    for (const key of waiting) {
      const session = sessions.get(key)
      const ends = session?.ends ?? gone.get(key) ?? 0
      if (ends > now()) await tellOne(key, session, ends)
      waiting.delete(key)
    }
  }

  /** A session only ever comes and goes: one that is there already, or was signed out, is not written over. */
  async function tellOne(key: string, session: Session | undefined, ends: number): Promise<void> {
    const full = place + key
    const sealed = sealer.seal(`${ends} ${session?.user ?? signedOut}`, full)
    const until = ends + clockMs
    if (session === undefined) await redis.ask('session', client => client.set(full, sealed, 'PXAT', until))
    else if ((await redis.ask('session', client => client.set(full, sealed, 'PXAT', until, 'NX'))) === null) {
      const other = await redis.ask('session', client => client.get(full))
      if (other !== null) take(key, other)
      return
    }
    await redis.publish(channel, `${life} ${key} ${sealed}`)
  }

  /** Takes what the others have kept, and tells what they have lost. */
  async function compare(): Promise<void> {
    const there = new Set<string>()
    for await (const keys of redis.scan(place)) {
      const found = await redis.ask('sessions', client => Promise.all(keys.map(key => client.get(key))))
      keys.forEach((full, index) => {
        const key = full.slice(place.length)
        there.add(key)
        const sealed = found[index]
        if (sealed) take(key, sealed)
      })
    }
    for (const key of [...sessions.keys(), ...gone.keys()]) if (!there.has(key)) waiting.add(key)
    tellAll()
  }

  const compareNow = () =>
    compare().catch(error => log.debug({ err: error }, 'sessions are compared when Redis is back'))

  function hear(message: string): void {
    const [from, key, sealed] = message.split(' ')
    if (from !== life && key !== undefined && sealed !== undefined) take(key, sealed)
  }

  return {
    get size() {
      return sessions.size
    },
    get: key => sessions.get(key),
    set(key, session) {
      if (gone.has(key)) return
      sessions.set(key, session)
      tell(key)
    },
    delete(key) {
      const session = sessions.get(key)
      if (session === undefined) return false
      sessions.delete(key)
      if (session.ends > now()) {
        forget(key, session.ends)
        tell(key)
      }
      return true
    },
    [Symbol.iterator]: () => sessions.entries(),
    async start() {
      // Each time that all is heard from then on, the first included, it is compared what was not.
      const unsubscribe = await redis.subscribe(channel, hear, () => void compareNow())
      if (closed) return unsubscribe()
      stops.push(unsubscribe)
      stops.push(redis.onChange(healthy => healthy && void compareNow()))
      await compareNow()
    },
    close() {
      closed = true
      for (const stop of stops.splice(0)) stop()
    },
  }
}
