import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { tagOf } from '../calls/headers.ts'
import type { Pass } from '../calls/pass.ts'
import type { Incoming } from '../calls/sip.ts'
import type { Bus, Json } from '../cluster/bus.ts'
import type { Claim, Claims } from '../cluster/claims.ts'
import type { Members } from '../cluster/members.ts'
import type { Replication } from '../cluster/replication.ts'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { Adoption } from './adoption.ts'
import { guarded } from './guarded.ts'
import type { Meeting } from './meeting.ts'
import { meetingName } from './snapshot.ts'

// An address has one meeting in the whole cluster. The node that has it has claimed the address (cluster/claims.ts), and
// every other node passes INVITEs and SUBSCRIBEs for it to that one, which believes what the passing node says of their
// sender by a ticket: agreed on over the bus, for one request, once.

export interface SeatsDeps {
  claims: Claims
  members: Pick<Members, 'life' | 'node' | 'list' | 'find' | 'onReturn'>
  replication: Pick<Replication, 'takeOver' | 'owns'>
  bus: Pick<Bus, 'ask' | 'answer'>
  adoption: Pick<Adoption, 'take'>
  pass: Pass
  /** The meeting of an address here. */
  at(user: string): Meeting | undefined
  list(): Iterable<Meeting>
  /** False while this node goes: its meetings are about to be another one's. */
  accepts(): boolean
  events: Events
  log: Logger
  patienceMs?: number | undefined
}

/** Who has proven, to another node, to have sent a request. */
export interface Passed {
  user: string
}

export interface Seats {
  /**
   * Decides where a request for an address is answered, and passes it to the other node where it is there: true then.
   * False: here. An INVITE claims the address for a meeting of the id `id` where nobody has it. Refuses `node-unavailable`
   * while the node that has it says nothing and is not known to be dead.
   */
  lead(user: string, req: Incoming, caller: string, id?: string): Promise<boolean>
  /** Claims the address of a meeting for what is answered here; the other life that has it, if so. */
  take(user: string, id: string): Promise<string | undefined>
  /** The other living life that has the meeting of an address. */
  find(user: string): Promise<string | undefined>
  /** The sender that another node vouches for; once for each request. */
  passed(req: Incoming): Passed | undefined
  /** A meeting goes on here that was another node's. */
  hold(meeting: Meeting): void
  /** It is over here; `ended`: for good. */
  free(meeting: Meeting, ended: boolean): void
  /** An address was claimed, and no meeting has begun. */
  unused(user: string): void
  close(): void
}

/** One node by itself: everything is here. */
export const lone: Seats = {
  lead: async () => false,
  take: async () => undefined,
  find: async () => undefined,
  passed: () => undefined,
  hold: () => undefined,
  free: () => undefined,
  unused: () => undefined,
  close: () => undefined,
}

/** What a ticket is good for. */
interface Vouched {
  callId: string
  fromTag: string
  method: string
  caller: string
  /** Address that it came from. */
  source: string
}

interface Ticket {
  request: Vouched
  until: number
}

const verb = 'meetings.admit'
export const ticketHeader = 'Vaartha-Ticket'
const ticketMs = 30_000
const mostTickets = 2000
const askMs = 1500
// The sender of a request waits for 32 seconds (timers B and F of RFC 3261).
const defaultPatienceMs = 8000
const lookMs = 150
const renewMs = 60_000
const nobody: Claim = { owner: '', value: '', dead: true }

