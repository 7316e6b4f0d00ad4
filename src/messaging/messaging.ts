import { setTimeout as wait } from 'node:timers/promises'
import type Srf from 'drachtio-srf'
import { allow, type Party } from '../calls/headers.ts'
import { calledUser, type Target } from '../calls/route.ts'
import { type Headers, type Incoming, type Reply, reply } from '../calls/sip.ts'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { Inbox } from './inbox.ts'
import type { Keeper } from './keeper.ts'
import { addressTo, type Draft, type Message, readMessage } from './message.ts'
import type { Sender } from './send.ts'

export interface Messaging {
  /** A MESSAGE outside dialogs of somebody who has proven to be `sender`. Throws Refusal while nothing is answered. */
  message(req: Srf.SrfRequest, res: Srf.SrfResponse, sender: Party): Promise<void>
  /** What is kept here and on the other nodes, and what this node is sending. */
  figures(): MessageFigures
  /** Waits a moment for devices that have not answered yet. */
  close(): Promise<void>
}

export interface MessageFigures {
  kept: number
  people: number
  sending: number
}

export interface MessagingDeps {
  config: Config['messages']
  domain: string
  isOwn(host: string): boolean
  /** Undefined: there is nobody of that name, or nobody any more. */
  find(user: string): Promise<{ user: string } | undefined>
  /** Whose device a GRUU of this server names; undefined when it is none. */
  ownerOfGruu(uri: string): string | undefined
  /** The members of a group; undefined: there is no such group. Throws Refusal where the sender may not write to it. */
  membersOf(group: string, sender: string): Promise<readonly string[] | undefined>
  inbox: Inbox
  sender: Sender
  keeper: Keeper
  events: Events
  log: Logger
  now(): number
}

// A sender gives up after 32 seconds (RFC 3261, timer F) and is to hear before that of a device that says nothing.
const patienceMs = 5000
const closeMs = 2000
// RFC 3428 section 8: nobody's messages may take all of the network or of this node.
const mostSending = 1000
const mostOfOne = 32
// Copies of a message to a group that are made at once.
const width = 25
const others = allow.replace(' MESSAGE,', '')

