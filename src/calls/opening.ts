import { randomBytes } from 'node:crypto'
import type { CallResult } from '../events.ts'
import type { End } from './anchor.ts'
import { type Anchored, acknowledge, answerThrough, early } from './anchored.ts'
import type { Branch } from './fork.ts'
import { accepting, asserted, fromAnswer, type Party, tagOf } from './headers.ts'
import { Leg, type LegOwner } from './leg.ts'
import { createProgress, type Progress } from './progress.ts'
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
import type { Replaces } from './transfer.ts'

/** How a call ends. */
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

/** The INVITE of ours that made a dialog, and its 2xx. */
export interface Made {
  sent: Message
  response: Response
}

/** What the caller is about to be told. */
export interface Answering {
  req: Incoming
  caller: Leg
  callee: Leg
  /** What made the callee's dialog, where that is new. */
  made: Made | undefined
  /** Of our answer. */
  headers: Headers
}

/** What an opening needs of its call. */
export interface Opened extends Anchored, LegOwner {
  coming: Leg | undefined
  end(how: Ending): void
  /** Set where the call is kept for other nodes before its caller hears of the answer. */
  keepFirst: ((answering: Answering) => Promise<void>) | undefined
  /** The caller has its answer. */
  onAnswered(caller: Leg, callee: Leg): void
}

export interface OpeningDeps {
  srf: SrfPort
  config: { sessionExpires: number; minSe: number }
  domain: string
}

/** The caller's INVITE until its final answer. */
export class Opening {
  /** The caller's media until it is answered. */
  readonly end: End
  readonly party: Party
  readonly userAgent: string
  readonly #deps: OpeningDeps
  readonly #call: Opened
  readonly #req: Incoming
  readonly #res: Reply
  readonly #progress: Progress
  #cancelled = false
  /** The ACK that the callee of a late offer still waits for. */
  #owedAck: Ack | undefined
  #early: Leg | undefined
  /** Our tag in the caller's dialog where we have chosen it. */
  #tag = ''

