import { randomUUID } from 'node:crypto'
import { createResponse, type SipMessage } from '../message/message.ts'
import type { ClientTransaction, ClientTransactionUser } from '../transaction/transaction.ts'
import type { Flow } from '../transport/transport.ts'
import { type Answer, type App, type AppMessage, refuse, texts } from './app.ts'
import { contactIn, type Dialog, hopOf, noteAnswer, refreshTarget, requestInDialog } from './dialog.ts'
import { copyHeaders, headerOf, hostPort, newTag, replaceLocalhost, setBody } from './fill.ts'
import type { Ground, Keeper } from './ground.ts'
import { estimate, failureOf, inventedMeta, receivedMeta, sentMeta } from './report.ts'
import { acceptedSession, lists } from './session-timer.ts'

// Requests of an application inside a dialog, and how any request finds its way in one.

const skip = new Set(['from', 'to', 'call-id', 'cseq', 'contact', 'max-forwards', 'session-expires', 'rack'])
const withContact = new Set(['INVITE', 'SUBSCRIBE', 'REFER', 'UPDATE', 'NOTIFY'])

/** The flow for a request inside a dialog. */
export function flowIn(ground: Ground, dialog: Dialog, bytes: number): Flow | Promise<Flow> {
  const hop = hopOf(dialog)
  if (hop === undefined) return Promise.reject(new Error('the peer has given no address'))
  return 'send' in hop ? hop : ground.flowFor(hop, bytes, hop === dialog.via)
}

/** Writes the way over another node into a request, which must be complete but for its Via. */
function throughPeer(ground: Ground, dialog: Dialog, message: SipMessage): void {
  const route = dialog.via && ground.routeBy(dialog.via, message)
  if (route !== undefined) message.prepend('Route', route)
}

/**
 * Sends a request in a transaction; `complete` writes what depends on the flow. Failures to find a way come through
 * `user` like transport errors.
 */
export async function sendInDialog(
  ground: Ground,
  dialog: Dialog,
  message: SipMessage,
  user: ClientTransactionUser,
  complete?: (flow: Flow) => void,
): Promise<ClientTransaction | undefined> {
  try {
    const flow = await flowIn(ground, dialog, message.toBuffer().length)
    complete?.(flow)
    throughPeer(ground, dialog, message)
    return ground.transactions.send(message, flow, user)
  } catch (error) {
    user.onTransportError(error instanceof Error ? error : new Error('no flow'))
    return undefined
  }
}

/** Sends, or repeats, the ACK of the newest 2xx (section 13.2.2.4): CSeq number and credentials are those of the INVITE. */
export function sendAck(ground: Ground, dialog: Dialog, sip: AppMessage | undefined): Answer | Promise<Answer> {
  const { answered } = dialog
  if (!answered) return refuse(texts.failureAck)
  clearTimeout(answered.deadline)
  const send = (flow: Flow): Answer => {
    const ack = answered.ack?.clone() ?? buildAck(ground, dialog, answered.request, answered.sequence, sip, flow)
    answered.ack ??= ack.clone()
    throughPeer(ground, dialog, ack)
    ground.transactions.sendStateless(ack, flow)
    const meta = sentMeta(randomUUID(), flow, ack.toBuffer().length)
    return { ok: true, kind: 'request', meta, message: ack }
  }
  const found = flowIn(ground, dialog, (sip?.body.length ?? 0) + 400)
  if (!(found instanceof Promise)) return send(found)
  return found.then(send, (error: unknown) => {
    ground.log.info({ dialog: dialog.id, reason: String(error) }, 'no way to the peer for an ACK')
    return refuse('unable to send ACK')
  })
}

function buildAck(
  ground: Ground,
  dialog: Dialog,
  invite: SipMessage,
  sequence: number,
  sip: AppMessage | undefined,
  flow: Flow,
) {
  const ack = requestInDialog(dialog, 'ACK', sequence)
  for (const name of ['Authorization', 'Proxy-Authorization']) {
    for (const value of invite.getAll(name)) ack.append(name, value)
  }
  if (sip) copyHeaders(ack, sip.headers, flow, skip)
  if (ground.userAgent !== '' && !ack.has('User-Agent')) ack.append('User-Agent', ground.userAgent)
  if (sip && sip.body.length > 0) {
    setBody(ack, sip.body)
    dialog.localSdp = sip.body
  }
  return ack
}

