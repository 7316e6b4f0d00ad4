import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { LegEvent } from '../media/media.ts'
import type { RecordedLeg } from '../records/records.ts'
import { type Anchor, End, endOf } from './anchor.ts'
import { onMedia } from './anchored.ts'
import type { CallContext, CallState, CallView } from './context.ts'
import { readDigit } from './dtmf.ts'
import { type Branch, dialogIdOf, type Fork } from './fork.ts'
import { flat, fromAnswer, type Party, tagOf } from './headers.ts'
import { passOn } from './in-dialog.ts'
import { Leg, type LegOwner, restoreLeg } from './leg.ts'
import { type Answering, type Ending, Opening } from './opening.ts'
import { resultOf } from './outcome.ts'
import { type Ack, type Incoming, type Message, type Reply, type Response, reply } from './sip.ts'
import type { CallSnapshot, LegSnapshot } from './snapshot.ts'
import { Taping } from './taping.ts'
import { readRecordingWish } from './telling.ts'
import { isMeant, type Replaces } from './transfer.ts'

/** What a call is known by from its beginning. */
interface Birth {
  id: string
  from: string
  to: string
  /** In ms since 1970. */
  started: number
  callerEnd: End
  /** Who is in its record whatever comes. */
  involved: readonly RecordedLeg[]
  unrecorded: boolean
}

