import { Refusal } from '../errors.ts'
import type { Logger } from '../log.ts'
import { End } from './anchor.ts'
import { reasonHeader, tagOf } from './headers.ts'
import { asBranchStatus, bestOf } from './outcome.ts'
import type { Target } from './route.ts'
import type { Ack, Headers, Message, Response, Sent, SrfPort } from './sip.ts'

/** One INVITE that rings one contact. */
export interface Branch {
  readonly target: Target
  sent?: Sent
  /** The final status, 0 while it rings. */
  status: number
  cancelled: boolean
  /** The phone's tag, as far as it has answered. */
  toTag?: string
  /** Set when it was asked again with the Min-SE of its 422. */
  retried?: boolean
  /** Its media. */
  readonly end: End
  /** The body that it was rung with. */
  body?: string | undefined
  /** Set when it was rung once more with another offer. */
  refitted?: boolean
}

export interface ForkUser {
  onProgress(branch: Branch, response: Response, ack: Ack): void
  /** The first 2xx; the other branches are being cancelled. */
  onAnswer(branch: Branch, response: Response, ack: Ack): void
  /** A 2xx that came too late: it must be acknowledged and ended with BYE. */
  onLate(branch: Branch, response: Response, ack: Ack): void
  /** Nobody answered: the best status, and its response where a phone gave it. */
  onFailure(status: number, response: Response | undefined): void
  /** Another offer for a contact that could not take the first one (488, 415, 606); undefined: there is none. */
  onUnfit?(branch: Branch): Promise<string> | undefined
  /** The targets for the Contacts of a 3xx; empty: not followed. */
  onRedirect(contacts: string): Promise<Target[]>
  /** Other targets for one whose connection is gone, or whose node does not answer; `tried` are next hops. */
  onLost?(target: Target, tried: readonly string[]): Promise<Target[]>
}

/** The body of every INVITE, or what makes one for each contact: SDP of ours, if it is made later. A Refusal fails that branch alone. */
export type BranchBody = string | undefined | ((branch: Branch) => string | undefined | Promise<string>)

export interface ForkOptions {
  srf: SrfPort
  headers: Headers
  body: BranchBody
  ringMs: number
  mostRedirects: number
  mostForks: number
  log: Logger
}

export interface Fork {
  readonly branches: readonly Branch[]
  readonly ended: boolean
  start(targets: readonly Target[]): void
  /** Cancels what still rings; nothing is reported after that but late 2xx. */
  cancel(headers: Headers): void
}

// A connection that is gone (RFC 5626 section 5.3), and a node that is; nobody has seen the INVITE.
const lost = new Set([430, 503])
// So often a call follows phones that change their node.
const mostLost = 5

// Who could take the call, but not with these words.
const unfit = new Set([415, 488, 606])

