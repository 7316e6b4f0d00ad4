import { randomUUID } from 'node:crypto'
import type { SipMessage } from '../message/message.ts'
import type { Flow } from '../transport/transport.ts'
import { after, type Ground, reply } from './machine.ts'
import type { ServerTransaction } from './transaction.ts'

type State = 'trying' | 'proceeding' | 'terminated'

/** RFC 3261 figure 8: the non-INVITE server transaction. What is left of Completed is in `answered.ts`. */
export class NonInviteServer implements ServerTransaction {
  readonly id = randomUUID()
  readonly invite = false
  readonly request: SipMessage
  readonly flow: Flow
  readonly bytes: number
  status = 0
  onEnd?: () => void
  #state: State = 'trying'
  #last: Buffer | undefined
  #limit: NodeJS.Timeout
  readonly #ground: Ground
  readonly #ended: (answer?: Buffer) => void

  constructor(ground: Ground, request: SipMessage, flow: Flow, bytes: number, ended: (answer?: Buffer) => void) {
    this.#ground = ground
    this.request = request
    this.flow = flow
    this.bytes = bytes
    this.#ended = ended
    // RFC 4320: after Timer F nobody waits any more, and a 408 must not be sent.
    this.#limit = after(ground.timers.timeout, () => this.terminate())
  }

  get ended(): boolean {
    return this.#state === 'terminated'
  }

  respond(response: SipMessage): void {
    const { status } = response
    switch (this.#state) {
      case 'trying':
      case 'proceeding':
        // RFC 4320 section 4.1: no provisional but 100.
        if (status > 100 && status < 200) return
        this.status = status
        this.#send(response.toBuffer())
        if (this.ended) return
        if (status < 200) this.#state = 'proceeding'
        // Timer J: over a connection nothing comes again.
        else this.#end(this.flow.reliable ? undefined : this.#last)
        return
      default:
        return
    }
  }

  /** A retransmission of the request: absorbed in Trying, else answered as before. */
  repeated(): void {
    if (this.#last) this.#send(this.#last)
  }

  terminate(): void {
    this.#end(undefined)
  }

  #end(answer: Buffer | undefined): void {
    if (this.ended) return
    this.#state = 'terminated'
    clearTimeout(this.#limit)
    this.#last = undefined
    this.#ended(answer)
    this.onEnd?.()
  }

  #send(bytes: Buffer): void {
    this.#last = bytes
    reply(this.#ground, this.flow, this.request, bytes, error => {
      this.#ground.log.info({ error, id: this.id }, 'response can not be delivered')
      this.terminate()
    })
  }
}
