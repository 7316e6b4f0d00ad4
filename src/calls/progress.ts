import { type Branch, dialogIdOf } from './fork.ts'
import { allow, bodyOf, fromAnswer, names } from './headers.ts'
import { sendIn } from './leg.ts'
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

// What a caller hears before an answer. It has one dialog with us whatever number of phones ring, so the first early
// media is the one that it hears. A reliable response (RFC 3262) of a phone goes reliably to a caller that takes such,
// and is acknowledged when the caller does so, because offers and answers may travel in both PRACKs.

export interface Progress {
  on(branch: Branch, response: Response, ack: Ack): void
  /** The caller's PRACK. */
  prack(req: Incoming, res: Reply): void
  /** Does `step` at once, or when the caller has acknowledged what it got reliably (RFC 3262 section 3). */
  inOrder(step: () => void): void
  /** SDP that went reliably to the caller, and the one that its PRACK brought. */
  readonly told: string
  readonly prackSdp: string
  close(): void
}

export interface ProgressUser {
  srf: SrfPort
  req: Incoming
  res: Reply
  ended(): boolean
  /** A branch's SDP as the caller is to get it; undefined: not before the answer. */
  bodyFor(branch: Branch, sdp: string): string | undefined | Promise<string | undefined>
  /** More headers of each provisional response. */
  headers(): Headers
  /** The caller has got a provisional response. */
  onSent(sent: Message | undefined): void
}

// A caller that never acknowledges is given up by the engine after 64*T1; what waits goes on then.
const giveUpMs = 32_000

export function createProgress({ srf, req, res, ended, bodyFor, headers: more, onSent }: ProgressUser): Progress {
  const required = names(req, 'Require', '100rel')
  const takes = required || names(req, 'Supported', '100rel')
  let earlyMedia: Branch | undefined
  let waiting: { branch: Branch; response: Response } | undefined
  /** Set while a body is being made. */
  let making = false
  let timer: NodeJS.Timeout | undefined
  let queue: (() => void)[] = []
  let told = ''
  let prackSdp = ''

  function inOrder(step: () => void): void {
    if (waiting || making) queue.push(step)
    else step()
  }

  function next(): void {
    clearTimeout(timer)
    waiting = undefined
    goOn()
  }

  function goOn(): void {
    while (!waiting && !making && queue.length > 0) queue.shift()?.()
  }

  function pass(branch: Branch, response: Response, ack: Ack): void {
    if (ended()) return
    const { body } = response
    if (body) earlyMedia ??= branch
    const media = body && earlyMedia === branch ? bodyFor(branch, body) : undefined
    if (!(media instanceof Promise)) return tell(branch, response, ack, media)
    making = true
    void media.then(made => {
      making = false
      if (!ended()) tell(branch, response, ack, made)
      goOn()
    })
  }

  function tell(branch: Branch, response: Response, ack: Ack, media: string | undefined): void {
    const { status, reason } = response
    const reliable = required || (takes && response.has('RSeq'))
    if (response.has('RSeq') && !reliable) ack()
    const headers: Headers = { Allow: allow, ...more(), ...(media ? fromAnswer(response) : {}) }
    if (reliable) {
      headers['Require'] = '100rel'
      waiting = { branch, response }
      timer = setTimeout(next, giveUpMs)
      timer.unref()
      told = media ?? told
    }
    reply(res, status, { reason, headers, body: media }, (error, sent) => {
      if (error && reliable) {
        if (response.has('RSeq')) ack()
        next()
      }
      if (!error) onSent(sent)
    })
  }

  return {
    on: (branch, response, ack) => inOrder(() => pass(branch, response, ack)),
    prack(prack, answer) {
      const { branch, response } = waiting ?? {}
      if (!branch?.sent || !response?.has('RSeq')) {
        // Reliable on the caller's leg alone: nobody else could answer an offer.
        const isAnswer = !req.body && told !== ''
        if (isAnswer) prackSdp = prack.body ?? ''
        reply(answer, prack.body && !isAnswer ? 488 : 200)
        return next()
      }
      const sequence = Number.parseInt(branch.sent.get('CSeq') ?? '', 10)
      // Whose media passes this server has nothing to negotiate with the other's phone.
      if (prack.body && branch.end.leg !== undefined) return reply(answer, 488)
      const { body, headers = {} } = bodyOf(prack)
      const rack = { ...headers, RAck: `${response.get('RSeq')} ${sequence} INVITE` }
      void sendIn(srf, dialogIdOf(response, branch.sent), 'PRACK', { headers: rack, body }).then(result => {
        if (result.status < 300) prackSdp = prack.body ?? prackSdp
        reply(answer, result.status, result.response ? bodyOf(result.response) : {})
        next()
      })
    },
    inOrder,
    get told() {
      return told
    },
    get prackSdp() {
      return prackSdp
    },
    close() {
      clearTimeout(timer)
      waiting = undefined
      queue = []
    },
  }
}
