import { setTimeout as wait } from 'node:timers/promises'
import type { LegEvent } from '../media/media.ts'
import { profileOf } from '../media/sdp/streams.ts'
import type { End } from './anchor.ts'
import { allow, names, type Party, readDevice } from './headers.ts'
import {
  type Ack,
  type Headers,
  type Incoming,
  type Message,
  type Reply,
  type Response,
  reply,
  type Sent,
  type SrfPort,
} from './sip.ts'
import type { Device, LegSnapshot } from './snapshot.ts'
import { recordingPackage } from './telling.ts'
import { isMeant, type Replaces } from './transfer.ts'

/** The final answer to a request inside a dialog; `response` is absent when it could not even be sent. */
export interface Answer {
  status: number
  reason: string
  response?: Response
  ack: Ack
}

export interface LegOwner {
  onRequest(leg: Leg, req: Incoming, res: Reply): void
  /** What happens to its media leg. */
  onMedia?(leg: Leg, event: LegEvent): void
  /** False when its dialogs may be another node's by now: nothing is sent in them. */
  isOurs?(): boolean
  /** A request of ours in its dialog was answered. */
  touch?(): void
}

/** One dialog of a call as srf and the engine know it: requests in it, both ways, until its BYE. */
export class Leg {
  readonly id: string
  readonly party: Party
  /** Its media. */
  readonly end: End
  owner: LegOwner
  confirmed = false
  ended = false
  /** The last SDP that we sent them, and that they sent us. */
  localSdp = ''
  remoteSdp = ''
  /** A re-INVITE or UPDATE of ours, or of theirs, that has no final answer yet (RFC 3261 section 14). */
  asking = false
  asked = false
  /** Methods that the peer allows; '' when it did not say. */
  allow = ''
  device: Device = { contact: '' }
  /** It has said that an INVITE may take the place of its dialog (RFC 3891). */
  knowsReplaces = false
  /** It is our own web phone. */
  isWebPhone = false
  /** Set when we have sent the INVITE of this dialog. */
  called = false
  /** The tag of whoever answered the INVITE of this dialog. */
  toTag = ''
  /** Set when another leg has taken this one's place, and only its BYE is outstanding. */
  replaced = false
  /** Its media passed a node that is gone, and does not pass this one yet. */
  unplaced = false
  /** Set while the ACK must bring the answer to a late offer. */
  onAck: ((ack: Incoming) => void) | undefined
  readonly #srf: SrfPort

  constructor(srf: SrfPort, owner: LegOwner, party: Party, id: string, end: End) {
    this.#srf = srf
    this.end = end
    end.onEvent = event => this.owner.onMedia?.(this, event)
    this.owner = owner
    this.party = party
    this.id = id
    srf.addDialog(this)
  }

  /** srf hands every request inside this dialog to this method. */
  handle(req: Incoming, res: Reply): void {
    if (req.method === 'ACK') {
      const onAck = this.onAck
      this.onAck = undefined
      onAck?.(req)
      // It brought the answer to a late offer.
      return onAck && this.owner.touch?.()
    }
    this.owner.onRequest(this, req, res)
  }

  /** True when a Replaces header means this dialog. */
  isMeantBy(replaces: Replaces): boolean {
    const at = this.id.lastIndexOf(';from-tag=')
    return isMeant(replaces, this.id.slice(0, at), this.id.slice(at + ';from-tag='.length), this.toTag)
  }

  /** A Replaces value (RFC 3891 section 6.1) that names this dialog to the peer. */
  get replacesValue(): string {
    const at = this.id.lastIndexOf(';from-tag=')
    const inviter = this.id.slice(at + ';from-tag='.length)
    const [theirs, ours] = this.called ? [this.toTag, inviter] : [inviter, this.toTag]
    return `${this.id.slice(0, at)};to-tag=${theirs};from-tag=${ours}`
  }

  learn(message: Message): void {
    if (message.body) {
      this.remoteSdp = message.body
      this.end.profile = profileOf(message.body)
    }
    this.allow = message.get('Allow') ?? this.allow
    this.knowsReplaces ||= names(message, 'Supported', 'replaces')
    this.isWebPhone ||= names(message, 'Recv-Info', recordingPackage)
    this.device = { ...this.device, ...readDevice(message) }
  }

  /** True unless the peer has said that it does not allow `method`. */
  allows(method: string): boolean {
    return this.allow === '' || this.allow.toUpperCase().includes(method)
  }

