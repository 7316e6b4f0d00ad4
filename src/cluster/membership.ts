import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RedisLink } from '../redis/redis.ts'
import type { Bus, Json } from './bus.ts'
import { createLeaseStore, type Leased } from './lease-store.ts'
import type { Member, Members, NodeState, Role } from './members.ts'
import { type CountAnswer, newPeer, type Peer, type Said, type Words } from './peer.ts'
import { decideState, weightOf } from './sight.ts'
import { createSteadyClock } from './steady.ts'

export interface MembersDeps {
  node: string
  /** New at each start. */
  life: string
  roles: readonly Role[]
  priority: number
  version: string
  /** Where others reach this node, each as in `Member`; asked at each heartbeat, since ports open one after the other. */
  places(): { sip: string; http: string; link: string }
  /** From when on the others may give us work; at once without it. */
  ready?(): boolean
  redis: RedisLink
  bus: Pick<Bus, 'ask' | 'answer'>
  config: { prefix: string; heartbeatMs: number; leaseMs: number; returnSeconds: number }
  log: Logger
  /** Milliseconds of a clock that only grows, also while the machine sleeps. */
  clock?(): number
}

export interface MembersStats {
  /** How long ago our lease was renewed, in ms. */
  leaseAge: number
  states: Record<NodeState, number>
}

export interface RedisMembers extends Members {
  stats(): MembersStats
}