/** Rings contacts in parallel (RFC 3261 section 16.7 as a user agent does it): the first 2xx wins, a 6xx stops all. */
export function createFork(options: ForkOptions, user: ForkUser): Fork {
  const { srf, headers, body, ringMs, mostRedirects, mostForks, log } = options
  const branches: Branch[] = []
  const tried = new Set<string>()
  let ended = false
  let redirects = 0
  let losses = 0
  let looking = 0
  let best: Response | undefined
  let timer: NodeJS.Timeout | undefined

  function start(targets: readonly Target[]): void {
    timer ??= setTimeout(() => {
      cancelRest(reasonHeader(408, 'No answer'))
      finish(408)
    }, ringMs)
    for (const target of targets) {
      const way = `${target.uri} ${target.proxy ?? ''}`
      if (tried.has(way) || branches.length >= mostForks + losses) continue
      tried.add(way)
      launch({ target, status: 0, cancelled: false, end: new End(target.profile, target.address) }, headers)
    }
    settle()
  }

  function launch(branch: Branch, withHeaders: Headers): void {
    if (!branches.includes(branch)) branches.push(branch)
    if (branch.body !== undefined) return send(branch, withHeaders)
    const made = typeof body === 'function' ? body(branch) : body
    if (made instanceof Promise) return void sendWhen(made, branch, withHeaders)
    branch.body = made
    send(branch, withHeaders)
  }

  async function sendWhen(made: Promise<string>, branch: Branch, withHeaders: Headers): Promise<void> {
    try {
      branch.body = await made
    } catch (error) {
      fail(branch, error instanceof Refusal ? error.sipStatus : 500, undefined)
      if (!(error instanceof Refusal)) log.error({ err: error }, 'no offer could be made')
      return
    }
    if (branch.cancelled) return fail(branch, 487, undefined)
    send(branch, { ...withHeaders, 'Content-Type': 'application/sdp' })
  }

  function send(branch: Branch, withHeaders: Headers): void {
    const { uri, proxy } = branch.target
    try {
      srf.request(uri, { method: 'INVITE', proxy, headers: { ...withHeaders }, body: branch.body }, (error, sent) => {
        if (error || sent === undefined) return lookElsewhere(branch) ? undefined : fail(branch, 480, undefined)
        branch.sent = sent
        sent.on('response', (response, ack) => onResponse(branch, withHeaders, response, ack))
        if (branch.cancelled) cancelSent(sent, {})
      })
    } catch {
      // srf throws when it has no connection to its engine: this contact cannot be rung.
      setImmediate(() => fail(branch, 480, undefined))
    }
  }

  function onResponse(branch: Branch, withHeaders: Headers, response: Response, ack: Ack): void {
    const { status } = response
    branch.toTag = tagOf(response.get('To'))
    if (status < 200) return ended ? undefined : user.onProgress(branch, response, ack)
    if (status < 300) {
      branch.status = status
      if (ended || branch.cancelled) return user.onLate(branch, response, ack)
      stop()
      cancelRest(reasonHeader(200, 'Call completed elsewhere'))
      return user.onAnswer(branch, response, ack)
    }
    if (ended) {
      branch.end.close()
      return void (branch.status = status)
    }
    const minSe = response.get('Min-SE')
    if (status === 422 && minSe !== undefined && /^\d{1,6}/.test(minSe) && !branch.retried) {
      // RFC 4028 section 7.3: once more, with what the phone wants at least.
      branch.retried = true
      const wish = String(Math.max(Number.parseInt(minSe, 10), Number(withHeaders['Session-Expires'] ?? 0)))
      return launch(branch, { ...withHeaders, 'Min-SE': minSe, 'Session-Expires': wish })
    }
    const other = unfit.has(status) && !branch.refitted ? user.onUnfit?.(branch) : undefined
    if (other) {
      branch.refitted = true
      return void sendWhen(other, branch, withHeaders)
    }
    if (lost.has(status) && lookElsewhere(branch)) return
    const contacts = response.get('Contact')
    if (status >= 300 && status < 400 && contacts !== undefined && redirects < mostRedirects) {
      redirects++
      return follow(branch, user.onRedirect(contacts))
    }
    fail(branch, asBranchStatus(status), response)
  }

  /** True when other ways to the phone of this branch are looked for. */
  function lookElsewhere(branch: Branch): boolean {
    if (ended || user.onLost === undefined || losses >= mostLost) return false
    losses++
    branch.end.close()
    const ways = branches.filter(one => one.target.aor === branch.target.aor).map(one => one.target.proxy ?? '')
    follow(branch, user.onLost(branch.target, ways))
    return true
  }

  function follow(branch: Branch, next: Promise<Target[]>): void {
    looking++
    next
      // One that leads nowhere leaves the branch failed; why is logged by who looked.
      .catch(() => [])
      .then(targets => {
        looking--
        branch.status = 480
        if (!ended) start(targets)
      })
  }

  function fail(branch: Branch, status: number, response: Response | undefined): void {
    branch.status = status
    branch.end.close()
    if (ended) return
    if (response && bestOf(branches.map(b => b.status).filter(s => s > 0)) === status) best = response
    if (status >= 600) {
      cancelRest(reasonHeader(status, 'Call declined elsewhere'))
      return finish(status)
    }
    settle()
  }

  function settle(): void {
    if (ended || looking > 0 || branches.some(branch => branch.status === 0)) return
    finish(bestOf(branches.map(branch => branch.status)))
  }

  function finish(status: number): void {
    if (ended) return
    stop()
    user.onFailure(status, best && asBranchStatus(best.status) === status ? best : undefined)
  }

  function stop(): void {
    ended = true
    clearTimeout(timer)
  }

  function cancelRest(withHeaders: Headers): void {
    for (const branch of branches) {
      if (branch.status !== 0 || branch.cancelled) continue
      branch.cancelled = true
      branch.end.close()
      if (branch.sent) cancelSent(branch.sent, withHeaders)
    }
  }

  return {
    branches,
    get ended() {
      return ended
    },
    start,
    cancel(withHeaders) {
      if (ended) return
      stop()
      cancelRest(withHeaders)
    },
  }
}

/** A CANCEL that finds its INVITE answered comes back as an error, and the 2xx is dealt with by `onLate`. */
export function cancelSent(sent: Sent, headers: Headers): void {
  sent.cancel({ headers: { ...headers } }, () => undefined)
}

/** The id under which the engine and srf know the dialog of an INVITE of ours. */
export function dialogIdOf(response: Message & { stackDialogId?: string }, sent: Message): string {
  if (response.stackDialogId) return response.stackDialogId
  return `${sent.get('Call-ID') ?? ''};from-tag=${tagOf(sent.get('From'))}`
}