  /** Sends a request in this dialog; never rejects. `onSent` gets the request, to cancel it. */
  async send(method: string, options: SendOptions = {}): Promise<Answer> {
    if (this.owner.isOurs?.() === false) return gone
    const answer = await sendIn(this.#srf, this.id, method, {
      ...options,
      onSent: sent => {
        // srf gives an UPDATE that arrives meanwhile to whatever request of the same Call-ID is pending.
        sent.on('update', (req, res) => this.handle(req, res))
        options.onSent?.(sent)
      },
    })
    this.owner.touch?.()
    return answer
  }

  /**
   * Changes the session by a re-INVITE of ours; `body` undefined asks for an offer, and then the ACK is the caller's. Who
   * asks in the same moment is waited for (RFC 3261 section 14.1), and a function makes the body anew after that. Never
   * rejects but for what that function throws.
   */
  async offer(body: string | undefined | (() => Promise<string>), headers: Headers = {}): Promise<Answer> {
    for (let tries = 3; ; tries--) {
      const free = !this.ended && !this.asking && !this.asked
      const made = free && typeof body === 'function' ? await body() : (body as string | undefined)
      const answer = this.ended ? gone : this.asking || this.asked ? busy : await this.#offerOnce(made, headers)
      if (answer.status !== 491 || tries === 0) return answer
      await wait(200 + Math.random() * 1800, undefined, { ref: false })
    }
  }

  async #offerOnce(body: string | undefined, headers: Headers): Promise<Answer> {
    this.asking = true
    const all = { Allow: allow, Supported: 'timer, replaces', ...headers }
    const answer = await this.send('INVITE', { headers: all, body })
    this.asking = false
    if (answer.status >= 300 || answer.response === undefined) return answer
    if (body !== undefined) {
      answer.ack()
      this.localSdp = body
    }
    this.learn(answer.response)
    return answer
  }

  /** Ends the dialog from our side; resolves when the BYE is answered or could not be sent. */
  async bye(headers: Headers = {}): Promise<void> {
    if (this.ended) return
    this.ended = true
    this.onAck = undefined
    this.end.close()
    await this.send('BYE', { headers })
    this.#srf.removeDialog(this)
  }

  /** Ends it because the peer did, because it never came to be, or because it is another node's by now. */
  drop(): void {
    this.ended = true
    this.onAck = undefined
    this.end.close()
    this.#srf.removeDialog(this)
  }
}

/** A leg of another node's call, in whose engine its dialog has been installed. */
export function restoreLeg(srf: SrfPort, owner: LegOwner, snapshot: LegSnapshot, end: End): Leg {
  const { party, device, allow, knowsReplaces = false, isWebPhone = false, localSdp, remoteSdp, dialog } = snapshot
  const leg = new Leg(srf, owner, party, dialog.id, end)
  Object.assign(leg, { device, allow, knowsReplaces, isWebPhone, localSdp, remoteSdp, confirmed: true })
  leg.unplaced = snapshot.anchored
  leg.called = dialog.caller
  leg.toTag = dialog.caller ? dialog.remoteTag : dialog.localTag
  return leg
}

export interface SendOptions {
  headers?: Headers
  body?: string | undefined
  onSent?: (sent: Sent) => void
}

/** Sends a request in the dialog of that id; never rejects. */
export function sendIn(srf: SrfPort, id: string, method: string, options: SendOptions): Promise<Answer> {
  const { headers = {}, body, onSent } = options
  return new Promise(resolve => {
    const failed = (status: number, reason: string) => resolve({ status, reason, ack: () => undefined })
    try {
      srf.request('sip:placeholder', { method, stackDialogId: id, headers, body }, (error, sent) => {
        if (sent === undefined) {
          const lost = (error as { code?: string } | null)?.code === 'ENODIALOG'
          return lost ? failed(481, 'Call/Transaction Does Not Exist') : failed(503, 'Service Unavailable')
        }
        sent.on('response', (response, ack) => {
          if (response.status >= 200) resolve({ status: response.status, reason: response.reason, response, ack })
        })
        onSent?.(sent)
      })
    } catch {
      // srf throws when it has no connection to its engine; for the call that is an answer like any other.
      failed(503, 'Service Unavailable')
    }
  })
}

const gone: Answer = { status: 481, reason: 'Call/Transaction Does Not Exist', ack: () => undefined }
const busy: Answer = { status: 491, reason: 'Request Pending', ack: () => undefined }

/** Answers what a leg without a call may still be asked. */
export function answerGone(req: Incoming, res: Reply): void {
  if (req.method !== 'ACK') reply(res, req.method === 'BYE' ? 200 : 481)
}