/** Takes messages, and answers for their people: 200 when a device has it, 202 when it is kept. */
export function createMessaging(deps: MessagingDeps): Messaging {
  const { config, domain, isOwn, inbox, sender, keeper, events, log, now } = deps
  const sending = new Map<Message, Promise<unknown>>()
  const byPerson = new Map<string, number>()
  /** Answers senders of what is written down. */
  const waiting = new Set<(status: number) => void>()
  let closing = false

  async function accept(draft: Draft, to: string, group: readonly string[] | undefined): Promise<number> {
    if (group === undefined) return pass(addressTo(draft, to), draft.fleeting, patienceMs)
    const members = group.filter(user => user !== draft.from.user)
    const statuses: number[] = []
    for (let at = 0; at < members.length; at += width) {
      const some = members.slice(at, at + width).map(user => copy(draft, user))
      statuses.push(...(await Promise.all(some)))
    }
    if (statuses.some(status => status < 300)) return 202
    throw new Refusal(statuses.includes(503) ? 'store-unavailable' : 'temporarily-unavailable', 'No member is reached')
  }

  /** One member who cannot have it does not keep it from the others. */
  async function copy(draft: Draft, user: string): Promise<number> {
    try {
      if ((await deps.find(user)) === undefined) return 404
      // A sender that waited for each silent phone of a large group would give up.
      return await pass(addressTo(draft, user), draft.fleeting, 0)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      log.info({ to: user, group: draft.to, code: error.code }, 'a member does not get a message')
      return error.sipStatus
    }
  }

  /** The final status for the sender. Throws Refusal. */
  async function pass(message: Message, fleeting: boolean, patience: number): Promise<number> {
    const targets = await sender.targets(message)
    const keeps = !fleeting && config.keepDays > 0
    const waits = targets.length === 0 || (keeps && keeper.isBehind(message.user))
    if (waits && (!keeps || figures().kept >= config.mostKeptInAll)) throw notKept(keeps)
    if (keeps) {
      const held = await hold(message, waits, targets.length > 0)
      if (typeof held === 'object') return held.known || 202
      if (waits && held) {
        log.info({ message: message.id, from: message.from.user, to: message.user }, 'message kept')
        // Somebody may have registered while it was written.
        void keeper.bring(message.user)
        return 202
      }
      return (await send(message, targets, held, patience)) || refuse(away())
    }
    return (await send(message, targets, false, patience)) || refuse(notKept(false))
  }

  /** False: it could not be written, and there is a device that may take it all the same. */
  async function hold(message: Message, kept: boolean, reachable: boolean): Promise<boolean | { known: number }> {
    try {
      const held = await inbox.hold(message, kept)
      return held === 'held' ? true : held
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== 'store-unavailable') throw error
      if (reachable) return false
      throw away()
    }
  }

  /** Sends it to all devices; the sender hears of the first that has it, or after a while that it is kept. 0: nobody has it. */
  async function send(message: Message, targets: readonly Target[], held: boolean, patience: number): Promise<number> {
    const first = Promise.withResolvers<number>()
    let answered = false
    const answer = (status: number) => {
      answered = true
      first.resolve(status)
    }
    const all = sender
      .send(message, targets, () => {
        if (held) void inbox.note(message)
        taken(message, answered)
        answer(200)
      })
      .then(async outcome => {
        if (outcome === 'taken') {
          taken(message, answered)
          answer(200)
          if (held) await inbox.end(message, 200)
          if (inbox.counts.has(message.user)) void keeper.bring(message.user)
        } else if (outcome !== 'unreachable' && !answered) {
          if (held) await inbox.end(message, outcome.refused)
          answer(outcome.refused)
        } else if (!held) answer(0)
        else answer((await inbox.leave(message)) ? 202 : 480)
      })
      .catch((error: unknown) => {
        if (answered) log.error({ err: error, message: message.id }, 'a message failed after its answer')
        first.reject(error)
      })
      .finally(() => sending.delete(message))
    sending.set(message, all)
    if (!held) return first.promise
    waiting.add(answer)
    const late = new AbortController()
    const enough = wait(patience, 202, { signal: late.signal, ref: false }).catch(() => 202)
    try {
      const status = await Promise.race([first.promise, enough])
      answered = true
      return status
    } finally {
      late.abort()
      waiting.delete(answer)
    }
  }

  const told = new WeakSet<Message>()
  function taken(message: Message, answered: boolean): void {
    if (told.has(message)) return
    told.add(message)
    events.emit('messageDelivered', { kept: answered, ms: now() - message.at })
  }

  function figures(): MessageFigures {
    let kept = 0
    for (const count of inbox.counts.values()) kept += count
    return { kept, people: inbox.counts.size, sending: sending.size }
  }

  function admit(user: string): void {
    if (closing || sending.size >= mostSending || (byPerson.get(user) ?? 0) >= mostOfOne)
      throw new Refusal('too-busy', 'Too many messages at once', { headers: { 'Retry-After': '5' } })
  }

  async function take(req: Incoming, from: Party): Promise<number> {
    if (!config.enabled)
      throw new Refusal('method-not-allowed', 'messages.enabled is off', { headers: { Allow: others } })
    admit(from.user)
    const owner = /;gr\b/.test(req.uri) ? deps.ownerOfGruu(req.uri) : undefined
    const name = owner ?? calledUser(req.uri, isOwn).toLowerCase()
    const read = readMessage(req, from, `sip:${name}@${domain}`, config, isOwn, now())
    const draft = owner === undefined ? read : { ...read, gruu: req.uri }
    byPerson.set(from.user, (byPerson.get(from.user) ?? 0) + 1)
    try {
      const group = await deps.membersOf(name, from.user)
      const person = group === undefined ? await deps.find(name) : undefined
      if (group === undefined && person === undefined) throw new Refusal('not-found')
      return await accept(draft, person?.user ?? name, group)
    } finally {
      const left = byPerson.get(from.user)! - 1
      if (left > 0) byPerson.set(from.user, left)
      else byPerson.delete(from.user)
    }
  }

  return {
    async message(request, response, from) {
      const began = performance.now()
      let status = 500
      try {
        status = await take(request as unknown as Incoming, from)
        const headers: Headers = { Date: new Date(now()).toUTCString() }
        reply(response as unknown as Reply, status, { headers })
      } catch (error) {
        if (error instanceof Refusal) status = error.sipStatus
        throw error
      } finally {
        events.emit('messageAnswered', { status, ms: performance.now() - began })
      }
    },
    figures,
    async close() {
      closing = true
      keeper.close()
      // What is written down is safe, and its sender need not wait for us.
      for (const answer of waiting) answer(202)
      await Promise.race([Promise.allSettled(sending.values()), wait(closeMs, undefined, { ref: false })])
    },
  }
}

function notKept(keeps: boolean): Refusal {
  const why = keeps ? 'Too many messages are kept' : 'Not registered, and the message is not kept'
  return new Refusal('temporarily-unavailable', why, { headers: { Warning: `399 vaartha "${why}"` } })
}

function away(): Refusal {
  const headers = { 'Retry-After': '30', Warning: '399 vaartha "Messages cannot be kept now"' }
  return new Refusal('store-unavailable', 'Messages cannot be kept now', { headers })
}

function refuse(refusal: Refusal): never {
  throw refusal
}
