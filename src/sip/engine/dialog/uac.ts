import { randomUUID } from 'node:crypto'
import { createRequest, createResponse, type SipMessage } from '../message/message.ts'
import { parseUri } from '../message/uri.ts'
import type { ClientTransaction } from '../transaction/transaction.ts'
import type { Flow } from '../transport/transport.ts'
import { type Answer, type App, type AppMessage, type Meta, refuse, texts } from './app.ts'
import { type Dialog, dialogAsCaller, dialogId, refreshTarget, requestInDialog } from './dialog.ts'
import {
  contactFor,
  copyHeaders,
  headerOf,
  hostPort,
  newCallId,
  newSequence,
  newTag,
  replaceLocalhost,
  setBody,
  tagOf,
} from './fill.ts'
import type { Ground, Keeper } from './ground.ts'
import { sendAck, sendInDialog } from './in-dialog.ts'
import { estimate, failureOf, inventedMeta, keepSubscription, receivedMeta, sentMeta } from './report.ts'
import { acceptedSession, lists } from './session-timer.ts'

// The calling side outside dialogs: an application's request completed and sent, its answers shown, forks sorted out.

/** One request under way; for an INVITE also the early dialogs that its answers made. */
interface Outgoing {
  app: App
  request: SipMessage
  dialog: string
  /** The request went straight to its peer, as far as can be seen. */
  direct: boolean
  early: Map<string, Dialog>
  answered: Dialog | undefined
  cancelled: boolean
  transaction?: ClientTransaction
  /** The answer to the application's frame is surely out, so a response may follow. */
  settled: boolean
}

export interface Uac {
  request(app: App, sip: AppMessage, nextHop: string): Answer | Promise<Answer>
  cancel(app: App, transaction: string, sip: AppMessage): Answer
  /** A 2xx that belongs to no transaction any more; true when it was one of ours. */
  repeated(response: SipMessage, flow: Flow): boolean
  abandon(app: App): void
  readonly pending: number
  close(): void
}

const startLinePattern = /^([A-Z][A-Z0-9\-._]{0,31}) (\S+) SIP\/2\.0$/
const requestSkip = new Set(['from', 'to', 'call-id', 'cseq', 'contact', 'max-forwards'])
const withContact = new Set(['INVITE', 'SUBSCRIBE', 'REFER', 'REGISTER', 'UPDATE'])
const forming = new Set(['INVITE', 'SUBSCRIBE'])
/** Late answers of other forks that one call remembers. */
const mostForks = 50

