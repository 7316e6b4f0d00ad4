import { randomUUID } from 'node:crypto'
import { createResponse, type SipMessage } from '../message/message.ts'
import type { Flow } from '../transport/transport.ts'
import { answer } from './build.ts'
import { after, type Ground, reply } from './machine.ts'
import type { ServerTransaction } from './transaction.ts'

type State = 'proceeding' | 'accepted' | 'completed' | 'confirmed' | 'terminated'

/** RFC 3261 figure 7 with the Accepted state of RFC 6026 section 7.1. */
export class InviteServer implements ServerTransaction {
  readonly id = randomUUID()
  readonly invite = true
  readonly request: SipMessage
  readonly flow: Flow
  readonly bytes: number
  status = 0
  onCancel?: (cancel: ServerTransaction) => void
  onAcknowledged?: (acknowledged: boolean) => void
  onEnd?: () => void
  #state: State = 'proceeding'
  #last: Buffer | undefined
  #repeat: NodeJS.Timeout | undefined
  #limit: NodeJS.Timeout | undefined
  readonly #ground: Ground
  readonly #ended: () => void

  constructor(ground: Ground, request: SipMessage, flow: Flow, bytes: number, ended: () => void) {
    this.#ground = ground
    this.request = request
    this.flow = flow
    this.bytes = bytes
    this.#ended = ended
    this.#send(createResponse(request, 100).toBuffer())
    this.#waitForAnswer()
  }

  get ended(): boolean {
    return this.#state === 'terminated'
  }

  respond(response: SipMessage): void {
    const { status } = response
    switch (this.#state) {
      case 'proceeding':
        this.status = status
        this.#send(response.toBuffer())
        if (this.ended) return
        if (status < 200) this.#waitForAnswer()
        else if (status < 300) this.#enterAccepted()
        else this.#enterCompleted()
        return
      case 'accepted':
        // RFC 6026 section 7.1: any 2xx that the layer above passes down, repeats too, goes out.
        if (status >= 200 && status < 300) this.#send(response.toBuffer())
        return
      default:
        return
    }
  }

  /** A retransmission of the INVITE. */
  repeated(): void {
    // Section 17.2.1: the last provisional or the non-2xx final is repeated; Accepted and Confirmed absorb it.
    if ((this.#state === 'proceeding' || this.#state === 'completed') && this.#last) this.#send(this.#last)
  }

  /** Returns true when the ACK belongs to the layer above. */
  acknowledge(): boolean {
    if (this.#state === 'accepted') return true
    if (this.#state !== 'completed') return false
    this.#state = 'confirmed'
    clearTimeout(this.#repeat)
    clearTimeout(this.#limit)
    this.onAcknowledged?.(true)
    if (this.flow.reliable) this.terminate()
    else this.#limit = after(this.#ground.timers.t4, () => this.terminate())
    return false
  }

  terminate(): void {
    if (this.ended) return
    this.#state = 'terminated'
    clearTimeout(this.#repeat)
    clearTimeout(this.#limit)
    this.#last = undefined
    this.#ended()
    this.onEnd?.()
  }

  #waitForAnswer(): void {
    clearTimeout(this.#limit)
    this.#limit = after(this.#ground.unansweredMs, () => this.respond(answer(this.request, 408)))
  }

  #enterAccepted(): void {
    this.#state = 'accepted'
    this.#last = undefined
    clearTimeout(this.#limit)
    this.#limit = after(this.#ground.timers.timeout, () => this.terminate())
  }

  #enterCompleted(): void {
    const { t1, timeout } = this.#ground.timers
    this.#state = 'completed'
    clearTimeout(this.#limit)
    if (!this.flow.reliable) this.#repeatEvery(t1)
    this.#limit = after(timeout, () => {
      this.onAcknowledged?.(false)
      this.terminate()
    })
  }

  // Timer G: doubles up to T2.
  #repeatEvery(ms: number): void {
    this.#repeat = after(ms, () => {
      if (this.#last) this.#send(this.#last)
      this.#repeatEvery(Math.min(ms * 2, this.#ground.timers.t2))
    })
  }

  #send(bytes: Buffer): void {
    this.#last = bytes
    reply(this.#ground, this.flow, this.request, bytes, error => {
      this.#ground.log.info({ error, id: this.id }, 'response can not be delivered')
      this.terminate()
    })
  }
}
