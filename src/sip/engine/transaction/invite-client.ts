import { randomUUID } from 'node:crypto'
import type { SipMessage } from '../message/message.ts'
import type { Flow } from '../transport/transport.ts'
import { buildAck, buildCancel } from './build.ts'
import { after, type Ground } from './machine.ts'
import type { ClientTransaction, ClientTransactionUser } from './transaction.ts'

type State = 'calling' | 'proceeding' | 'accepted' | 'completed' | 'terminated'

/** RFC 3261 figure 5 with the Accepted state of RFC 6026 section 7.2. */
export class InviteClient implements ClientTransaction {
  readonly id = randomUUID()
  readonly invite = true
  readonly request: SipMessage
  readonly flow: Flow
  status = 0
  #state: State = 'calling'
  #cancel: SipMessage | undefined
  #ack: Buffer | undefined
  #repeat: NodeJS.Timeout | undefined
  #limit: NodeJS.Timeout | undefined
  readonly #ground: Ground
  readonly #user: ClientTransactionUser
  readonly #sendCancel: (cancel: SipMessage) => void
  readonly #ended: () => void

  constructor(
    ground: Ground,
    request: SipMessage,
    flow: Flow,
    user: ClientTransactionUser,
    to: { sendCancel(cancel: SipMessage): void; ended(): void },
  ) {
    this.#ground = ground
    this.request = request
    this.flow = flow
    this.#user = user
    this.#sendCancel = to.sendCancel
    this.#ended = to.ended
    const bytes = request.toBuffer()
    this.#limit = after(ground.timers.timeout, () => this.#timeout())
    this.#transmit(bytes)
    if (!flow.reliable) this.#repeatAfter(ground.timers.t1, bytes)
  }

  get ended(): boolean {
    return this.#state === 'terminated'
  }

  receive(response: SipMessage, flow: Flow, bytes: number): void {
    const { status } = response
    switch (this.#state) {
      case 'calling':
      case 'proceeding':
        this.status = status
        clearTimeout(this.#repeat)
        if (status < 200) this.#enterProceeding()
        else if (status < 300) this.#finish('accepted', this.#ground.timers.timeout)
        else {
          this.#ack = buildAck(this.request, response).toBuffer()
          this.flow.send(this.#ack)
          this.#finish('completed', this.flow.reliable ? 0 : this.#ground.timers.d)
        }
        this.#user.onResponse(response, flow, bytes)
        return
      case 'accepted':
        // RFC 6026 section 7.2: repeats of the 2xx, and those of other forks, go up.
        if (status >= 200 && status < 300) this.#user.onResponse(response, flow, bytes)
        return
      case 'completed':
        if (status >= 300 && this.#ack) this.flow.send(this.#ack)
        return
      case 'terminated':
        return
    }
  }

  cancel(headers: [name: string, value: string][] = []): SipMessage {
    if (this.#cancel) return this.#cancel
    this.#cancel = buildCancel(this.request, headers)
    if (this.#state === 'proceeding') this.#startCancel()
    return this.#cancel
  }

  broken(error: Error): void {
    if (this.#state !== 'calling' && this.#state !== 'proceeding') return
    this.terminate()
    this.#user.onTransportError(error)
  }

  terminate(): void {
    if (this.ended) return
    this.#state = 'terminated'
    clearTimeout(this.#repeat)
    clearTimeout(this.#limit)
    this.#ended()
    this.#user.onEnd?.()
  }

  #enterProceeding(): void {
    const first = this.#state === 'calling'
    this.#state = 'proceeding'
    if (this.#cancel) {
      if (first) this.#startCancel()
      return
    }
    // The RFC lets an INVITE ring for ever; nothing here may.
    clearTimeout(this.#limit)
    this.#limit = after(this.#ground.unansweredMs, () => this.cancel())
  }

  // Section 9.1: without a final response 64*T1 after the CANCEL the INVITE counts as cancelled.
  #startCancel(): void {
    clearTimeout(this.#limit)
    this.#limit = after(this.#ground.timers.timeout, () => this.#timeout())
    if (this.#cancel) this.#sendCancel(this.#cancel)
  }

  #finish(state: 'accepted' | 'completed', ms: number): void {
    this.#state = state
    clearTimeout(this.#limit)
    this.#limit = after(ms, () => this.terminate())
  }

  #timeout(): void {
    this.terminate()
    this.#user.onTimeout()
  }

  // Timer A doubles without a limit.
  #repeatAfter(ms: number, bytes: Buffer): void {
    this.#repeat = after(ms, () => {
      this.#transmit(bytes)
      this.#repeatAfter(ms * 2, bytes)
    })
  }

  #transmit(bytes: Buffer): void {
    // Never within the caller's own call, whatever the flow does.
    this.flow.send(bytes, error => process.nextTick(() => this.broken(error)))
  }
}