export function createUac(ground: Ground, keeper: Keeper): Uac {
  const { dialogs, transactions, timers } = ground
  const open = new Map<string, Outgoing>()

  function request(app: App, sip: AppMessage, nextHop: string): Answer | Promise<Answer> {
    const [, method, uriText] = startLinePattern.exec(sip.startLine) ?? []
    const uri = uriText === undefined ? undefined : parseUri(uriText)
    if (!method || !uriText || !uri || method === 'ACK' || method === 'CANCEL')
      return refuse(`invalid request-uri: ${sip.startLine}`)
    if (
      sip.body.length > 0 &&
      headerOf(sip.headers, 'content-type') === undefined &&
      !sip.body.subarray(0, 3).equals(Buffer.from('v=0'))
    ) {
      return refuse(texts.noContentType)
    }
    const hop = nextHop === '' ? uri : parseUri(nextHop.replace(/^<|>$/g, ''))
    if (!hop) return refuse(`invalid request-uri: ${nextHop}`)
    const direct = nextHop === '' || (hop.params.has('fl') && !hop.params.has('node'))
    const launch = (flow: Flow) => {
      const message = build(method, uriText, sip, flow)
      const route = nextHop === '' ? undefined : ground.routeBy(hop, message)
      if (route !== undefined) message.prepend('Route', route)
      return send(app, message, flow, direct)
    }
    const found = ground.flowFor(hop, estimate(sip), nextHop !== '')
    if (!(found instanceof Promise)) return launch(found)
    return found.then(launch, (error: unknown) => fail(app, method, uriText, sip, error))
  }

  function fail(app: App, method: string, uri: string, sip: AppMessage, error: unknown): Answer {
    const failure = failureOf(error)
    if ('text' in failure) return refuse(failure.text)
    const flow = ground.noFlow()
    const message = build(method, uri, sip, flow)
    message.prepend('Via', `SIP/2.0/UDP ${hostPort(flow.advertised)};branch=z9hG4bK${newTag()}`)
    const id = randomUUID()
    const dialog = forming.has(method) ? dialogId(message.callId, message.fromTag ?? '') : ''
    const response = createResponse(message, failure.status)
    setImmediate(() => setImmediate(() => app.show(inventedMeta(id, dialog), response)))
    return { ok: true, kind: 'request', meta: sentMeta(id, flow, message.toBuffer().length), message }
  }

  function build(method: string, uri: string, sip: AppMessage, flow: Flow): SipMessage {
    const message = createRequest(method, uri)
    const given = (name: string) => headerOf(sip.headers, name)
    const own = (name: string) => {
      const value = given(name)
      return value === undefined ? undefined : replaceLocalhost(name, value, flow)
    }
    const host = hostPort(flow.advertised)
    let from = own('from') ?? `<sip:${host}>`
    if (tagOf(from) === undefined) from = `${from.includes('<') ? from : `<${from}>`};tag=${newTag()}`
    message.append('Max-Forwards', given('max-forwards') ?? '70')
    message.append('From', from)
    message.append('To', own('to') ?? `<${uri}>`)
    message.append('Call-ID', given('call-id') ?? newCallId())
    const sequence = Number.parseInt(given('cseq') ?? '', 10)
    message.append('CSeq', `${Number.isInteger(sequence) && sequence >= 0 ? sequence : newSequence()} ${method}`)
    const contact = own('contact') ?? (withContact.has(method) ? contactFor(flow) : undefined)
    if (contact !== undefined) message.append('Contact', contact)
    copyHeaders(message, sip.headers, flow, requestSkip)
    if (ground.userAgent !== '' && !message.has('User-Agent')) message.append('User-Agent', ground.userAgent)
    setBody(message, sip.body)
    return message
  }

  function send(app: App, message: SipMessage, flow: Flow, direct: boolean): Answer {
    const dialog = forming.has(message.method) ? dialogId(message.callId, message.fromTag ?? '') : ''
    const outgoing: Outgoing = {
      app,
      request: message,
      dialog,
      direct,
      early: new Map(),
      answered: undefined,
      cancelled: false,
      settled: false,
    }
    const transaction = transactions.send(message, flow, {
      onResponse: (response, from, bytes) => onResponse(outgoing, response, from, bytes),
      onTimeout: () => invent(outgoing, 408),
      onTransportError: () => invent(outgoing, 503),
      onEnd: () => onEnd(outgoing),
    })
    outgoing.transaction = transaction
    open.set(transaction.id, outgoing)
    if (message.method === 'INVITE') ground.cdr('attempt', ['application'], message)
    setImmediate(() => {
      outgoing.settled = true
    })
    const bytes = transaction.request.toBuffer().length
    return { ok: true, kind: 'request', meta: sentMeta(transaction.id, flow, bytes), message: transaction.request }
  }

  function show(outgoing: Outgoing, meta: Meta, response: SipMessage): void {
    if (outgoing.settled) outgoing.app.show(meta, response)
    else setImmediate(() => outgoing.app.show(meta, response))
  }

  function invent(outgoing: Outgoing, status: number): void {
    if (outgoing.answered) return
    const id = outgoing.transaction!.id
    failed(outgoing)
    show(outgoing, inventedMeta(id, outgoing.dialog), createResponse(outgoing.request, status))
  }

  function failed(outgoing: Outgoing): void {
    for (const dialog of outgoing.early.values()) if (!dialog.confirmed) dialogs.end(dialog)
    outgoing.early.clear()
    if (outgoing.request.method === 'INVITE') ground.cdr('stop', ['network', 'call-rejected'], outgoing.request)
  }

  function onEnd(outgoing: Outgoing): void {
    open.delete(outgoing.transaction!.id)
    for (const dialog of outgoing.early.values()) if (!dialog.confirmed) dialogs.end(dialog)
  }

  function onResponse(outgoing: Outgoing, response: SipMessage, flow: Flow, bytes: number): void {
    const { status } = response
    if (status === 100) return
    const meta = receivedMeta(outgoing.transaction!.id, outgoing.dialog, flow, bytes)
    if (outgoing.request.method !== 'INVITE') {
      if (outgoing.request.method === 'SUBSCRIBE' && status >= 200 && status < 300) subscribed(outgoing, response, flow)
      show(outgoing, meta, response)
      return
    }
    if (status < 200) {
      onProvisional(outgoing, response, flow, meta)
      return
    }
    if (status < 300) {
      onSuccess(outgoing, response, flow, meta)
      return
    }
    failed(outgoing)
    show(outgoing, meta, response)
  }

  function subscribed(outgoing: Outgoing, response: SipMessage, flow: Flow): void {
    const dialog = dialogAsCaller(outgoing.request, response, flow, outgoing.app, outgoing.direct)
    dialog.confirmed = true
    dialogs.add(dialog)
    keepSubscription(ground, dialog, response.get('Expires') ?? outgoing.request.get('Expires'))
  }

  function earlyDialog(outgoing: Outgoing, response: SipMessage, flow: Flow): Dialog | undefined {
    const tag = response.toTag
    if (tag === undefined) return undefined
    const known = outgoing.early.get(tag)
    if (known) return known
    const dialog = dialogAsCaller(outgoing.request, response, flow, outgoing.app, outgoing.direct)
    outgoing.early.set(tag, dialog)
    dialogs.add(dialog)
    return dialog
  }

  function onProvisional(outgoing: Outgoing, response: SipMessage, flow: Flow, meta: Meta): void {
    if (outgoing.answered) return
    const dialog = earlyDialog(outgoing, response, flow)
    if (dialog && response.has('RSeq') && lists(response.getAll('Require'), '100rel')) {
      // RFC 3262 section 4: repeats are absorbed, and what comes out of order is not acknowledged.
      const number = Number(response.get('RSeq'))
      if (dialog.lastReliable !== 0 && number !== dialog.lastReliable + 1) return
      dialog.lastReliable = number
      refreshTarget(dialog, response)
    }
    if (outgoing.cancelled && outgoing.app.closed) return
    show(outgoing, meta, response)
  }

  function onSuccess(outgoing: Outgoing, response: SipMessage, flow: Flow, meta: Meta): void {
    const before = outgoing.answered
    if (before) {
      if (response.toTag === before.remoteTag) {
        reacknowledge(before)
        return
      }
      declineFork(before, outgoing.request, response, flow)
      return
    }
    const existing = outgoing.early.get(response.toTag ?? '')
    if (existing && response.has('Record-Route')) {
      // The route set is computed anew from the 2xx (section 13.2.2.4).
      existing.routes.splice(0, existing.routes.length, ...response.getAll('Record-Route').reverse())
    }
    const dialog = existing ?? dialogAsCaller(outgoing.request, response, flow, outgoing.app, outgoing.direct)
    if (!existing) dialogs.add(dialog)
    dialog.confirmed = true
    dialog.flow = flow
    outgoing.answered = dialog
    for (const other of outgoing.early.values()) if (other !== dialog) dialogs.end(other)
    outgoing.early.clear()
    refreshTarget(dialog, response)
    dialog.answered = {
      request: outgoing.request,
      sequence: outgoing.request.cseq.number,
      cancelled: outgoing.cancelled,
    }
    ground.cdr('start', ['network', 'uac'], response)
    if (outgoing.app.closed) return void release(dialog)
    dialog.answered.deadline = setTimeout(() => release(dialog), timers.timeout)
    keeper.keep(dialog, acceptedSession(outgoing.request.get('Session-Expires'), response.get('Session-Expires')))
    show(outgoing, meta, response)
  }

  // Nobody will acknowledge this answer: the engine does it and hangs up.
  function release(dialog: Dialog): void {
    void sendAck(ground, dialog, undefined)
    keeper.hangUp(dialog, 'ACK timeout')
  }

  function reacknowledge(dialog: Dialog): void {
    if (!dialog.ended && dialog.answered?.ack) void sendAck(ground, dialog, undefined)
  }

  // Section 13.2.2.4: each 2xx of a fork makes a dialog; all but the first are ended at once.
  function declineFork(first: Dialog, request: SipMessage, response: SipMessage, flow: Flow): void {
    const tag = response.toTag ?? ''
    first.declined ??= new Map()
    const known = first.declined.get(tag)
    if (known) {
      reacknowledge(known)
      return
    }
    if (first.declined.size === mostForks) return
    const dialog = dialogAsCaller(request, response, flow, first.app, first.direct)
    dialog.confirmed = true
    dialog.answered = { request, sequence: response.cseq.number, cancelled: false }
    first.declined.set(tag, dialog)
    void sendAck(ground, dialog, undefined)
    const bye = requestInDialog(dialog, 'BYE', ++dialog.localSequence)
    void sendInDialog(ground, dialog, bye, { onResponse: ignore, onTimeout: ignore, onTransportError: ignore })
  }

  // After Timer M no transaction knows the INVITE any more, but while its call lives the call does.
  function repeated(response: SipMessage, flow: Flow): boolean {
    const { status, cseq, callId, fromTag = '', toTag = '' } = response
    if (cseq.method !== 'INVITE' || status < 200 || status >= 300) return false
    const dialog = dialogs.match(callId, fromTag, toTag)
    if (dialog) {
      reacknowledge(dialog)
      return true
    }
    const first = dialogs.byId(dialogId(callId, fromTag))
    const invite = first?.caller && first.confirmed ? first.answered?.request : undefined
    if (!first || !invite || cseq.number > invite.cseq.number) return false
    declineFork(first, invite, response, flow)
    return true
  }

  function cancel(app: App, id: string, sip: AppMessage): Answer {
    const outgoing = open.get(id)
    const inDialog = outgoing ? undefined : dialogs.ofApp(app).find(dialog => dialog.outgoing?.id === id)?.outgoing
    const transaction = outgoing?.transaction ?? inDialog
    if (!transaction?.invite || transaction.ended || (outgoing && outgoing.app !== app)) {
      return refuse(`unable to cancel unknown transaction id: ${id}`)
    }
    if (outgoing) outgoing.cancelled = true
    const headers = sip.headers.filter(([name]) => /^(reason|x-)/i.test(name))
    const message = transaction.cancel(headers)
    const bytes = message.toBuffer().length
    return { ok: true, kind: 'request', meta: sentMeta(randomUUID(), transaction.flow, bytes), message }
  }

  return {
    request,
    cancel,
    repeated,
    abandon(app) {
      for (const outgoing of open.values()) {
        if (outgoing.app !== app || outgoing.answered) continue
        outgoing.cancelled = true
        if (outgoing.transaction?.invite && !outgoing.transaction.ended) outgoing.transaction.cancel()
      }
    },
    get pending() {
      return open.size
    },
    close: () => open.clear(),
  }
}

function ignore(): void {}
