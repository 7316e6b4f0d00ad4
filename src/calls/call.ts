import type { CallResult, Events } from '../events.ts'
import type { Logger } from '../log.ts'
import type { CallRecord, RecordedLeg } from '../records/records.ts'
import { type Branch, dialogIdOf, type Fork } from './fork.ts'
import { accepting, allow, fromAnswer, nameAddr, type Party } from './headers.ts'
import { passOn } from './in-dialog.ts'
import { Leg, type LegOwner } from './leg.ts'
import { resultOf } from './outcome.ts'
import {
  type Ack,
  type Headers,
  type Incoming,
  type Message,
  type Reply,
  type Response,
  reply,
  type SrfPort,
} from './sip.ts'

export type CallState = 'starting' | 'ringing' | 'answered' | 'ended'

/** What an operator sees of a call. */
export interface CallView {
  id: string
  from: string
  to: string
  state: CallState
  /** When it began and when it was answered: ISO 8601, UTC. */
  since: string
  answered?: string
  legs: RecordedLeg[]
}

export interface CallContext {
  srf: SrfPort
  domain: string
  config: { sessionExpires: number; minSe: number }
  events: Events
  log: Logger
  now(): number
  records: { add(record: CallRecord): void }
  onEnd(call: Call): void
}

export interface Ending {
  /** Status for a caller that has no answer yet; 200 for an answered call. */
  status: number
  /** In words, for the record. */
  reason: string
  result?: CallResult
  headers?: Headers
  /** Reason header for the BYE or CANCEL that the others get. */
  cause?: Headers
}

/** One call: the caller's leg, the branches that ring or the leg that answered, and one way to end. */
export class Call implements LegOwner {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly log: Logger
  state: CallState = 'starting'
  fork: Fork | undefined
  /** The two dialogs; the first is the caller's until a transfer changes who talks. */
  legs: Leg[] = []
  held = false
  /** Resolves when every BYE of the ended call is answered. */
  done: Promise<unknown> = Promise.resolve()
  readonly #context: CallContext
  readonly #req: Incoming
  readonly #res: Reply
  readonly #caller: Party
  readonly #started: number
  #answered: number | undefined
  #cancelledByCaller = false
  #earlyMedia: Branch | undefined
  #rang = false
  #early: Leg | undefined

