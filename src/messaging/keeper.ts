import { setTimeout as wait } from 'node:timers/promises'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { Inbox } from './inbox.ts'
import type { Message } from './message.ts'
import type { Sender } from './send.ts'

export interface KeeperDeps {
  inbox: Inbox
  sender: Sender
  /** When the account behind a name was made, ISO 8601; undefined: there is none. */
  account(user: string): Promise<{ created: string } | undefined>
  /** Whether this node may act. */
  mayAct(): boolean
  events: Events
  log: Logger
  now(): number
}

export interface Keeper {
  /** Brings a person what is kept, oldest first; what comes meanwhile as well. Never rejects. */
  bring(user: string): Promise<void>
  /** Whether something is kept for a person, or just being brought. */
  isBehind(user: string): boolean
  close(): void
}

const batch = 20
// While another node brings something, this one looks again for longer than one attempt lasts.
const retryMs = 1000
const mostRetries = 45

/** Brings what is kept, one message of a person after the other. */
export function createKeeper(deps: KeeperDeps): Keeper {
  const { inbox, sender, events, log, now } = deps
  /** Those whose messages are being brought; true: look once more after that. */
  const busy = new Map<string, boolean>()
  const closing = new AbortController()

  async function takeTurn(user: string, after: string): Promise<Message[]> {
    for (let tries = 0; tries < mostRetries && !closing.signal.aborted; tries++) {
      const found = await inbox.take(user, after, batch)
      if (found !== 'busy') return found
      await wait(retryMs, undefined, { ref: false, signal: closing.signal }).catch(() => undefined)
    }
    return []
  }

  /** False when the person is not reached: what comes after it waits too. */
  async function deliver(message: Message, created: string): Promise<boolean> {
    const { id, user } = message
    // A name that was given to somebody else since is not the person it was meant for.
    if (Date.parse(created) > message.at) {
      await inbox.end(message, 404)
      return true
    }
    const targets = deps.mayAct() && !closing.signal.aborted ? await sender.targets(message) : []
    const outcome = await sender.send(message, targets, () => void inbox.note(message))
    if (outcome === 'taken') {
      await inbox.end(message, 200)
      events.emit('messageDelivered', { kept: true, ms: now() - message.at })
      log.info({ message: id, to: user, seconds: Math.round((now() - message.at) / 1000) }, 'kept message delivered')
      return true
    }
    const refused = outcome === 'unreachable' ? undefined : outcome.refused
    log.info({ message: id, to: user, devices: targets.length, refused }, 'kept message not delivered yet')
    if (outcome === 'unreachable') return false
    // What these devices do not take, another one may.
    await inbox.leave(message)
    return true
  }

  async function bringAll(user: string): Promise<void> {
    const account = await deps.account(user)
    if (account === undefined || !(await sender.isThere(user))) return
    for (let after = ''; ; ) {
      const found = await takeTurn(user, after)
      if (found.length === 0) return
      after = found.at(-1)!.id
      if (!(await deliverAll(found, account.created))) return
    }
  }

  /** What is not reached, or not tried because of that or of an error, is given back. */
  async function deliverAll(found: Message[], created: string): Promise<boolean> {
    const open = new Set(found)
    try {
      for (const message of found) {
        if (!(await deliver(message, created))) break
        open.delete(message)
      }
    } finally {
      for (const message of open) await inbox.leave(message)
    }
    return open.size === 0
  }

  return {
    async bring(user) {
      if (busy.has(user)) return void busy.set(user, true)
      busy.set(user, false)
      try {
        do {
          busy.set(user, false)
          await bringAll(user)
        } while (busy.get(user) && !closing.signal.aborted)
      } catch (error) {
        if (!(error instanceof Refusal)) log.error({ err: error, to: user }, 'kept messages failed by a bug')
        else log.warn({ why: error.message, to: user }, 'kept messages wait')
      } finally {
        busy.delete(user)
      }
    },
    isBehind: user => busy.has(user) || inbox.counts.has(user),
    close: () => closing.abort(),
  }
}
