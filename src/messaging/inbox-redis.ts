import type { Sealer } from '../cluster/seal.ts'
import type { Database } from '../database/database.ts'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import { type Copies, createCopies } from './copies.ts'
import { full, type Inbox, mostRemembered, rememberMs } from './inbox.ts'
import type { Message } from './message.ts'
import { createInboxScripts } from './redis-scripts.ts'

export interface RedisInboxDeps {
  /** Of this node; it has copies of what it keeps. */
  database: Pick<Database, 'query'>
  redis: RedisLink
  sealer: Sealer
  prefix: string
  /** This life of the node. */
  life: string
  mostKept: number
  /** Whether a life is over for sure. */
  isDead(life: string): Promise<boolean>
  now(): number
  log: Logger
}

// What could not be told to a Redis that is away; more of it would only be more to repeat.
const mostLate = 10_000
const recountMs = 60_000

/** The inbox that nodes share. Messages are sealed, and each is sent by one life at a time. */
export function createRedisInbox(deps: RedisInboxDeps): Inbox {
  const { redis, sealer, prefix, life, mostKept, now, log } = deps
  const scripts = createInboxScripts(redis)
  const counts = new Map<string, number>()
  const listeners = new Set<(user: string) => void>()
  const late = new Map<string, () => Promise<unknown>>()
  const channel = `${prefix}:inbox-counts`
  const inbox = (user: string) => `${prefix}:inbox:{${user}}`
  const saidOf = (user: string) => `${prefix}:said:{${user}}`
  const userOf = (key: string) => key.slice(`${prefix}:inbox:{`.length, -1)
  const place = ({ user, id }: Message) => `${inbox(user)}:${id}`
  const seal = (message: Message) => sealer.seal(JSON.stringify(message), place(message))
  let closed = false
  const copies: Copies = createCopies({
    ...{ database: deps.database, redis, key: `${prefix}:inbox-era`, now, log },
    lookUp: ({ user, id, key }) => scripts.lookUp(inbox(user), saidOf(user), id, key),
    restore: async message => void (await hold(message, true, 'again')),
  })

  const listening = redis.subscribe(channel, hear, () => void recount())
  const stopWatching = redis.onChange(healthy => {
    if (healthy) void catchUp().then(recount)
  })
  // What was published may be lost, and what was refused need not have made Redis unhealthy.
  const timer = setInterval(() => void catchUp().then(recount), recountMs)
  timer.unref()

  function set(user: string, count: number): void {
    if (count > 0) counts.set(user, count)
    else counts.delete(user)
  }

  function hear(text: string): void {
    const [from, user = '', count, what, id = ''] = text.split(' ')
    if (from === life) return
    set(user, Number(count))
    if (what === 'arrived') copies.drop(user, id)
    if (what === 'fresh') for (const listener of listeners) listener(user)
  }

  /** Whoever misses it has it right at the next count. */
  function tell(user: string, count: number, what = ''): void {
    if ((counts.get(user) ?? 0) === count && what === '') return
    set(user, count)
    redis.publish(channel, `${life} ${user} ${count} ${what}`).catch(unlessAway)
  }

  function unlessAway(error: unknown): void {
    if (!(error instanceof Refusal)) log.error({ err: error }, 'the inbox failed by a bug')
  }

  async function recount(): Promise<void> {
    try {
      const there = new Set<string>()
      for await (const keys of redis.scan(`${prefix}:inbox:{`)) {
        const found = await redis.ask('countKept', client => Promise.all(keys.map(key => client.hget(key, '#'))))
        keys.forEach((key, at) => {
          there.add(userOf(key))
          set(userOf(key), Number(found[at] ?? 0))
        })
      }
      for (const user of counts.keys()) if (!there.has(user)) counts.delete(user)
      await copies.compare()
    } catch (error) {
      unlessAway(error)
    }
  }

  /** What was sent while Redis was away must not be sent again by whoever adopts it. */
  async function catchUp(): Promise<void> {
    for (const [id, work] of [...late]) {
      try {
        await work()
        late.delete(id)
      } catch (error) {
        if (error instanceof Refusal) return
        late.delete(id)
        log.error({ err: error }, 'the inbox failed by a bug')
      }
    }
  }

  function postpone(id: string, work: () => Promise<unknown>): void {
    if (late.size < mostLate && !closed) late.set(id, work)
  }

  /** False when there is no room. */
  async function settle(message: Message, how: 'end' | 'leave', status: number): Promise<boolean> {
    const { user, id, key } = message
    const keys = [inbox(user), saidOf(user), id] as const
    const [count, kept] = await scripts.settle(...keys, life, how, key, status, mostKept, now(), rememberMs)
    if (count < 0) return count !== -2
    tell(user, count, how === 'end' && kept === 1 ? `arrived ${id}` : '')
    if (how === 'leave') copies.add(message)
    else if (kept === 1) copies.drop(user, id)
    return true
  }

  async function surely(message: Message, how: 'end' | 'leave', status: number): Promise<boolean> {
    try {
      return await settle(message, how, status)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      postpone(message.id, () => settle(message, how, status))
      return true
    }
  }

  function read(user: string, flat: readonly string[]): Message[] {
    const found: Message[] = []
    for (let at = 0; at < flat.length; at += 2) {
      const text = sealer.open(flat[at + 1]!, `${inbox(user)}:${flat[at]}`)
      if (text === undefined)
        log.warn({ message: flat[at] }, 'a kept message was sealed with a secret that is not known')
      else found.push(JSON.parse(text) as Message)
    }
    return found
  }

  async function hold(message: Message, kept: boolean, again = ''): Promise<'held' | { known: number }> {
    const { user, id, key, cseq, ends } = message
    const value = `${kept ? ',k' : `${life},s`},${ends} ${seal(message)}`
    const time = now()
    const held = scripts.hold(
      ...[inbox(user), saidOf(user), id, value, kept ? 'k' : 's', key, cseq, time, mostKept],
      ...[Math.max(60_000, ends - time), rememberMs, mostRemembered, again],
    )
    held.catch(() => {
      const undo = () => scripts.withdraw(inbox(user), saidOf(user), id, key, `${time} ${cseq} `)
      postpone(id, async () => tell(user, await undo()))
    })
    const [said, count] = await held
    if (said === 'known') return { known: Number(count) }
    if (said === 'full') throw full()
    if (kept) {
      tell(user, Number(count), 'fresh')
      copies.add(message)
    }
    return 'held'
  }

  async function adoptFrom(key: string, owner: string): Promise<boolean> {
    const [adopted, count] = await scripts.adopt(key, owner)
    if (adopted > 0) tell(userOf(key), count)
    return adopted > 0
  }

  return {
    counts,
    onKept: listener => void listeners.add(listener),
    hold,
    async note(message) {
      try {
        await scripts.note(inbox(message.user), message.id, life, seal(message))
      } catch (error) {
        unlessAway(error)
      }
    },
    end: async (message, status) => void (await surely(message, 'end', status)),
    leave: message => surely(message, 'leave', 202),
    async take(user, after, most) {
      const [state, count, ...flat] = await scripts.take(inbox(user), life, after, most, now())
      if (state === 'busy') return 'busy'
      tell(user, Number(count))
      return read(user, flat)
    },
    async adopt(of) {
      const users: string[] = []
      const over = new Map<string, boolean>()
      for await (const keys of redis.scan(`${prefix}:inbox:{`)) {
        for (const key of keys) {
          const owners = of === undefined ? await scripts.owners(key) : [of]
          for (const owner of owners) {
            if (owner === life) continue
            if (of === undefined && !over.has(owner)) over.set(owner, await deps.isDead(owner))
            if ((of === owner || over.get(owner)) && (await adoptFrom(key, owner))) users.push(userOf(key))
          }
        }
      }
      return [...new Set(users)]
    },
    async tidy() {
      for await (const keys of redis.scan(`${prefix}:inbox:{`)) {
        for (const key of keys) tell(userOf(key), await scripts.tidy(key, now()))
      }
    },
    close() {
      closed = true
      clearInterval(timer)
      stopWatching()
      listeners.clear()
      listening.then(stop => stop()).catch(unlessAway)
    },
  }
}
