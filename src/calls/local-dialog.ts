import { EventEmitter } from 'node:events'
import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { LegEvent, Media, Stream } from '../media/media.ts'
import { type Digit, readDigit } from './dtmf.ts'
import { allow, type Party, readAddress, reasonHeader } from './headers.ts'
import type { Answer, Leg, LegOwner } from './leg.ts'
import { type Headers, type Incoming, type Message, type Reply, reply } from './sip.ts'

export interface LocalDialogEvents {
  /** A request inside the dialog that only the owner can answer: REFER, SUBSCRIBE, INFO, MESSAGE … */
  request: [req: Incoming, res: Reply]
  /** A key, by RFC 4733 or by INFO. */
  dtmf: [digit: Digit]
  /** What the media leg tells; keys come as `dtmf`. */
  media: [event: LegEvent]
  /** The far side has asked for other media (hold, resume, more lines), and got it. */
  changed: [streams: Stream[]]
  /** A dialog of another node has its media leg here from now on. */
  placed: []
  /** Our own offer was taken. */
  renewed: []
  /** Once, whoever ended it. */
  ended: [why: string]
}

export interface LocalDialogDeps {
  media: Media
  log: Logger
  /** A Contact of our own, for example that of a focus; absent: the engine's. */
  contact?: string | undefined
  /** m-lines that a re-INVITE of the far side may have; default: whatever media takes. */
  streams?: readonly Stream[] | undefined
  /** Makes the media leg of a dialog that came here from another node, by an offer of theirs or for one of ours. */
  place?: ((offer: string | undefined) => Promise<{ leg: string; sdp: string }>) | undefined
  /** False when it may be another node's by now. */
  owns?: (() => boolean) | undefined
  /** A request inside it while it is not ours. */
  onStray?: ((req: Incoming, res: Reply) => void) | undefined
  /** Called when it has ended, before the event. */
  onEnd(dialog: LocalDialog): void
}

// Of questions in a row, one each twenty seconds.
const mostUnreached = 3

/** A dialog between a client and this server itself, with the media leg that carries what they say to each other. */
export class LocalDialog extends EventEmitter<LocalDialogEvents> implements LegOwner {
  /** The id of the dialog. */
  readonly id: string
  readonly party: Party
  /** The INVITE that the client sent, or its answer to ours. */
  readonly invite: Message
  readonly log: Logger
  readonly #dialog: Leg
  readonly #deps: LocalDialogDeps
  #leg: string
  #ended = false
  /** Negotiations of ours and of theirs, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  /** A client that is silent is being asked whether it is there. */
  #asking = false
  #unreached = 0