/** The nodes that share a Redis. Who is dead is decided by `decideState`; here is what it is decided from. */
export function createMembers(deps: MembersDeps): RedisMembers {
  const { node, life, redis, bus, config, log } = deps
  const { heartbeatMs, leaseMs } = config
  const clock = deps.clock ?? createSteadyClock()
  const beatOf = createLeaseStore(redis, config.prefix)
  const peers = new Map<string, Peer>()
  const changed = new Set<(member: Member, was: NodeState | undefined) => void>()
  const died = new Set<(dead: Member) => void>()
  const returned = new Set<() => void>()
  const figures = new Set<() => Record<string, number>>()
  // Read at each beat alone: who we are is asked many times a call.
  let load: Record<string, number> = {}
  const since = Date.now()
  let cameAt = clock()
  let said: Said = 'joining'
  let ramp = false
  let renewedAt = cameAt
  let redisAt = Number.NEGATIVE_INFINITY
  let failedAt = Number.NEGATIVE_INFINITY
  let graceUntil = Number.NEGATIVE_INFINITY
  let beating: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let closing: Promise<void> | undefined

  const stopAnswers = [
    bus.answer('ping', async () => ({ life, said })),
    bus.answer('countMeIn', countIn),
    bus.answer('goodbye', async question => {
      const peer = peers.get((question as { life: string }).life)
      if (peer !== undefined) {
        peer.words.said = 'down'
        judge()
      }
      return null
    }),
  ]
  tick()

  /** The beat of this node: renews, looks, judges, and asks peers to count us while Redis does not. */
  function tick(): void {
    clearTimeout(timer)
    if (closing !== undefined) return
    void beat()
    if (clock() - renewedAt > 1.5 * heartbeatMs) askPeers()
    timer = setTimeout(tick, untilNextLook())
    timer.unref()
  }

  /** A heartbeat, or sooner when the lease of one that does not answer ends. */
  function untilNextLook(): number {
    let ms = heartbeatMs
    for (const peer of peers.values()) {
      const left = peer.leftMs - (clock() - peer.leftAt)
      if (peer.member.state === 'suspect' && left > 0) ms = Math.min(ms, left + 2)
    }
    return Math.max(20, ms)
  }

  function words(): Words {
    return {
      node,
      said,
      roles: [...deps.roles],
      priority: deps.priority,
      ...deps.places(),
      version: deps.version,
      since,
      load,
      weight: ramp ? weightOf(clock() - cameAt, config.returnSeconds * 1000) : 1,
    }
  }

  function beat(): Promise<void> {
    beating ??= renewInRedis().finally(() => {
      beating = undefined
    })
    return beating
  }

  async function renewInRedis(): Promise<void> {
    const sentAt = clock()
    load = Object.assign({}, ...[...figures].map(read => read()))
    try {
      const { known, all } = await beatOf(life, JSON.stringify(words()), leaseMs, said === 'down')
      const now = clock()
      const first = redisAt === Number.NEGATIVE_INFINITY
      if (now - redisAt > leaseMs || !known) graceUntil = now + 2 * leaseMs
      redisAt = now
      look(all)
      if (first) ramp = [...peers.values()].some(peer => peer.leftMs > 0)
      renew(sentAt)
    } catch (error) {
      if (!(error instanceof Refusal)) log.error({ err: error }, 'failed to renew the lease')
      failedAt = clock()
      askPeers()
    }
    if (said === 'joining' && (deps.ready?.() ?? true)) said = 'up'
    judge()
  }

  /** Takes in what Redis knows of the others. */
  function look(all: readonly Leased[]): void {
    const seen = new Set<string>()
    for (const { life: other, said: text, leftMs } of all) {
      if (other === life) continue
      seen.add(other)
      const peer = meet(other, JSON.parse(text) as Words)
      peer.leftMs = leftMs
      peer.leftAt = clock()
    }
    for (const [other, peer] of peers) {
      if (seen.has(other)) continue
      peer.leftMs = 0
      if (peer.member.state === 'down') peers.delete(other)
    }
  }

  function meet(other: string, now: Words): Peer {
    const known = peers.get(other)
    if (known !== undefined) {
      // Nobody comes back from a goodbye; what says otherwise was written before it.
      if (known.words.said !== 'down') known.words = now
      return known
    }
    const peer = newPeer(other, now, clock())
    peers.set(other, peer)
    return peer
  }

  /** Our lease holds from when we asked for it. After a gap in it those who own something look first. */
  function renew(sentAt: number): void {
    const now = clock()
    if (sentAt <= renewedAt || now - sentAt >= leaseMs) return
    if (now - renewedAt >= leaseMs) {
      log.warn({ ms: Math.round(now - renewedAt) }, 'this node was away, and looks at what it owns anew')
      for (const listener of [...returned]) listener()
      cameAt = now
      ramp = living().length > 0
    }
    renewedAt = sentAt
  }

  function redisFresh(): boolean {
    return clock() - redisAt < 2.5 * heartbeatMs
  }

  /** Decides how each is; whoever is suspect is asked, unless it has just been. */
  function judge(asking = true): void {
    const now = clock()
    const fresh = redisFresh()
    for (const peer of [...peers.values()]) {
      const left = peer.leftMs - (now - peer.leftAt)
      const state = decideState(
        {
          was: peer.member.state,
          said: peer.words.said,
          lease: fresh ? left > 0 : undefined,
          age: leaseMs - left,
          silent: now - peer.heardAt,
          counted: now - peer.countedAt,
          probe: peer.probe,
          grace: now < graceUntil,
        },
        config,
      )
      show(peer, state, left)
      if (state === 'suspect' && asking) void probe(peer)
      else if (state !== 'down' && fresh && left > 0) peer.probe = 'none'
    }
  }

  function show(peer: Peer, state: NodeState, left: number): void {
    const { said: _, ...rest } = peer.words
    const was = peer.shown ? peer.member.state : undefined
    const silent = Math.min(clock() - peer.heardAt, left > 0 ? leaseMs - left : Number.POSITIVE_INFINITY)
    const seen = Number.isFinite(silent) ? Math.round(Date.now() - silent) : peer.member.seen
    peer.member = { ...peer.member, ...rest, state, seen }
    if (state !== 'down') peer.deathTold = false
    if (was !== state) {
      peer.shown = true
      log.info({ node: rest.node, life: peer.member.life, was, state }, 'node changed state')
      for (const listener of [...changed]) listener(peer.member, was)
    }
    if (state === 'down' && !peer.deathTold) {
      peer.deathTold = true
      for (const listener of [...died]) listener(peer.member)
    }
  }

  async function probe(peer: Peer): Promise<void> {
    if (peer.probing || closing !== undefined) return
    peer.probing = true
    const sentAt = clock()
    try {
      const answer = (await bus.ask(peer.words.node, 'ping', null, leaseMs / 3)) as { life: string; said: Said }
      if (answer.life === peer.member.life) {
        peer.probe = 'answered'
        peer.heardAt = sentAt
        peer.words.said = answer.said
      } else peer.probe = 'other'
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      peer.probe = 'failed'
    } finally {
      peer.probing = false
    }
    if (closing !== undefined) return
    // One that still answers is no suspect any more, and one that does not is asked again at the next look.
    const before = peer.member.state
    if (peer.probe !== 'failed' || redisFresh()) judge(false)
    if (peer.member.state !== before) tick()
  }

  /** Redis does not renew our lease: a peer may do it for us, or count us in when it has lost Redis too. */
  function askPeers(): void {
    for (const peer of living()) void askPeer(peer)
  }

  async function askPeer(peer: Peer): Promise<void> {
    if (peer.asking || closing !== undefined) return
    peer.asking = true
    const sentAt = clock()
    try {
      const question = { life, words: words() } as unknown as Json
      const answer = (await bus.ask(peer.words.node, 'countMeIn', question, leaseMs / 2)) as unknown as CountAnswer
      peer.heardAt = sentAt
      peer.probe = answer.life === peer.member.life ? 'answered' : 'other'
      if (answer.how === 'renewed') return renew(sentAt)
      if (answer.how === 'counted') peer.countsUsAt = sentAt
      // Any of them may have Redis, so all of them have to count us.
      const counts = living().map(one => one.countsUsAt)
      if (counts.length > 0) renew(Math.min(...counts))
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      peer.probe = 'failed'
    } finally {
      peer.asking = false
    }
  }

  async function countIn(question: Json): Promise<Json> {
    const { life: other, words: theirs } = question as unknown as { life: string; words: Words }
    const peer = meet(other, theirs)
    peer.heardAt = clock()
    if (redisFresh()) {
      try {
        await beatOf(other, JSON.stringify(theirs), leaseMs)
        judge(false)
        return { life, how: 'renewed' }
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
      }
    }
    // One that we hold for dead may have been adopted from, so only Redis can bring it back.
    if (peer.member.state === 'down') return { life, how: 'dead' }
    peer.countedAt = clock()
    judge(false)
    return { life, how: 'counted' }
  }

  /** Tells the others what has just changed. Never rejects. */
  async function beatAnew(): Promise<void> {
    await beating?.catch(() => undefined)
    await beat().catch(() => undefined)
  }

  /** An earlier life of this very node is none of them: whoever asks it by its name asks itself, and would count itself. */
  function living(): Peer[] {
    return [...peers.values()].filter(peer => peer.member.state !== 'down' && peer.words.node !== node)
  }

  function self(): Member {
    const { said: own, ...rest } = words()
    return { ...rest, life, state: own, seen: Date.now() }
  }

  async function goodbye(): Promise<void> {
    clearTimeout(timer)
    await beating?.catch(() => undefined)
    said = 'down'
    const tell = living().map(peer => bus.ask(peer.words.node, 'goodbye', { life }, heartbeatMs))
    // Whoever does not hear it finds out when our lease ends.
    await Promise.allSettled([beatOf(life, JSON.stringify(words()), leaseMs, true), ...tell])
    for (const stop of stopAnswers) stop()
  }

  const listen = <L>(set: Set<L>, listener: L) => {
    set.add(listener)
    return () => set.delete(listener)
  }
  return {
    node,
    life,
    list: () => [self(), ...[...peers.values()].map(peer => peer.member)],
    find(nodeOrLife) {
      if (nodeOrLife === node || nodeOrLife === life) return self()
      const exact = peers.get(nodeOrLife)
      if (exact !== undefined) return exact.member
      const same = [...peers.values()].filter(peer => peer.words.node === nodeOrLife).map(peer => peer.member)
      return same.find(one => one.state !== 'down') ?? same.sort((a, b) => b.since - a.since)[0]
    },
    self,
    onBeat(read) {
      figures.add(read)
      load = { ...load, ...read() }
    },
    holdsLease() {
      const now = clock()
      if (now - renewedAt < leaseMs) return true
      // Without Redis and without anybody who could take over, we stay what we are.
      return now - failedAt < leaseMs && living().length === 0
    },
    onChange: listener => listen(changed, listener),
    onDeath(listener) {
      // Those that were found dead before anybody listened.
      for (const { member, deathTold } of peers.values()) if (deathTold) queueMicrotask(() => listener(member))
      return listen(died, listener)
    },
    onReturn: listener => listen(returned, listener),
    async drain() {
      said = 'draining'
      await beatAnew()
    },
    async undrain() {
      if (said !== 'draining') return
      said = 'up'
      await beatAnew()
    },
    stats() {
      const states = { joining: 0, up: 0, draining: 0, suspect: 0, down: 0 }
      states[self().state]++
      for (const { member } of peers.values()) states[member.state]++
      return { leaseAge: clock() - renewedAt, states }
    },
    close() {
      closing ??= goodbye()
      return closing
    },
  }
}
