import type { SipMessage } from '../message/message.ts'
import { answer } from '../transaction/build.ts'
import { after } from '../transaction/machine.ts'
import type { Timers } from '../transaction/timers.ts'
import type { ClientTransaction, ServerTransaction, TransactionLayer } from '../transaction/transaction.ts'
import type { Flow } from '../transport/transport.ts'
import { chooseBest } from './best-response.ts'
import type { ProxyOptions } from './proxy-layer.ts'

/** A target to try. Only one that an application named may choose its flow. */
export interface ProxyTarget {
  uri: string
  /** Came with a 3xx, and so takes the request-URI's place whatever that was. */
  redirected: boolean
}

/** A request on its way to one target. */
export interface Departure {
  copy: SipMessage
  flow: Flow | Promise<Flow>
  /** No other way than this flow leads there. */
  only?: boolean
  /** Writes what depends on the flow. */
  complete(flow: Flow): void
}

export interface ContextDeps {
  transactions: TransactionLayer
  timers: Timers
  /** Marks our branches of this request. */
  mark: string
  /** Makes ready what goes to a target; undefined when its URI is none. */
  depart(target: ProxyTarget): Departure | undefined
  /** The status that a failure to find a way counts as. */
  failureStatus(error: unknown): number
  ended(): void
}

type Options = Pick<
  ProxyOptions,
  'forking' | 'followRedirects' | 'provisionalTimeoutMs' | 'finalTimeoutMs' | 'onFinal' | 'onDone' | 'onUnheard'
>

interface Branch {
  target: ProxyTarget
  client?: ClientTransaction
  /** The final status; what the branch counts as when it has no answer. */
  status: number
  response?: SipMessage
  heard: boolean
  ended: boolean
  /** Given up, so that the next target has its turn; a late 2xx still counts. */
  passedOver: boolean
  silence?: NodeJS.Timeout | undefined
  limit?: NodeJS.Timeout | undefined
  timerC?: NodeJS.Timeout | undefined
}

type Headers = [name: string, value: string][]

// As many targets as one request may be sent to, those of redirects counted.
const mostBranches = 32

/** RFC 3261 section 16.7: one request, its branches, and the answer that its caller gets. */
export class ResponseContext {
  readonly #deps: ContextDeps
  readonly #transaction: ServerTransaction
  readonly #options: Options
  readonly #branches: Branch[] = []
  #waiting: ProxyTarget[]
  #tried: number
  #stopped = false
  #cancelled = false
  #done = false

  constructor(deps: ContextDeps, transaction: ServerTransaction, targets: ProxyTarget[], options: Options) {
    this.#deps = deps
    this.#transaction = transaction
    this.#options = options
    this.#waiting = targets.slice(0, mostBranches)
    this.#tried = this.#waiting.length
  }

  start(): void {
    const transaction = this.#transaction
    transaction.onCancel = cancel => this.#onCancel(cancel)
    transaction.onEnd = () => this.#onServerEnd()
    this.#advance()
  }

  /** Lets go of everything; nothing is sent. */
  close(): void {
    this.#stopped = true
    this.#waiting = []
    for (const branch of this.#branches) this.#clear(branch)
    this.#finished('closing')
  }

  // Section 16.10: 200 for the CANCEL, and each branch is cancelled. Their answers decide, as a 2xx may have won the race.
  #onCancel(cancel: ServerTransaction): void {
    cancel.respond(answer(cancel.request, 200))
    this.#cancelled = true
    this.#stop(cancel.request.getAll('Reason').map(value => ['Reason', value]))
    this.#advance()
  }

  #onServerEnd(): void {
    if (this.#done || this.#transaction.status >= 200) return
    this.#stop([])
    this.#advance()
  }

