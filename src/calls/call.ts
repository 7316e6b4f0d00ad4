import { Refusal } from '../errors.ts'
import type { CallResult } from '../events.ts'
import type { Logger } from '../log.ts'
import type { LegEvent } from '../media/media.ts'
import type { RecordedLeg } from '../records/records.ts'
import { type Anchor, type End, endOf } from './anchor.ts'
import { acknowledge, answerThrough, early, onMedia } from './anchored.ts'
import type { CallContext, CallState, CallView } from './context.ts'
import { readDigit } from './dtmf.ts'
import { type Branch, dialogIdOf, type Fork } from './fork.ts'
import { accepting, asserted, flat, fromAnswer, type Party, tagOf } from './headers.ts'
import { passOn } from './in-dialog.ts'
import { Leg, type LegOwner } from './leg.ts'
import { resultOf } from './outcome.ts'
import { createProgress, type Progress } from './progress.ts'
import { type Ack, type Headers, type Incoming, type Message, type Reply, type Response, reply } from './sip.ts'
import { Taping } from './taping.ts'
import { isMeant, type Replaces } from './transfer.ts'

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
  /** AORs of the two parties; a transfer changes them. */
  from: string
  to: string
  readonly log: Logger
  /** Carries its media, where that cannot go directly. */
  readonly anchor: Anchor
  /** The caller's media until it is answered. */
  readonly callerEnd: End
  state: CallState = 'starting'
  readonly forks: Fork[] = []
  /** The two dialogs; the first is the caller's until a transfer changes who talks. */
  legs: Leg[] = []
  held = false
  /** The leg that is about to be replaced: its BYE does not end the call. */
  leaving: Leg | undefined
  /** Its media is being brought to this server: who asks for something else is to try again. */
  moving = false
  readonly taping = new Taping()
  /** How many transfers were asked for. */
  transfers = 0
  /** A dialog that is not one of the two yet, and is ended with the call. */
  coming: Leg | undefined
  /** Resolves when the call is answered or has ended unanswered. */
  readonly settled: Promise<void>
  #settle: () => void = () => undefined
  /** Resolves when every BYE of the ended call is answered. */
  done: Promise<unknown> = Promise.resolve()
  readonly #context: CallContext<Call>
  readonly #req: Incoming
  readonly #res: Reply
  readonly #caller: Party
  readonly #started: number
  #answered: number | undefined
  #cancelledByCaller = false
  readonly #progress: Progress
  /** The ACK that the callee of a late offer still waits for. */
  #owedAck: Ack | undefined
  #early: Leg | undefined
  /** AORs that joined without being rung by this call. */
  readonly #joined: RecordedLeg[] = []

  constructor(context: CallContext<Call>, id: string, req: Incoming, res: Reply, caller: Party, to: string) {
    this.#context = context
    this.#req = req
    this.#res = res
    this.#caller = caller
    this.settled = new Promise(resolve => {
      this.#settle = resolve
    })
    this.#started = context.now()
    this.id = id
    this.anchor = context.anchor(id)
    this.callerEnd = endOf(req)
    this.from = this.#aorOf(caller)
    this.to = to
    this.log = context.log.child({ call: id, from: this.from, to })
    this.#progress = createProgress({
      srf: context.srf,
      req,
      res,
      ended: () => this.ended,
      bodyFor: (branch, sdp) => early(this, branch, sdp),
      onSent: sent => {
        if (res.stackDialogId && !this.ended) this.#callerLeg(res.stackDialogId).toTag = tagOf(sent?.get('To'))
      },
    })
    req.on('cancel', cancel => this.#onCancel(cancel))
    req.on('update', (update, answer) => this.onRequest(this.#callerLeg(req.stackDialogId ?? ''), update, answer))
    context.events.emit('callStarted', { id, from: this.from, to })
    this.log.info('call started')
  }

  get answered(): boolean {
    return this.#answered !== undefined
  }

  get ended(): boolean {
    return this.state === 'ended'
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
      recording: this.taping.on,
      legs: this.#recordedLegs(),
    }
  }

  /** The body of the caller's INVITE; undefined for a late offer. */
  get offered(): string | undefined {
    return this.#req.body || undefined
  }

  /** The leg, or the ringing branch, that a Replaces header means. */
  locate(replaces: Replaces): { leg?: Leg; branch?: Branch } | undefined {
    const leg = [...this.legs, this.#early].find(one => one && !one.ended && !one.replaced && one.isMeantBy(replaces))
    if (leg) return { leg }
    const branch = this.forks
      .flatMap(fork => fork.branches)
      .find(({ sent, status, cancelled, toTag = '' }) => {
        if (!sent || status !== 0 || cancelled) return false
        return isMeant(replaces, sent.get('Call-ID') ?? '', tagOf(sent.get('From')), toTag)
      })
    return branch && { branch }
  }

  onRequest(leg: Leg, req: Incoming, res: Reply): void {
    if (req.method === 'REFER' && leg.confirmed && !leg.replaced) return this.#context.onRefer(this, leg, req, res)
    if (req.method === 'BYE' && (leg.replaced || leg === this.leaving)) {
      if (req.source === 'network') reply(res, 200)
      return leg.drop()
    }
    if (req.method === 'PRACK' && leg === this.#early) return this.#progress.prack(req, res)
    const key = req.method === 'INFO' ? readDigit(req) : undefined
    if (key) this.#context.onDigit(this, leg, key.digit)
    passOn(this, leg, req, res)
  }

  onMedia(leg: Leg, event: LegEvent): void {
    if (event.type === 'dtmf') this.#context.onDigit(this, leg, event.digit)
    onMedia(this, leg, event)
  }

  onProgress(branch: Branch, response: Response, ack: Ack): void {
    if (response.status === 100 || response.status === 199) return response.has('RSeq') ? ack() : undefined
    if (this.state === 'starting') {
      this.state = 'ringing'
      const ms = this.#context.now() - this.#started
      this.#context.events.emit('callRinging', { id: this.id, to: this.to, ms })
    }
    this.#progress.on(branch, response, ack)
  }

  onAnswer(branch: Branch, response: Response, ack: Ack, callee: Party): void {
    const leg = this.calleeLeg(branch, response, callee)
    leg.localSdp = branch.body ?? this.#req.body ?? ''
    this.connect(leg, response, ack)
  }

  /** Gives the caller what `leg` has answered to its INVITE, and so makes the call. */
  connect(leg: Leg, response: Message, ack: Ack): void {
    // An INVITE without an offer gets it in the 2xx, and the answer comes in the caller's ACK (RFC 3264 section 4).
    const late = !this.#req.body && !this.#progress.prackSdp
    if (late) this.#owedAck = ack
    else ack()
    this.coming = leg
    this.#progress.inOrder(() => {
      const body = answerThrough(this, leg, response.body || undefined)
      if (!(body instanceof Promise)) return this.#accept(leg, response, body, late, ack)
      body.then(
        made => this.#accept(leg, response, made, late, ack),
        (error: unknown) => this.fail(error),
      )
    })
  }

  /** Ends it for an error that is a Refusal or a bug. */
  fail(error: unknown): void {
    if (!(error instanceof Refusal)) this.log.error({ err: error }, 'call failed by a bug')
    const refusal = error instanceof Refusal ? error : new Refusal('server-error')
    this.end({ status: refusal.sipStatus, reason: refusal.message, headers: flat(refusal.headers) })
  }

  #accept(leg: Leg, response: Message, body: string | undefined, late: boolean, ack: Ack): void {
    const { now, events, config, domain } = this.#context
    const { told, prackSdp } = this.#progress
    leg.remoteSdp ||= told
    const headers: Headers = {
      ...fromAnswer(response),
      ...accepting(this.#req, config),
      ...asserted(leg.party, domain),
    }
    if (leg.end.leg !== undefined || this.callerEnd.leg !== undefined) headers['Content-Type'] = 'application/sdp'
    reply(this.#res, 200, { headers, body }, (error, sent) => {
      if (error || this.ended) {
        this.#owedAck?.()
        this.#owedAck = undefined
        void leg.bye()
        if (!error)
          void new Leg(this.#context.srf, this, this.#caller, this.#res.stackDialogId ?? '', this.callerEnd).bye()
        // The caller has cancelled in this very moment; the engine has answered it.
        return this.end({ status: 487, reason: 'cancelled', result: 'cancelled' })
      }
      const caller = this.#callerLeg(this.#res.stackDialogId ?? '')
      caller.learn(this.#req)
      caller.toTag = tagOf(sent?.get('To'))
      caller.confirmed = true
      caller.localSdp = body || told
      caller.remoteSdp = prackSdp || caller.remoteSdp
      leg.localSdp = prackSdp || leg.localSdp
      this.#owedAck = undefined
      if (late) {
        caller.onAck = answer => {
          caller.learn(answer)
          acknowledge(this, caller, leg, answer, ack)
        }
      }
      this.legs = [caller, leg]
      this.coming = undefined
      this.#answered = now()
      this.state = 'answered'
      const ms = this.#answered - this.#started
      events.emit('callAnswered', { id: this.id, from: this.from, to: this.to, ms })
      this.log.info({ ms, by: leg.party.user }, 'call answered')
      this.#settle()
    })
  }

  /** A 2xx that nobody waits for any more: acknowledged, then ended (RFC 3261 section 13.2.2.4). */
  onLate(branch: Branch, response: Response, ack: Ack): void {
    const leg = this.calleeLeg(branch, response, { user: '', displayName: '' })
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

  changed(change: 'held' | 'resumed' | 'media' | 'transferred' | 'recording'): void {
    this.#context.events.emit('callChanged', { id: this.id, change })
  }

  /** `come` takes the place of `went`, whose BYE is the caller's to send; the record names who talks last. */
  replace(went: Leg, come: Leg): void {
    const stay = this.peerOf(went)
    if (stay === undefined) return
    const sameSide = went.party.user === come.party.user && this.legs[0] === went
    this.legs = sameSide ? [come, stay] : [stay, come]
    went.replaced = true
    void this.#context.stopRecording(this)
    come.owner = this
    this.coming = this.leaving = undefined
    this.held = false
    const [from, to] = this.legs.map(leg => this.#aorOf(leg.party))
    this.from = from ?? this.from
    this.to = to ?? this.to
    this.#joined.push({ aor: this.#aorOf(come.party) })
    this.changed('transferred')
    this.log.info({ now: `${this.from} and ${this.to}` }, 'call transferred')
  }

  /** Lets a leg go to another call without a BYE. */
  release(leg: Leg): void {
    this.legs = this.legs.filter(one => one !== leg)
    this.leaving = undefined
  }

  /** The one way a call ends; what comes after the first time is left out. */
  end(how: Ending): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    const cause = how.cause ?? {}
    this.#progress.close()
    this.#owedAck?.()
    this.#owedAck = undefined
    for (const fork of this.forks) fork.cancel(cause)
    if (!this.answered && !this.#cancelledByCaller) {
      reply(this.#res, how.status, { ...(how.headers ? { headers: how.headers } : {}) })
    }
    const byes = this.legs.map(leg => leg.bye(cause))
    if (this.coming) byes.push(this.coming.bye(cause))
    if (this.#early && !this.#early.confirmed) this.#early.drop()
    if (!this.answered) this.callerEnd.close()
    this.done = Promise.all([...byes, this.#context.stopRecording(this)])
    this.#report(how)
    this.#settle()
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
    this.#early = new Leg(this.#context.srf, this, this.#caller, id, this.callerEnd)
    this.#early.learn(this.#req)
    return this.#early
  }

  /** The dialog that a 2xx of a branch has made. */
  calleeLeg(branch: Branch, response: Response, party: Party): Leg {
    const leg = new Leg(this.#context.srf, this, party, dialogIdOf(response, branch.sent!), branch.end)
    leg.learn(response)
    leg.toTag = tagOf(response.get('To'))
    leg.confirmed = true
    return leg
  }

  #recordedLegs(): RecordedLeg[] {
    const caller: RecordedLeg = { aor: this.#aorOf(this.#caller), userAgent: this.#req.get('User-Agent') ?? '' }
    const branches = this.forks.flatMap(fork => fork.branches)
    const rung = branches.map(({ target, status }) => ({
      aor: target.aor,
      contact: target.uri,
      userAgent: target.userAgent,
      status,
    }))
    const known = new Set(rung.map(leg => leg.aor))
    return [caller, ...rung, ...this.#joined.filter(leg => !known.has(leg.aor))]
  }

  #aorOf(party: Party): string {
    return `sip:${party.user}@${this.#context.domain}`
  }
}
