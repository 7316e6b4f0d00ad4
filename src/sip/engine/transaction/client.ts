import { randomUUID } from 'node:crypto'
import type { SipMessage } from '../message/message.ts'
import type { Flow } from '../transport/transport.ts'
import { after, type Ground } from './machine.ts'
import type { ClientTransaction, ClientTransactionUser } from './transaction.ts'

type State = 'trying' | 'proceeding' | 'completed' | 'terminated'

/** RFC 3261 figure 6: the non-INVITE client transaction. */
export class NonInviteClient implements ClientTransaction {
  readonly id = randomUUID()
  readonly invite = false
  readonly request: SipMessage
  readonly flow: Flow
  status = 0
  #state: State = 'trying'
  #repeat: NodeJS.Timeout | undefined
  #limit: NodeJS.Timeout
  readonly #ground: Ground
  readonly #user: ClientTransactionUser
  readonly #ended: () => void

  constructor(ground: Ground, request: SipMessage, flow: Flow, user: ClientTransactionUser, ended: () => void) {
    this.#ground = ground
    this.request = request
    this.flow = flow
    this.#user = user
    this.#ended = ended
    const bytes = request.toBuffer()
    this.#limit = after(ground.timers.timeout, () => {
      this.terminate()
      this.#user.onTimeout()
    })
    this.#transmit(bytes)
    if (!flow.reliable) this.#repeatAfter(ground.timers.t1, bytes)
  }

  get ended(): boolean {
    return this.#state === 'terminated'
  }

  receive(response: SipMessage, flow: Flow, bytes: number): void {
    const { status } = response
    switch (this.#state) {
      case 'trying':
      case 'proceeding':
        this.status = status
        this.#state = 'proceeding'
        if (status >= 200) this.#enterCompleted()
        this.#user.onResponse(response, flow, bytes)
        return
      default:
        return
    }
  }

  /** Only an INVITE can be cancelled (RFC 3261 section 9.1). */
  cancel(): SipMessage {
    throw new TypeError('only an INVITE can be cancelled')
  }

  broken(error: Error): void {
    if (this.#state !== 'trying' && this.#state !== 'proceeding') return
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

  #enterCompleted(): void {
    this.#state = 'completed'
    clearTimeout(this.#repeat)
    clearTimeout(this.#limit)
    // Timer K.
    this.#limit = after(this.flow.reliable ? 0 : this.#ground.timers.t4, () => this.terminate())
  }

  // Timer E doubles up to T2, and is T2 in Proceeding.
  #repeatAfter(ms: number, bytes: Buffer): void {
    const { t2 } = this.#ground.timers
    this.#repeat = after(ms, () => {
      this.#transmit(bytes)
      this.#repeatAfter(this.#state === 'proceeding' ? t2 : Math.min(ms * 2, t2), bytes)
    })
  }

  #transmit(bytes: Buffer): void {
    // Never within the caller's own call, whatever the flow does.
    this.flow.send(bytes, error => process.nextTick(() => this.broken(error)))
  }
}