export interface InDialog {
  /** An application's request in the dialog of that id. */
  request(app: App, id: string, sip: AppMessage): Answer | Promise<Answer>
}

export function createInDialog(ground: Ground, keeper: Keeper): InDialog {
  const { dialogs, transactions } = ground

  function request(app: App, id: string, sip: AppMessage): Answer | Promise<Answer> {
    const [, method, uri = ''] = /^([A-Z][A-Z0-9\-._]{0,31}) (\S+) SIP\/2\.0$/.exec(sip.startLine) ?? []
    if (!method) return refuse(`invalid request-uri: ${sip.startLine}`)
    const dialog = method === 'PRACK' ? forPrack(id, sip) : dialogs.byId(id)
    if (!dialog || dialog.app !== app) return refuse(method === 'ACK' ? texts.failureAck : texts.unknownDialog)
    if (method === 'ACK') return acknowledge(dialog, sip)
    const found = flowIn(ground, dialog, estimate(sip))
    const launch = (flow: Flow) => send(dialog, build(dialog, method, uri, sip, flow), flow)
    if (!(found instanceof Promise)) return launch(found)
    return found.then(launch, (error: unknown) => fail(dialog, method, uri, sip, error))
  }

  // Several early dialogs of one INVITE share an id; the acknowledged RSeq tells which one is meant.
  function forPrack(id: string, sip: AppMessage): Dialog | undefined {
    const number = Number.parseInt(headerOf(sip.headers, 'rack') ?? '', 10)
    const all = dialogs.fork(id)
    return all.find(dialog => dialog.lastReliable === number) ?? dialogs.byId(id)
  }

  function acknowledge(dialog: Dialog, sip: AppMessage): Answer | Promise<Answer> {
    const cancelled = dialog.answered?.cancelled === true
    const answer = sendAck(ground, dialog, sip)
    if (cancelled && dialog.answered) {
      dialog.answered.cancelled = false
      setImmediate(() => keeper.hangUp(dialog, 'ACK-BYE due to cancel race condition'))
    }
    return answer
  }

  function build(dialog: Dialog, method: string, uri: string, sip: AppMessage, flow: Flow): SipMessage {
    const wanted = Number.parseInt(headerOf(sip.headers, 'cseq') ?? '', 10)
    dialog.localSequence = Math.max(dialog.localSequence + 1, Number.isInteger(wanted) ? wanted : 0)
    const target = method === 'PRACK' || uri === '' || uri.includes('placeholder') ? dialog.target : uri
    const message = requestInDialog(dialog, method, dialog.localSequence, target)
    if (withContact.has(method)) {
      const given = headerOf(sip.headers, 'contact')
      if (given !== undefined) dialog.contact = replaceLocalhost('contact', given, flow)
      message.append('Contact', given === undefined ? contactIn(dialog, flow) : dialog.contact)
    }
    if (method === 'PRACK') message.append('RAck', headerOf(sip.headers, 'rack') ?? '')
    copyHeaders(message, sip.headers, flow, skip)
    if (method === 'INVITE' || method === 'UPDATE') addSession(dialog, sip, message)
    if (ground.userAgent !== '' && !message.has('User-Agent')) message.append('User-Agent', ground.userAgent)
    setBody(message, sip.body)
    throughPeer(ground, dialog, message)
    return message
  }

  // A re-INVITE or UPDATE within a kept session is also its refresh (RFC 4028 section 7.4).
  function addSession(dialog: Dialog, sip: AppMessage, message: SipMessage): void {
    const own = headerOf(sip.headers, 'session-expires')
    const { session } = dialog
    const value = own ?? (session && `${session.interval};refresher=${session.refresher === 'local' ? 'uac' : 'uas'}`)
    if (value === undefined) return
    message.append('Session-Expires', value)
    if (!lists(message.getAll('Supported'), 'timer')) message.append('Supported', 'timer')
  }

  function fail(dialog: Dialog, method: string, uri: string, sip: AppMessage, error: unknown): Answer {
    const failure = failureOf(error)
    if ('text' in failure) return refuse(failure.text)
    const flow = ground.noFlow()
    const message = build(dialog, method, uri, sip, flow)
    message.prepend('Via', `SIP/2.0/UDP ${hostPort(flow.advertised)};branch=z9hG4bK${newTag()}`)
    const id = randomUUID()
    const response = createResponse(message, failure.status)
    setImmediate(() => setImmediate(() => dialog.app.show(inventedMeta(id, dialog.id), response)))
    if (method === 'BYE') dialogs.end(dialog)
    return { ok: true, kind: 'request', meta: sentMeta(id, flow, message.toBuffer().length), message }
  }

  function send(dialog: Dialog, message: SipMessage, flow: Flow): Answer {
    const { method } = message
    let settled = false
    setImmediate(() => {
      settled = true
    })
    const show = (meta: Parameters<App['show']>[0], response: SipMessage) => {
      if (settled) dialog.app.show(meta, response)
      else setImmediate(() => dialog.app.show(meta, response))
    }
    const invent = (status: number) => {
      onFinal(dialog, message, status)
      show(inventedMeta(transaction.id, dialog.id), createResponse(message, status))
    }
    // A pending re-INVITE is cancelled before the dialog ends.
    if (method === 'BYE' && dialog.outgoing && !dialog.outgoing.ended && dialog.outgoing.status < 200)
      dialog.outgoing.cancel()
    const transaction: ClientTransaction = transactions.send(message, flow, {
      onResponse(response, from, bytes) {
        if (response.status === 100) return
        if (response.status !== 408) noteAnswer(dialog, flow)
        if (method === 'INVITE' && response.status >= 200 && response.status < 300) {
          if (dialog.answered?.sequence === message.cseq.number) {
            if (dialog.answered.ack) void sendAck(ground, dialog, undefined)
            return
          }
          answered(dialog, message, response)
        }
        if (response.status >= 200) onFinal(dialog, message, response.status, response)
        show(receivedMeta(transaction.id, dialog.id, from, bytes), response)
      },
      onTimeout: () => invent(408),
      onTransportError: () => invent(503),
    })
    if (method === 'INVITE') dialog.outgoing = transaction
    const bytes = transaction.request.toBuffer().length
    return { ok: true, kind: 'request', meta: sentMeta(transaction.id, flow, bytes), message: transaction.request }
  }

  function answered(dialog: Dialog, message: SipMessage, response: SipMessage): void {
    clearTimeout(dialog.answered?.deadline)
    dialog.answered = { request: message, sequence: message.cseq.number, cancelled: false }
    dialog.answered.deadline = setTimeout(() => void sendAck(ground, dialog, undefined), ground.timers.timeout)
    dialog.answered.deadline.unref()
    if (message.body.length > 0) dialog.localSdp = message.body
    refreshTarget(dialog, response)
  }

  function onFinal(dialog: Dialog, message: SipMessage, status: number, response?: SipMessage): void {
    const { method } = message
    if (method === 'INVITE') dialog.outgoing = undefined
    if (method === 'BYE' && status !== 401 && status !== 407) {
      ground.cdr('stop', ['application', 'normal-release'], message)
      dialogs.end(dialog)
      return
    }
    // Section 12.2.1.2: the peer knows nothing of this dialog any more.
    if (status === 481 && (method === 'INVITE' || method === 'UPDATE')) keeper.keep(dialog, undefined)
    if (response && status < 300 && (method === 'INVITE' || method === 'UPDATE')) {
      refreshTarget(dialog, response)
      const session = acceptedSession(message.get('Session-Expires'), response.get('Session-Expires'))
      if (session) keeper.keep(dialog, session)
    }
    if (method !== 'NOTIFY' || dialog.kind !== 'SUBSCRIBE') return
    const terminated = /^\s*terminated/i.test(message.get('Subscription-State') ?? '')
    // A subscriber that knows nothing of it any more, or is gone (RFC 6665 section 4.2.2).
    if (terminated || status === 481 || status === 408) dialogs.end(dialog)
  }

  return { request }
}