  constructor(context: CallContext, id: string, req: Incoming, res: Reply, caller: Party, to: string) {
    this.#context = context
    this.#req = req
    this.#res = res
    this.#caller = caller
    this.#started = context.now()
    this.id = id
    this.from = `sip:${caller.user}@${context.domain}`
    this.to = to
    this.log = context.log.child({ call: id, from: this.from, to })
    req.on('cancel', cancel => this.#onCancel(cancel))
    req.on('update', (update, answer) => this.onRequest(this.#callerLeg(req.stackDialogId ?? ''), update, answer))
    context.events.emit('callStarted', { id, from: this.from, to })
    this.log.info('call started')
  }

  get answered(): boolean {
    return this.#answered !== undefined
  }

  peerOf(leg: Leg): Leg | undefined {
    const at = this.legs.indexOf(leg)
    return at === -1 ? undefined : this.legs[1 - at]
  }

  view(): CallView {
    return {
      id: this.id,
      from: this.from,
      to: this.to,
      state: this.state,
      since: new Date(this.#started).toISOString(),
      ...(this.#answered === undefined ? {} : { answered: new Date(this.#answered).toISOString() }),
      legs: this.#recordedLegs(),
    }
  }

  onRequest(leg: Leg, req: Incoming, res: Reply): void {
    passOn(this, leg, req, res)
  }

  /** A provisional response of a branch. The caller has one dialog with us: the first early media is the one it hears. */
  onProgress(branch: Branch, response: Response, ack: Ack): void {
    if (response.has('RSeq')) ack()
    if (this.state === 'ended' || response.status === 100 || response.status === 199) return
    const body = response.body
    if (body && this.#earlyMedia === undefined) this.#earlyMedia = branch
    const media = body && this.#earlyMedia === branch ? body : undefined
    if (!this.#rang) {
      this.#rang = true
      this.state = 'ringing'
      const ms = this.#context.now() - this.#started
      this.#context.events.emit('callRinging', { id: this.id, to: this.to, ms })
    }
    const headers: Headers = { Allow: allow, ...(media ? fromAnswer(response) : {}) }
    // RFC 3262 section 3: a caller that requires it gets every provisional response reliably, over its own leg.
    if (/(^|,)\s*100rel\s*(,|$)/i.test(this.#req.get('Require') ?? '')) headers['Require'] = '100rel'
    reply(this.#res, response.status, { reason: response.reason, headers, body: media }, error => {
      if (!error && this.#res.stackDialogId && this.state !== 'ended') this.#callerLeg(this.#res.stackDialogId)
    })
  }

  onAnswer(branch: Branch, response: Response, ack: Ack, callee: Party): void {
    const { now, events, config, domain } = this.#context
    const leg = this.#calleeLeg(branch, response, callee)
    // An INVITE without an offer gets it in the 2xx, and the answer comes in the caller's ACK (RFC 3264 section 4).
    const late = !this.#req.body
    if (!late) ack()
    const headers: Headers = {
      ...fromAnswer(response),
      ...accepting(this.#req, config),
      'P-Asserted-Identity': nameAddr(callee.displayName, callee.user, domain),
    }
    reply(this.#res, 200, { headers, body: response.body }, error => {
      if (error || this.state === 'ended') {
        if (late) ack()
        void leg.bye()
        // The caller has cancelled in this very moment; the engine has answered it.
        return this.end({ status: 487, reason: 'cancelled', result: 'cancelled' })
      }
      const caller = this.#callerLeg(this.#res.stackDialogId ?? '')
      caller.learn(this.#req)
      caller.confirmed = true
      caller.localSdp = response.body ?? ''
      if (late) {
        caller.onAck = answer => {
          caller.learn(answer)
          leg.localSdp = answer.body ?? ''
          ack(bodyOf(answer))
        }
      }
      this.legs = [caller, leg]
      this.#answered = now()
      this.state = 'answered'
      const ms = this.#answered - this.#started
      events.emit('callAnswered', { id: this.id, from: this.from, to: this.to, ms })
      this.log.info({ ms, by: branch.target.uri }, 'call answered')
    })
    leg.localSdp = this.#req.body ?? ''
  }

  /** A 2xx that nobody waits for any more: acknowledged, then ended (RFC 3261 section 13.2.2.4). */
  onLate(branch: Branch, response: Response, ack: Ack): void {
    const leg = this.#calleeLeg(branch, response, { user: '', displayName: '' })
    ack()
    void leg.bye({ Reason: 'SIP;cause=200;text="Call completed elsewhere"' })
  }

  onFailure(status: number, response: Response | undefined): void {
    this.end({
      status,
      reason: response?.reason || (status === 408 ? 'nobody answered' : 'not answered'),
      ...(response ? { headers: fromAnswer(response) } : {}),
    })
  }

  changed(change: 'held' | 'resumed' | 'media' | 'transferred'): void {
    this.#context.events.emit('callChanged', { id: this.id, change })
  }

  /** The one way a call ends; what comes after the first time is left out. */
  end(how: Ending): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    const cause = how.cause ?? {}
    this.fork?.cancel(cause)
    if (!this.answered && !this.#cancelledByCaller) {
      reply(this.#res, how.status, { ...(how.headers ? { headers: how.headers } : {}) })
    }
    const byes = this.legs.map(leg => (leg.confirmed ? leg.bye(cause) : Promise.resolve(leg.drop())))
    if (this.#early && !this.legs.includes(this.#early)) this.#early.drop()
    this.done = Promise.all(byes)
    this.#report(how)
    this.#context.onEnd(this)
  }

  #report(how: Ending): void {
    const { now, events, records } = this.#context
    const ended = now()
    const seconds = this.#answered === undefined ? 0 : Math.round((ended - this.#answered) / 1000)
    const status = this.answered ? 200 : how.status
    const result = this.answered ? 'answered' : (how.result ?? resultOf(status))
    const { id, from, to } = this
    events.emit('callEnded', { id, from, to, result, status, seconds })
    const { since: started, answered, legs } = this.view()
    const times = { started, ...(answered === undefined ? {} : { answered }), ended: new Date(ended).toISOString() }
    records.add({ id, from, to, ...times, seconds, result, status, reason: how.reason, legs })
    this.log.info({ result, status, seconds, reason: how.reason }, 'call ended')
  }

  #onCancel(cancel: Message): void {
    // The engine has answered the CANCEL with 200 and the INVITE with 487.
    this.#cancelledByCaller = true
    const reason = cancel.get('Reason')
    this.end({ status: 487, reason: 'cancelled', result: 'cancelled', cause: reason ? { Reason: reason } : {} })
  }

  #callerLeg(id: string): Leg {
    if (this.#early && this.#early.id === id) return this.#early
    this.#early = new Leg(this.#context.srf, this, this.#caller, id)
    this.#early.learn(this.#req)
    return this.#early
  }

  #calleeLeg(branch: Branch, response: Response, party: Party): Leg {
    const leg = new Leg(this.#context.srf, this, party, dialogIdOf(response, branch.sent!))
    leg.learn(response)
    leg.confirmed = true
    return leg
  }

  #recordedLegs(): RecordedLeg[] {
    const caller: RecordedLeg = { aor: this.from, userAgent: this.#req.get('User-Agent') ?? '' }
    const rung = (this.fork?.branches ?? []).map(({ target, status }) => ({
      aor: target.aor,
      contact: target.uri,
      userAgent: target.userAgent,
      status,
    }))
    return [caller, ...rung]
  }
}

/** The body of a message as an option of our own one, with its type where that is not plain SDP. */
export function bodyOf(message: Message): { body?: string; headers?: Headers } {
  if (!message.body) return {}
  const type = message.get('Content-Type')
  return { body: message.body, ...(type ? { headers: { 'Content-Type': type } } : {}) }
}