  constructor(deps: OpeningDeps, call: Opened, req: Incoming, res: Reply, party: Party) {
    this.#deps = deps
    this.#call = call
    this.#req = req
    this.#res = res
    this.party = party
    this.end = call.callerEnd
    this.userAgent = req.get('User-Agent') ?? ''
    this.#progress = createProgress({
      srf: deps.srf,
      req,
      res,
      ended: () => call.ended,
      bodyFor: (branch, sdp) => early(call, branch, sdp),
      headers: () => (call.keepFirst === undefined ? {} : this.#withTag()),
      onSent: sent => {
        if (res.stackDialogId && !call.ended) this.#callerLeg(res.stackDialogId).toTag = tagOf(sent?.get('To'))
      },
    })
    req.on('cancel', cancel => this.#onCancel(cancel))
    req.on('update', (update, answer) => call.onRequest(this.#callerLeg(req.stackDialogId ?? ''), update, answer))
  }

  /** The body of the caller's INVITE; undefined for a late offer. */
  get offered(): string | undefined {
    return this.#req.body || undefined
  }

  /** The caller's dialog, when it is the early one that a Replaces header means. */
  locate(replaces: Replaces): Leg | undefined {
    const leg = this.#early
    return leg && !leg.ended && !leg.replaced && leg.isMeantBy(replaces) ? leg : undefined
  }

  onProgress(branch: Branch, response: Response, ack: Ack): void {
    this.#progress.on(branch, response, ack)
  }

  /** True when the PRACK was for the caller's early dialog. */
  prack(leg: Leg, req: Incoming, res: Reply): boolean {
    if (leg !== this.#early) return false
    this.#progress.prack(req, res)
    return true
  }

  /** Gives the caller what `leg` has answered to its INVITE, and so makes the call. */
  connect(leg: Leg, response: Message, ack: Ack, made?: Made): void {
    // An INVITE without an offer gets it in the 2xx, and the answer comes in the caller's ACK (RFC 3264 section 4).
    const late = !this.#req.body && !this.#progress.prackSdp
    if (late) this.#owedAck = ack
    else ack()
    const call = this.#call
    call.coming = leg
    this.#progress.inOrder(() => {
      const body = answerThrough(call, leg, response.body || undefined)
      if (!(body instanceof Promise)) return this.#accept(leg, response, body, late, ack, made)
      body.then(
        translated => this.#accept(leg, response, translated, late, ack, made),
        (error: unknown) => call.fail(error),
      )
    })
  }

  /** Its INVITE gets no answer, or this one; what was under way for it ends. */
  close(answered: boolean, how: Ending): void {
    this.#progress.close()
    this.#owedAck?.()
    this.#owedAck = undefined
    if (!answered && !this.#cancelled) {
      reply(this.#res, how.status, { ...(how.headers ? { headers: how.headers } : {}) })
    }
    if (this.#early && !this.#early.confirmed) this.#early.drop()
    if (!answered) this.end.close()
  }

  #accept(leg: Leg, response: Message, body: string | undefined, late: boolean, ack: Ack, made?: Made): void {
    const { config, domain } = this.#deps
    const { told } = this.#progress
    leg.remoteSdp ||= told
    const headers: Headers = {
      ...fromAnswer(response),
      ...accepting(this.#req, config),
      ...asserted(leg.party, domain),
    }
    if (leg.end.leg !== undefined || this.end.leg !== undefined) headers['Content-Type'] = 'application/sdp'
    const kept = this.#keep(leg, headers, body || told, made)
    const answer = () => this.#answer(leg, headers, body, late, ack)
    if (kept === undefined) answer()
    else void kept.then(answer)
  }

  /**
   * Whoever takes this call over must know the caller's dialog, so we choose its tag, and with the first response that has one:
   * the answer may come before we are told what the engine has sent.
   */
  #withTag(): Headers {
    this.#tag ||= this.#early?.toTag || randomBytes(6).toString('hex')
    return { To: `${this.#req.get('To')};tag=${this.#tag}` }
  }

  #keep(callee: Leg, headers: Headers, localSdp: string, made: Made | undefined): Promise<void> | undefined {
    const { keepFirst } = this.#call
    if (keepFirst === undefined) return undefined
    const req = this.#req
    const caller = this.#callerLeg(`${req.get('Call-ID')};from-tag=${tagOf(req.get('From'))}`)
    caller.learn(req)
    caller.localSdp = localSdp
    Object.assign(headers, this.#withTag())
    caller.toTag = this.#tag
    return keepFirst({ req, caller, callee, made, headers })
  }

  #answer(leg: Leg, headers: Headers, body: string | undefined, late: boolean, ack: Ack): void {
    const call = this.#call
    const { told, prackSdp } = this.#progress
    reply(this.#res, 200, { headers, body }, (error, sent) => {
      if (error || call.ended) {
        this.#owedAck?.()
        this.#owedAck = undefined
        void leg.bye()
        if (!error) void new Leg(this.#deps.srf, call, this.party, this.#res.stackDialogId ?? '', this.end).bye()
        // The caller has cancelled in this very moment; the engine has answered it.
        return call.end({ status: 487, reason: 'cancelled', result: 'cancelled' })
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
          acknowledge(call, caller, leg, answer, ack)
        }
      }
      call.onAnswered(caller, leg)
    })
  }

  #onCancel(cancel: Message): void {
    // The engine has answered the CANCEL with 200 and the INVITE with 487.
    this.#cancelled = true
    const reason = cancel.get('Reason')
    this.#call.end({ status: 487, reason: 'cancelled', result: 'cancelled', cause: reason ? { Reason: reason } : {} })
  }

  #callerLeg(id: string): Leg {
    if (this.#early && this.#early.id === id) return this.#early
    this.#early = new Leg(this.#deps.srf, this.#call, this.party, id, this.end)
    this.#early.learn(this.#req)
    return this.#early
  }
}