  constructor(deps: LocalDialogDeps, dialog: Leg, leg: string, invite: Message) {
    super()
    this.#deps = deps
    this.#dialog = dialog
    this.id = dialog.id
    this.party = dialog.party
    this.#leg = leg
    this.invite = invite
    this.log = deps.log
    dialog.owner = this
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Id of the media leg; '' for a dialog of another node whose client has not come here yet. */
  get leg(): string {
    return this.#leg
  }

  isOurs(): boolean {
    return this.#deps.owns?.() !== false
  }

  /** URI of the client's Contact; '' when it named none. */
  get remoteContact(): string {
    return (
      readAddress(this.invite.get('Contact'))?.uriText ?? /<([^>]*)>/.exec(this.invite.get('Contact') ?? '')?.[1] ?? ''
    )
  }

  /** The SIP dialog below, to be recognised by a Replaces header or to be handed to a call. */
  get dialog(): Leg {
    return this.#dialog
  }

  /** Sends a request inside the dialog (INFO, NOTIFY …); never rejects. */
  async send(method: string, options: { headers?: Headers; body?: string } = {}): Promise<Answer> {
    const answer = await this.#dialog.send(method, options)
    if (this.#isLost(answer)) this.#lost()
    return answer
  }

  #isLost({ status }: Answer): boolean {
    return (status === 481 || status === 408) && this.isOurs()
  }

  /**
   * Brings the media of a dialog that came here from another node, by a re-INVITE; gives its final status. Who is just
   * coming by itself is not asked. Throws Refusal: no media.
   */
  bring(): Promise<number> {
    return this.#inTurn(async () => {
      const dialog = this.#dialog
      if (this.#leg !== '' || this.#ended) return 200
      if (dialog.asked) return 491
      const answer = await dialog.offer(() => this.#place(undefined), this.#headers('offer'))
      if (answer.status >= 300 || this.#ended) {
        await this.#displace()
        return answer.status
      }
      await this.#deps.media.answer(this.#leg, answer.response?.body ?? '')
      this.emit('placed')
      // A browser is told where we are when it knows who we are.
      if (dialog.end.profile === 'webrtc') await this.#reinvite()
      return answer.status
    })
  }

  async #place(offer: string | undefined): Promise<string> {
    const { media, place } = this.#deps
    if (this.#leg !== '') return media.offer(this.#leg)
    if (place === undefined) throw new Refusal('no-such-call')
    const { leg, sdp } = await place(offer)
    this.#leg = leg
    if (!this.#ended) return sdp
    await this.#displace()
    throw new Refusal('request-terminated')
  }

  async #displace(): Promise<void> {
    const leg = this.#leg
    this.#leg = ''
    if (leg !== '') await this.#deps.media.release(leg)
  }

  /** Offers the media leg anew by re-INVITE, as it is or changed; false when the client did not take it. */
  async renegotiate(change?: { streams?: readonly Stream[]; restartIce?: boolean }): Promise<boolean> {
    try {
      return await this.#inTurn(() => this.#reinvite(change))
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.log.info({ code: error.code, why: error.message }, 'renegotiation refused')
      return false
    }
  }

  async #reinvite(change?: { streams?: readonly Stream[]; restartIce?: boolean }): Promise<boolean> {
    const { media } = this.#deps
    if (this.#ended || this.#leg === '') return false
    const answer = await this.#dialog.offer(() => media.offer(this.leg, change), this.#headers('offer'))
    if (this.#isLost(answer)) this.#lost()
    if (answer.status >= 300 || this.#ended) return false
    await media.answer(this.leg, answer.response?.body ?? '')
    this.emit('renewed')
    return true
  }

  /** Ends it; resolves when the client has answered. */
  async bye(headers: Headers = {}, why = 'ended by this server'): Promise<void> {
    if (this.#ended) return
    this.#finish(why)
    await this.#dialog.bye(headers)
  }

  /** Gives the SIP dialog away: nothing is sent, the media leg is released, and the new owner negotiates. */
  giveAway(why: string): Leg {
    this.#finish(why)
    return this.#dialog
  }

  /** It is another node's by now: nothing is sent, nobody is told, and the media leg is released. */
  lose(): void {
    this.removeAllListeners()
    this.#dialog.drop()
    this.#finish('it belongs to another node')
  }

  onRequest(_leg: Leg, req: Incoming, res: Reply): void {
    const { method } = req
    if (!this.isOurs()) return this.#deps.onStray?.(req, res)
    if (method === 'BYE') {
      if (req.source === 'network') reply(res, 200)
      this.#dialog.drop()
      return this.#finish(/text="([^"]*)"/.exec(req.get('Reason') ?? '')?.[1] ?? 'hung up')
    }
    if (this.#ended) return reply(res, 481)
    if (method === 'OPTIONS') return reply(res, 200, { headers: { Allow: allow, Accept: 'application/sdp' } })
    if (method === 'PRACK') return reply(res, 200)
    if (method === 'INVITE' || method === 'UPDATE') return this.#onOffer(req, res)
    const digit = method === 'INFO' ? readDigit(req) : undefined
    if (digit) {
      reply(res, 200)
      this.emit('dtmf', digit)
      return
    }
    if (this.listenerCount('request') > 0) return void this.emit('request', req, res)
    if (method === 'INFO') return reply(res, req.body ? 415 : 200)
    reply(res, method === 'SUBSCRIBE' ? 489 : 405, { headers: { Allow: allow } })
  }

  /** What the media leg tells its owner. */
  onMedia(_leg: Leg, event: LegEvent): void {
    if (this.#ended) return
    if (event.type === 'dtmf') return void this.emit('dtmf', { digit: event.digit, ms: event.ms })
    this.emit('media', event)
    if (event.type === 'silent' && this.#dialog.end.profile === 'plain') void this.#lookAfter()
    if (event.type === 'rebuilt') void this.#guarded(this.#rebuild(), 'media worker lost')
    if (event.type === 'more') void this.#guarded(this.renegotiate(), 'more media')
    if (event.type === 'lost') void this.bye(reasonHeader(480, `Media lost: ${event.why}`), `media lost: ${event.why}`)
  }

  /** A phone that sends nothing may be muted, or gone without a BYE: nobody else is there to hang up then. */
  async #lookAfter(): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    const { status } = await this.send('OPTIONS')
    this.#asking = false
    // A connection that is broken may be made anew (RFC 5626 section 5.3), but not for ever.
    this.#unreached = status === 430 || status === 503 ? this.#unreached + 1 : 0
    if (this.#unreached >= mostUnreached && this.isOurs()) this.#lost()
  }

  async #rebuild(): Promise<void> {
    if (!(await this.renegotiate()) && !this.#ended) throw new Refusal('media-unavailable')
  }

  #onOffer(req: Incoming, res: Reply): void {
    const dialog = this.#dialog
    const isInvite = req.method === 'INVITE'
    // A request that changes nothing only refreshes the session timer (RFC 4028 section 7.4).
    if (req.body ? req.body === dialog.remoteSdp && this.#leg !== '' : !isInvite) {
      const body = req.body ? { body: dialog.localSdp } : {}
      return reply(res, 200, { headers: this.#headers(req.body), ...body })
    }
    if (dialog.asking) return reply(res, 491)
    if (dialog.asked || dialog.onAck) return reply(res, 500, { headers: { 'Retry-After': '3' } })
    dialog.asked = true
    const accepted = this.#inTurn(() => (req.body ? this.#accept(req, res) : this.#offerLate(req, res)))
    accepted
      .catch((error: unknown) => {
        if (!(error instanceof Refusal)) this.log.error({ err: error }, 'renegotiation failed')
        reply(res, error instanceof Refusal ? error.sipStatus : 500)
      })
      .finally(() => {
        dialog.asked = false
      })
  }

  async #accept(req: Incoming, res: Reply): Promise<void> {
    const comes = this.#leg === ''
    const offer = req.body ?? ''
    const body = comes ? await this.#place(offer) : await this.#deps.media.accept(this.leg, offer, this.#deps.streams)
    if (this.#ended) return reply(res, 481)
    this.#dialog.learn(req)
    this.#dialog.localSdp = body
    reply(res, 200, { headers: this.#headers(body), body })
    if (comes) this.emit('placed')
    this.emit('changed', this.#deps.media.streams(this.leg))
  }

  /** A re-INVITE without an offer gets ours, and the ACK brings the answer (RFC 3261 section 14.2). */
  async #offerLate(_req: Incoming, res: Reply): Promise<void> {
    const comes = this.#leg === ''
    const body = comes ? await this.#place(undefined) : await this.#deps.media.offer(this.leg)
    if (this.#ended) return reply(res, 481)
    this.#dialog.localSdp = body
    if (comes) this.emit('placed')
    this.awaitAnswer()
    reply(res, 200, { headers: this.#headers(body), body })
  }

  /** The next ACK brings the answer to our offer; one without it ends the call (RFC 3264 section 4). */
  awaitAnswer(): void {
    this.#dialog.onAck = ack => {
      this.#dialog.learn(ack)
      const taken = this.#deps.media.answer(this.leg, ack.body ?? '')
      void this.#guarded(
        taken.then(() => this.emit('changed', this.#deps.media.streams(this.leg))),
        'late answer',
      )
    }
  }

  async #guarded(work: Promise<unknown>, what: string): Promise<void> {
    try {
      await work
    } catch (error) {
      if (!(error instanceof Refusal)) this.log.error({ err: error, what }, 'media failed')
      await this.bye(reasonHeader(488, 'No media'), `${what}: no media`)
    }
  }

  #headers(body?: string): Headers {
    const { contact } = this.#deps
    return {
      Allow: allow,
      Supported: 'timer, replaces',
      ...(contact ? { Contact: contact } : {}),
      ...(body ? { 'Content-Type': 'application/sdp' } : {}),
    }
  }

  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const next = this.#turn.then(step, step)
    this.#turn = next
    return next
  }

  /** The far side has no such dialog any more (RFC 3261 section 12.2.1.2). */
  #lost(): void {
    this.#dialog.drop()
    this.#finish('the connection was lost')
  }

  #finish(why: string): void {
    if (this.#ended) return
    this.#ended = true
    if (this.#leg !== '') void this.#guarded(this.#deps.media.release(this.#leg), 'release')
    this.#deps.onEnd(this)
    this.emit('ended', why)
  }
}