/** One call: the caller's INVITE until its answer, the branches that ring or the leg that answered, and one way to end. */
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
  /** Other nodes can find it: its end must be told. */
  kept = false
  /** Resolves when the call is answered or has ended unanswered. */
  readonly settled: Promise<void>
  #settle: () => void = () => undefined
  /** Resolves when every BYE of the ended call is answered. */
  done: Promise<unknown> = Promise.resolve()
  readonly #context: CallContext<Call>
  readonly #birth: Birth
  #opening: Opening | undefined
  #answered: number | undefined
  /** Other nodes take this for the time of its answer. */
  #keptAt: number | undefined
  /** AORs that joined without being rung by this call. */
  readonly #joined: RecordedLeg[] = []

  private constructor(context: CallContext<Call>, birth: Birth) {
    this.#context = context
    this.#birth = birth
    this.settled = new Promise(resolve => {
      this.#settle = resolve
    })
    this.id = birth.id
    this.from = birth.from
    this.to = birth.to
    this.callerEnd = birth.callerEnd
    this.anchor = context.anchor(birth.id)
    this.log = context.log.child({ call: birth.id, from: birth.from, to: birth.to })
  }

  /** A call that an INVITE begins. */
  static open(
    context: CallContext<Call>,
    about: { id: string; caller: Party; to: string; unrecorded: boolean },
    req: Incoming,
    res: Reply,
  ): Call {
    const { id, caller, to, unrecorded } = about
    const from = `sip:${caller.user}@${context.domain}`
    const involved = [{ aor: from, userAgent: req.get('User-Agent') ?? '' }]
    const birth = { id, from, to, started: context.now(), callerEnd: endOf(req), involved, unrecorded }
    const call = new Call(context, birth)
    call.#opening = new Opening(context, call, req, res, caller)
    context.events.emit('callStarted', { id, from, to })
    call.log.info('call started')
    return call
  }

  /** An answered call of another node. */
  static restore(context: CallContext<Call>, snapshot: CallSnapshot): Call {
    const { involved, held, transfers, answered } = snapshot
    const [first, second] = snapshot.legs.map(leg => ({ leg, end: new End(leg.profile, leg.address) }))
    const call = new Call(context, { ...snapshot, callerEnd: first!.end, involved })
    call.legs = [first!, second!].map(({ leg, end }) => restoreLeg(context.srf, call, leg, end))
    call.#answered = answered
    call.held = held
    call.transfers = transfers
    call.kept = true
    call.state = 'answered'
    call.#settle()
    return call
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
      since: new Date(this.#birth.started).toISOString(),
      ...(this.#answered === undefined ? {} : { answered: new Date(this.#answered).toISOString() }),
      recording: this.taping.on,
      legs: this.#recordedLegs(),
    }
  }

  /** The body of the caller's INVITE; undefined for a late offer. */
  get offered(): string | undefined {
    return this.#opening?.offered
  }

  /** Set where other nodes must be able to find the call before its caller hears of the answer. */
  get keepFirst(): ((answering: Answering) => Promise<void>) | undefined {
    const { keeping } = this.#context
    return keeping.waits ? answering => keeping.first(this, answering) : undefined
  }

  /** False when another node may have the call by now: nothing is said for it here any more. */
  isOurs(): boolean {
    return !this.kept || this.#context.keeping.owns(this.id)
  }

  /** The leg, or the ringing branch, that a Replaces header means. */
  locate(replaces: Replaces): { leg?: Leg; branch?: Branch } | undefined {
    const leg =
      this.legs.find(one => !one.ended && !one.replaced && one.isMeantBy(replaces)) ?? this.#opening?.locate(replaces)
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
    if (!this.isOurs()) return this.#context.onStray(req, res)
    this.touch()
    if (req.method === 'REFER' && leg.confirmed && !leg.replaced) return this.#context.onRefer(this, leg, req, res)
    // Who was to come by a transfer, and hangs up before it is done, ends no more than that.
    const passes = leg === this.leaving || (this.leaving !== undefined && leg === this.coming)
    if (req.method === 'BYE' && (leg.replaced || passes)) {
      if (req.source === 'network') reply(res, 200)
      return leg.drop()
    }
    if (req.method === 'PRACK' && this.#opening?.prack(leg, req, res)) return
    const wish = req.method === 'INFO' ? readRecordingWish(req) : undefined
    if (wish !== undefined) {
      reply(res, 200)
      return this.#context.onRecordingWish(this, leg, wish)
    }
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
      const ms = this.#context.now() - this.#birth.started
      this.#context.events.emit('callRinging', { id: this.id, to: this.to, ms })
    }
    this.#opening?.onProgress(branch, response, ack)
  }

  onAnswer(branch: Branch, response: Response, ack: Ack, callee: Party): void {
    const leg = this.calleeLeg(branch, response, callee)
    leg.localSdp = branch.body ?? this.offered ?? ''
    this.#opening?.connect(leg, response, ack, { sent: branch.sent!, response })
  }

  /** Gives the caller what `leg` has answered to its INVITE, and so makes the call. */
  connect(leg: Leg, response: Message, ack: Ack): void {
    this.#opening?.connect(leg, response, ack)
  }

  /** The caller has its answer. */
  onAnswered(caller: Leg, callee: Leg): void {
    const { now, events } = this.#context
    const { id, from, to } = this
    this.legs = [caller, callee]
    this.coming = undefined
    this.#answered = this.#keptAt ?? now()
    this.state = 'answered'
    const ms = now() - this.#birth.started
    events.emit('callAnswered', { id, from, to, ms })
    this.log.info({ ms, by: callee.party.user }, 'call answered')
    this.#context.keeping.answered(this)
    this.#settle()
  }

  /** Ends it for an error that is a Refusal or a bug. */
  fail(error: unknown): void {
    if (!(error instanceof Refusal)) this.log.error({ err: error }, 'call failed by a bug')
    const refusal = error instanceof Refusal ? error : new Refusal('server-error')
    this.end({ status: refusal.sipStatus, reason: refusal.message, headers: flat(refusal.headers) })
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
    this.touch()
  }

  /** Something is not as it was kept. */
  touch(): void {
    if (this.kept) this.#context.keeping.touch(this)
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
    if (went.party.user !== come.party.user) this.#joined.push({ aor: this.#aorOf(come.party) })
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
    if (!this.isOurs()) return this.lose()
    this.state = 'ended'
    const cause = how.cause ?? {}
    for (const fork of this.forks) fork.cancel(cause)
    this.#opening?.close(this.answered, how)
    const byes = this.legs.map(leg => leg.bye(cause))
    if (this.coming) byes.push(this.coming.bye(cause))
    const reported = this.#report(how)
    this.done = Promise.all([...byes, reported, this.#context.stopRecording(this)])
    this.#settle()
    this.#context.onEnd(this)
  }

  /** It is another node's by now, or is to be: our copy goes without a word to anybody. */
  lose(): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    for (const fork of this.forks) fork.cancel({})
    for (const leg of [...this.legs, this.coming]) {
      if (leg === undefined) continue
      leg.drop()
      this.#context.keeping.forget(leg.id)
    }
    this.#opening?.close(this.answered, { status: 503, reason: 'at another node' })
    this.done = this.#context.stopRecording(this)
    this.#settle()
    this.#context.onEnd(this)
    this.log.info('call goes on at another node')
  }

  async #report(how: Ending): Promise<void> {
    const { now, events, records, keeping } = this.#context
    const ended = now()
    const seconds = this.#answered === undefined ? 0 : Math.round((ended - this.#answered) / 1000)
    const status = this.answered ? 200 : how.status
    const result = this.answered ? 'answered' : (how.result ?? resultOf(status))
    const { id, from, to } = this
    events.emit('callEnded', { id, from, to, result, status, seconds })
    const { since: started, answered, legs } = this.view()
    const times = { started, ...(answered === undefined ? {} : { answered }), ended: new Date(ended).toISOString() }
    this.log.info({ result, status, seconds, reason: how.reason }, 'call ended')
    // Of two nodes that saw it end only one writes that down.
    const ours = !this.kept || (await keeping.end(this))
    if (this.#birth.unrecorded || !ours) return
    records.add({ id, from, to, ...times, seconds, result, status, reason: how.reason, legs })
  }

  /** The dialog that a 2xx of a branch has made. */
  calleeLeg(branch: Branch, response: Response, party: Party): Leg {
    const leg = new Leg(this.#context.srf, this, party, dialogIdOf(response, branch.sent!), branch.end)
    leg.learn(response)
    leg.device = { ...leg.device, ...branch.target.device }
    leg.called = true
    leg.toTag = tagOf(response.get('To'))
    leg.confirmed = true
    return leg
  }

  /** What another node has to know of it, when these are its legs and what is known of their dialogs. */
  snapshot(legs: readonly [LegSnapshot, LegSnapshot]): CallSnapshot {
    const { id, from, to, held, transfers } = this
    const { started, unrecorded } = this.#birth
    const answered = this.#answered ?? (this.#keptAt = this.#context.now())
    const involved = this.#recordedLegs()
    const recording = this.taping.on
    return { id, from, to, started, answered, held, transfers, unrecorded, recording, legs: [...legs], involved }
  }

  #recordedLegs(): RecordedLeg[] {
    const branches = this.forks.flatMap(fork => fork.branches)
    const rung = branches.map(({ target, status }) => ({
      aor: target.aor,
      contact: target.uri,
      userAgent: target.userAgent,
      status,
    }))
    const known = new Set(rung.map(leg => leg.aor))
    return [...this.#birth.involved, ...rung, ...this.#joined.filter(leg => !known.has(leg.aor))]
  }

  #aorOf(party: Party): string {
    return `sip:${party.user}@${this.#context.domain}`
  }
}