  #stop(headers: Headers): void {
    this.#stopped = true
    this.#waiting = []
    for (const branch of this.#branches) {
      if (branch.ended) continue
      if (branch.client === undefined) this.#end(branch, 487)
      else if (branch.client.invite) branch.client.cancel(headers)
    }
  }

  // Starts what is to be started, and answers when nothing is open any more.
  #advance(): void {
    const serial = this.#options.forking === 'serial'
    while (this.#waiting.length > 0 && !(serial && this.#branches.some(b => !b.ended && !b.passedOver))) {
      this.#launch(this.#waiting.shift()!)
    }
    // A branch that was passed over in silence will not answer; to wait for it would keep the caller waiting.
    if (this.#branches.every(b => b.ended || (b.passedOver && !b.heard))) this.#answer()
  }

  #launch(target: ProxyTarget): void {
    const branch: Branch = { target, status: 0, heard: false, ended: false, passedOver: false }
    this.#branches.push(branch)
    const departure = this.#deps.depart(target)
    if (departure === undefined) return this.#end(branch, 500)
    const { flow } = departure
    if (!(flow instanceof Promise)) return this.#send(branch, departure, flow)
    flow.then(
      found => this.#send(branch, departure, found),
      (error: unknown) => {
        if (branch.ended) return
        this.#end(branch, this.#deps.failureStatus(error))
        this.#advance()
      },
    )
  }

  #send(branch: Branch, departure: Departure, flow: Flow): void {
    if (branch.ended || this.#stopped) return
    const { transactions, mark } = this.#deps
    const { provisionalTimeoutMs, finalTimeoutMs } = this.#options
    departure.complete(flow)
    const failed = (status: number) => {
      if (branch.ended) return
      this.#end(branch, status)
      this.#advance()
    }
    branch.client = transactions.send(
      departure.copy,
      flow,
      {
        onResponse: (response, over, bytes) => this.#onResponse(branch, response, over, bytes),
        onTimeout: () => failed(408),
        // Section 16.9: like a 503, but for a flow that fails (RFC 5626 section 5.3).
        onTransportError: () => failed(departure.only ? 430 : 503),
      },
      mark,
    )
    if (provisionalTimeoutMs !== undefined) {
      branch.silence = after(provisionalTimeoutMs, () => this.#passOver(branch))
    }
    if (finalTimeoutMs !== undefined) branch.limit = after(finalTimeoutMs, () => this.#passOver(branch))
    this.#startTimerC(branch)
  }

  // Section 16.6 step 11: Timer C, anew with each provisional but 100.
  #startTimerC(branch: Branch): void {
    if (!this.#transaction.invite) return
    clearTimeout(branch.timerC)
    branch.timerC = after(this.#deps.timers.c, () => this.#passOver(branch))
  }

  #passOver(branch: Branch): void {
    if (branch.ended) return
    branch.passedOver = true
    branch.status = 408
    this.#clear(branch)
    if (branch.client?.invite) branch.client.cancel()
    this.#advance()
  }

  #onResponse(branch: Branch, response: SipMessage, flow: Flow, bytes: number): void {
    const { status } = response
    branch.heard = true
    clearTimeout(branch.silence)
    if (status < 200) {
      if (status === 100) return
      if (!branch.passedOver) this.#startTimerC(branch)
      if (this.#transaction.status < 200) this.#relay(response)
      return
    }
    const first = !branch.ended
    if (first) this.#options.onFinal?.(response, flow, bytes, branch.target.uri)
    if (status < 300) this.#relaySuccess(response)
    if (!first) return
    branch.response = response
    // A branch that we cancelled for its silence ends with 487, which is not what its caller should hear.
    this.#end(branch, branch.passedOver && status === 487 ? 408 : status)
    this.#after(branch, status)
    this.#advance()
  }

  #after(branch: Branch, status: number): void {
    if (status < 300) this.#stop([['Reason', 'SIP;cause=200;text="Call completed elsewhere"']])
    else if (status >= 600) this.#stop([['Reason', `SIP;cause=${status}`]])
    else if (this.#stopped) return
    else if (status < 400 && this.#options.followRedirects) this.#follow(branch)
    // The caller has to prove who he is before anybody else is asked.
    else if ((status === 401 || status === 407) && this.#options.forking === 'serial') this.#waiting = []
  }

  // Section 16.5: each contact once, the preferred first.
  #follow(branch: Branch): void {
    const contacts = branch.response?.contacts
    if (contacts === undefined || contacts === '*') return
    const known = new Set([...this.#branches.map(b => b.target), ...this.#waiting].map(target => target.uri))
    const preference = (q: string | undefined) => (q === undefined ? 1 : Number.parseFloat(q) || 0)
    const fresh = contacts
      .filter(contact => !known.has(contact.uriText))
      .sort((a, b) => preference(b.params.get('q')) - preference(a.params.get('q')))
      .slice(0, mostBranches - this.#tried)
    if (fresh.length > 0) branch.status = 0
    this.#tried += fresh.length
    this.#waiting.unshift(...fresh.map(contact => ({ uri: contact.uriText, redirected: true })))
  }

  // Every 2xx of an INVITE goes to the caller (section 16.7 step 5), only the first one of anything else.
  #relaySuccess(response: SipMessage): void {
    if (this.#transaction.status < 200 || (this.#transaction.invite && this.#transaction.status < 300)) {
      this.#relay(response)
    }
  }

  #relay(response: SipMessage): void {
    const relayed = response.clone()
    relayed.removeFirst('Via')
    if (relayed.has('Via')) this.#transaction.respond(relayed)
  }

  #end(branch: Branch, status: number): void {
    branch.ended = true
    branch.status = status
    this.#clear(branch)
  }

  #clear(branch: Branch): void {
    clearTimeout(branch.silence)
    clearTimeout(branch.limit)
    clearTimeout(branch.timerC)
  }

  #answer(): void {
    if (this.#done) return
    const transaction = this.#transaction
    if (transaction.status < 200 && !transaction.ended) {
      const { onUnheard } = this.#options
      if (onUnheard && !this.#cancelled && !this.#branches.some(branch => branch.heard)) {
        this.#finished('nobody was heard')
        return onUnheard()
      }
      if (this.#cancelled) transaction.respond(answer(transaction.request, 487))
      else this.#respondBest()
    }
    this.#finished(this.#branches.some(b => b.client) ? undefined : `error proxying request to ${this.#firstTarget}`)
  }

  get #firstTarget(): string {
    return this.#branches[0]?.target.uri ?? ''
  }

  #respondBest(): void {
    const transaction = this.#transaction
    // A redirect that was followed counts by what came of it.
    const counted = this.#branches.filter(branch => branch.status > 0)
    const best = counted[chooseBest(counted.map(branch => branch.status))]
    const status = best?.status ?? 408
    // RFC 4320 section 4.2: a 408 for anything but an INVITE comes too late to be of use.
    if (status === 408 && !transaction.invite) return
    if (status === 503) transaction.respond(answer(transaction.request, 500))
    else if (best?.response?.status !== status) transaction.respond(answer(transaction.request, status))
    else {
      if (status === 401 || status === 407) collectChallenges(best.response, counted)
      this.#relay(best.response)
    }
  }

  #finished(error?: string): void {
    if (this.#done) return
    this.#done = true
    this.#deps.ended()
    this.#options.onDone(error)
  }
}

/** Section 16.7 step 7: the caller gets the challenges of all branches. */
function collectChallenges(best: SipMessage, branches: readonly Branch[]): void {
  for (const { response } of branches) {
    if (response === undefined || response === best || (response.status !== 401 && response.status !== 407)) continue
    for (const name of ['WWW-Authenticate', 'Proxy-Authenticate']) {
      for (const value of response.getAll(name)) best.append(name, value)
    }
  }
}
