import { sendIn } from '../calls/leg.ts'
import type { Incoming, Reply, SrfPort } from '../calls/sip.ts'
import { reply } from '../calls/sip.ts'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import {
  conferenceType,
  fullDocument,
  partialDocument,
  type RosterParts,
  type RosterState,
  renderRoster,
} from './roster.ts'

// The notifier of the conference event package for one address (RFC 4575, RFC 6665).

export interface BoardDeps {
  srf: SrfPort
  log: Logger
  /** Contact of the focus. */
  contact: string
  /** Called when the last subscription has ended. */
  onIdle(): void
  /** A subscription of that user began or was renewed. */
  onSubscribed?(user: string): void
}

const usualSeconds = 3600
const leastSeconds = 60
// Changes are gathered so long before they are told; of the speaker alone, longer.
const gatherMs = 200
const speakerMs = 1000
// Partial documents that are kept for those that are still reading earlier ones.
const mostKept = 32
// Subscriptions of one account to one meeting: its devices, and some that were forgotten.
const mostPerUser = 8

/** What has to be known of a subscription to go on with it on another node, besides its dialog. */
export interface Followed {
  /** Of its dialog. */
  id: string
  /** Value of its Event header. */
  event: string
  /** In ms since 1970. */
  endsAt: number
}

interface Subscription extends Followed {
  user: string
  /** Last version that was told and answered; -1: none. */
  told: number
  sending: boolean
  timer: NodeJS.Timeout | undefined
}

/** Tells everybody who has subscribed how a roster changes, to each in order and one NOTIFY at a time. */
export class Board {
  readonly #deps: BoardDeps
  readonly #subscriptions = new Map<string, Subscription>()
  #parts: RosterParts
  #version = 0
  /** What comes after the version that is the key. */
  readonly #steps = new Map<number, string>()
  #wanted: (() => RosterState) | undefined
  #timer: NodeJS.Timeout | undefined
  #due = Number.POSITIVE_INFINITY

  constructor(deps: BoardDeps, state: RosterState) {
    this.#deps = deps
    this.#parts = renderRoster(state)
  }

  get subscriptions(): number {
    return this.#subscriptions.size
  }