export function createSeats(deps: SeatsDeps): Seats {
  const { claims, members, replication, bus, adoption, log, patienceMs = defaultPatienceMs } = deps
  const { life } = members
  /** Ids of the meetings that our claims are for, by address. */
  const held = new Map<string, string>()
  /** Addresses that could not be claimed while the store was away: they are ours until it is back. */
  const unclaimed = new Set<string>()
  const turns = new Map<string, Promise<unknown>>()
  const tickets = new Map<string, Ticket>()
  /** Requests that came from another node: they go no further. */
  const came = new WeakSet<Incoming>()
  const renewal = setInterval(renew, renewMs)
  renewal.unref()
  const stops = [claims.onBack(renew), members.onReturn(renew), bus.answer(verb, admit)]
  let closed = false

  /** Whether an address is ours without asking. */
  function isOurs(user: string): boolean {
    const meeting = deps.at(user)
    const has = held.has(user) || (unclaimed.has(user) && meeting !== undefined)
    return has && (meeting === undefined || replication.owns('meeting', meeting.id))
  }

  /** One after the other for each address. */
  function inTurn<T>(user: string, work: () => Promise<T>): Promise<T> {
    const next = (turns.get(user) ?? Promise.resolve()).then(work, work)
    const settled = next
      .catch(() => undefined)
      .finally(() => {
        if (turns.get(user) === settled) turns.delete(user)
      })
    turns.set(user, settled)
    return next
  }

  /** Without the store each node is for itself. */
  async function orAlone<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return undefined
    }
  }

  const take = (user: string, id: string) => inTurn(user, () => settle(user, id))

  async function settle(user: string, id: string): Promise<string | undefined> {
    if (deps.at(user) !== undefined && held.has(user) && isOurs(user)) return undefined
    const late = performance.now() + patienceMs
    for (let over: Claim | undefined; ; ) {
      const own = deps.at(user)?.id ?? id
      const before = over
      over = undefined
      const claim = await orAlone(() => claims.claim(user, own, before))
      if (claim === undefined) {
        const peer = await atPeer(user)
        if (peer === undefined) unclaimed.add(user)
        return peer
      }
      unclaimed.delete(user)
      if (claim.owner === life) {
        held.set(user, claim.value)
        return undefined
      }
      held.delete(user)
      if (isHere(user, claim) || (claim.dead && (performance.now() > late || (await isLeft(claim))))) over = claim
      else if (!claim.dead) return claim.owner
      else await wait(lookMs, undefined, { ref: false })
    }
  }

  /** The meeting that another life has claimed this for has come here. */
  function isHere(user: string, { value }: Claim): boolean {
    return deps.at(user)?.id === value && replication.owns('meeting', value)
  }

  /** True when nothing goes on of the meeting that a dead node had; what is kept of it comes here, or to another node. */
  async function isLeft({ value }: Claim): Promise<boolean> {
    const kept = await orAlone(() => replication.takeOver(meetingName(value)))
    if (kept === undefined) return true
    if ('snapshot' in kept) await adoption.take(kept)
    return false
  }

  /** While the store is away: the living node that has a meeting at this address. */
  async function atPeer(user: string): Promise<string | undefined> {
    if (deps.at(user) !== undefined) return undefined
    const others = members.list().filter(one => one.life !== life && one.state === 'up' && one.roles.includes('sip'))
    const has = await Promise.all(others.map(async one => (await ask(one.node, { user })) === true && one.life))
    return has.find(one => one !== false) || undefined
  }

  async function find(user: string): Promise<string | undefined> {
    if (isOurs(user)) return undefined
    const claim = await orAlone(async () => (await claims.see(user)) ?? nobody)
    if (claim === undefined) return atPeer(user)
    return claim.dead || claim.owner === life ? undefined : claim.owner
  }

  /** What another node says; undefined when it does not answer, or does not want the request. */
  async function ask(node: string, question: Json): Promise<Json | undefined> {
    try {
      return await bus.ask(node, verb, question, askMs)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return undefined
    }
  }

  /** Another node asks whether we have an address, and for a ticket where it names a request. */
  async function admit(question: Json): Promise<Json> {
    const { user, request } = readQuestion(question)
    await turns.get(user)
    if (closed || !isOurs(user) || !deps.accepts()) return false
    if (request === undefined) return deps.at(user) !== undefined
    const now = performance.now()
    for (const [name, { until }] of tickets) {
      if (until > now && tickets.size < mostTickets) break
      tickets.delete(name)
    }
    const name = randomBytes(16).toString('hex')
    tickets.set(name, { request, until: now + ticketMs })
    return name
  }

  async function lead(user: string, req: Incoming, caller: string, id?: string): Promise<boolean> {
    const late = performance.now() + patienceMs
    for (;;) {
      const where = id === undefined ? await find(user) : await take(user, id)
      if (where === undefined) return false
      const goesOn = !came.has(req)
      if (goesOn && (await passTo(where, user, req, caller))) return true
      if (!goesOn || performance.now() > late || closed) {
        const headers = { 'Retry-After': '5' }
        throw new Refusal('node-unavailable', 'the node that has this meeting does not answer', { headers })
      }
      await wait(lookMs, undefined, { ref: false })
    }
  }

  async function passTo(owner: string, user: string, req: Incoming, caller: string): Promise<boolean> {
    const node = members.find(owner)?.node
    if (node === undefined) return false
    const { method, source_address: source } = req
    const request = { callId: req.get('Call-ID') ?? '', fromTag: tagOf(req.get('From')), method, caller, source }
    const ticket = await ask(node, { user, request })
    if (typeof ticket !== 'string') return false
    if (!(await deps.pass(owner, req, { user, headers: { [ticketHeader]: ticket } }))) return false
    deps.events.emit('groupPassed', { group: user, node, method })
    log.info({ address: user, node, method, caller }, 'passed to the node that has the meeting')
    return true
  }

  /** Claims again what our meetings need: the store may have lost it, or it was another node's until now. */
  function renew(): void {
    for (const meeting of deps.list()) hold(meeting)
  }

  function hold(meeting: Meeting): void {
    const { user } = meeting.address
    const work = async () => {
      if (meeting.ended || deps.at(user) !== meeting || !replication.owns('meeting', meeting.id)) return
      let claim = await claims.claim(user, meeting.id)
      unclaimed.delete(user)
      if (claim.owner !== life && (claim.dead || isHere(user, claim))) {
        claim = await claims.claim(user, meeting.id, claim)
      }
      if (claim.owner === life) held.set(user, claim.value)
      else if (held.delete(user) || claim.value !== meeting.id)
        meeting.log.warn({ node: claim.owner }, 'another node has a meeting at this address: who comes now goes there')
    }
    void guarded(meeting.log, inTurn(user, work))
  }

  const release = (user: string, id: string) => inTurn(user, () => claims.release(user, id))

  return {
    lead,
    take,
    find,
    passed(req) {
      const name = req.get(ticketHeader)
      const ticket = name === undefined ? undefined : tickets.get(name)
      if (name === undefined || ticket === undefined || ticket.until < performance.now()) return undefined
      const { callId, fromTag, method, caller, source } = ticket.request
      if (req.get('Call-ID') !== callId || tagOf(req.get('From')) !== fromTag || req.method !== method) return undefined
      tickets.delete(name)
      came.add(req)
      // Where it came from by itself decides by which of our addresses its media comes.
      Object.assign(req, { source_address: source })
      return { user: caller }
    },
    hold,
    free(meeting, ended) {
      const { user } = meeting.address
      unclaimed.delete(user)
      if (held.get(user) !== meeting.id) return
      held.delete(user)
      if (ended) void guarded(log, release(user, meeting.id))
    },
    unused(user) {
      const id = deps.at(user) === undefined ? held.get(user) : undefined
      unclaimed.delete(user)
      if (id === undefined) return
      held.delete(user)
      void guarded(log, release(user, id))
    },
    close() {
      closed = true
      clearInterval(renewal)
      for (const stop of stops) stop()
    },
  }
}

function readQuestion(question: Json): { user: string; request: Vouched | undefined } {
  const { user, request } = textsIn(question) as { user?: Json; request?: Json }
  if (typeof user !== 'string') throw new Refusal('bad-request')
  if (request === undefined) return { user, request }
  const told = textsIn(request)
  const names = ['callId', 'fromTag', 'method', 'caller', 'source']
  if (!names.every(name => typeof told[name] === 'string')) throw new Refusal('bad-request')
  return { user, request: told as unknown as Vouched }
}

function textsIn(value: Json): Record<string, Json> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
}