  /** Tells a change: at once, or together with what else changes in the next moments. */
  show(state: () => RosterState, urgency: 'now' | 'soon' | 'speaker' = 'soon'): void {
    this.#wanted = state
    const ms = urgency === 'now' ? 0 : urgency === 'soon' ? gatherMs : speakerMs
    if (ms === 0) return this.#flush()
    const due = Date.now() + ms
    if (due >= this.#due) return
    this.#due = due
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#flush(), ms)
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#due = Number.POSITIVE_INFINITY
    if (this.#wanted === undefined) return
    const after = renderRoster(this.#wanted())
    this.#wanted = undefined
    const text = partialDocument(this.#parts, after, this.#version + 1)
    if (text === undefined) return
    this.#steps.set(this.#version, text)
    this.#steps.delete(this.#version - mostKept)
    this.#version++
    this.#parts = after
    for (const one of this.#subscriptions.values()) void this.#tell(one)
  }

  /** Answers a SUBSCRIBE outside dialogs. Throws Refusal: `too-many-requests` when an account has too many. */
  subscribe(req: Incoming, res: Reply, user: string): void {
    const own = [...this.#subscriptions.values()].filter(one => one.user === user)
    if (own.length >= mostPerUser) throw new Refusal('too-many-requests', 'too many subscriptions')
    const seconds = readExpires(req)
    reply(res, 200, { headers: this.#answer(seconds) }, error => {
      const id = res.stackDialogId
      if (error || id === undefined) return
      this.#extend(this.#add({ id, event: req.get('Event') ?? 'conference', endsAt: 0 }, user), seconds)
    })
  }

  #add(followed: Followed, user: string): Subscription {
    const one: Subscription = { ...followed, user, told: -1, sending: false, timer: undefined }
    this.#subscriptions.set(one.id, one)
    this.#deps.srf.addDialog({ id: one.id, handle: (again, answer) => this.#refresh(one, again, answer) })
    return one
  }

  /** Goes on with a subscription of another node, whose dialog is here now: the subscriber is told the whole. */
  goOn(followed: Followed, user: string): void {
    const left = Math.round((followed.endsAt - Date.now()) / 1000)
    if (!this.#subscriptions.has(followed.id)) this.#extend(this.#add(followed, user), Math.max(1, left))
  }

  /** The subscriptions of a user. */
  followed(user: string): Followed[] {
    const own = [...this.#subscriptions.values()].filter(one => one.user === user)
    return own.map(({ id, event, endsAt }) => ({ id, event, endsAt }))
  }

  /** Ends all subscriptions, for example because the meeting is over and will not come again. */
  close(reason: 'noresource' | 'deactivated'): void {
    this.#flush()
    for (const one of [...this.#subscriptions.values()]) this.#end(one, reason)
    clearTimeout(this.#timer)
  }

  #refresh(one: Subscription, req: Incoming, res: Reply): void {
    if (req.method !== 'SUBSCRIBE') return reply(res, 405, { headers: { Allow: 'SUBSCRIBE' } })
    if (!this.#subscriptions.has(one.id)) return reply(res, 481)
    const seconds = readExpires(req)
    if (seconds > 0) one.told = -1
    reply(res, 200, { headers: this.#answer(seconds) }, error => {
      if (!error && this.#subscriptions.has(one.id)) this.#extend(one, seconds)
    })
  }

  #answer(seconds: number): Record<string, string> {
    return { Expires: String(seconds), Contact: this.#deps.contact }
  }

  #extend(one: Subscription, seconds: number): void {
    clearTimeout(one.timer)
    if (seconds === 0) return this.#end(one, 'timeout')
    one.endsAt = Date.now() + seconds * 1000
    one.timer = setTimeout(() => this.#end(one, 'timeout'), seconds * 1000).unref()
    this.#deps.onSubscribed?.(one.user)
    void this.#tell(one)
  }

  /** Tells what is new, one document after the other, until nothing is. */
  async #tell(one: Subscription): Promise<void> {
    if (one.sending) return
    one.sending = true
    while (one.told !== this.#version && this.#subscriptions.has(one.id)) {
      const step = this.#steps.get(one.told)
      const version = step === undefined ? this.#version : one.told + 1
      const body = step ?? fullDocument(this.#parts, version)
      // Noted before it is sent, so that a refresh in between has the whole told once more.
      one.told = version
      const left = Math.max(1, Math.round((one.endsAt - Date.now()) / 1000))
      const status = await this.#notify(one, `active;expires=${left}`, body)
      // Who refuses a NOTIFY has no subscription any more (RFC 6665 section 4.2.2).
      if (status === 481 || status === 408) this.#drop(one, status)
      else if (status >= 300) this.#end(one, 'rejected')
    }
    one.sending = false
  }

  async #notify(one: Subscription, state: string, body: string): Promise<number> {
    const headers = {
      Event: one.event,
      'Subscription-State': state,
      Contact: this.#deps.contact,
      'Content-Type': conferenceType,
    }
    return (await sendIn(this.#deps.srf, one.id, 'NOTIFY', { headers, body })).status
  }

  #end(one: Subscription, reason: string): void {
    if (!this.#forget(one)) return
    void this.#notify(one, `terminated;reason=${reason}`, fullDocument(this.#parts, this.#version)).then(() =>
      this.#deps.srf.removeDialog(one),
    )
  }

  #drop(one: Subscription, status: number): void {
    if (!this.#forget(one)) return
    this.#deps.log.info({ user: one.user, status }, 'subscription lost')
    this.#deps.srf.removeDialog(one)
  }

  #forget(one: Subscription): boolean {
    clearTimeout(one.timer)
    const was = this.#subscriptions.delete(one.id)
    if (was && this.#subscriptions.size === 0) this.#deps.onIdle()
    return was
  }
}

function readExpires(req: Incoming): number {
  const text = req.get('Expires')?.trim() ?? ''
  if (!/^\d{1,10}$/.test(text)) return usualSeconds
  const seconds = Number(text)
  return seconds === 0 ? 0 : Math.min(usualSeconds, Math.max(leastSeconds, seconds))
}
