import { createResponse, type SipMessage } from '../message/message.ts'
import type { ServerTransaction } from '../transaction/transaction.ts'
import type { Flow } from '../transport/transport.ts'
import { type Answer, type App, type AppMessage, type Meta, refuse, texts } from './app.ts'
import { contactIn, type Dialog, dialogAsCallee, dialogId, inSequence, noteWay, refreshTarget } from './dialog.ts'
import { contactFor, copyHeaders, headerOf, newTag, setBody, tagOf } from './fill.ts'
import type { Ground, Keeper } from './ground.ts'
import { repeat } from './repeat.ts'
import { keepSubscription, metaOf } from './report.ts'
import { grantSession, isTooBrief, lists } from './session-timer.ts'

// The called side: requests of the network shown to an application, and its answers completed and sent.

interface Pending {
  transaction: ServerTransaction
  app: App
  tag: string
  dialog: Dialog | undefined
  /** Reliable provisionals sent so far, for a To tag that has no dialog yet. */
  cancelled: boolean
}

export interface Uas {
  /** Gives a request to its application; `dialog` is the one it lies in. */
  accept(transaction: ServerTransaction, app: App, dialog: Dialog | undefined): void
  /** Takes what the application was shown of a dialog before it installed that into it. */
  adopt(dialog: Dialog): void
  /** An application's answer. */
  respond(app: App, id: string, sip: AppMessage): Answer
  /** An ACK for a 2xx; false when it belongs to no dialog. */
  acknowledge(ack: SipMessage, flow: Flow, bytes: number): boolean
  /** Takes a request out of the application's hands, for the proxy; undefined when it cannot any more. */
  release(app: App, id: string): ServerTransaction | undefined
  /** Puts it into them again. */
  takeBack(app: App, transaction: ServerTransaction): void
  /** Answers everything that a lost application has left open. */
  abandon(app: App): void
  readonly pending: number
  close(): void
}

const answerSkip = new Set(['to', 'from', 'call-id', 'cseq', 'session-expires', 'max-forwards'])
const refreshing = new Set(['INVITE', 'UPDATE', 'SUBSCRIBE', 'NOTIFY'])
const forming = new Set(['INVITE', 'SUBSCRIBE'])

/** A short answer that the engine gives by itself. */
export function reject(
  transaction: ServerTransaction,
  status: number,
  reason?: string,
  headers: Record<string, string> = {},
): void {
  const response = createResponse(transaction.request, status, reason)
  if (response.toTag === undefined) response.set('To', `${response.get('To') ?? ''};tag=${newTag()}`)
  for (const [name, value] of Object.entries(headers)) response.append(name, value)
  transaction.respond(response)
}

export function createUas(ground: Ground, keeper: Keeper): Uas {
  const { dialogs, timers } = ground
  const open = new Map<string, Pending>()

  function accept(transaction: ServerTransaction, app: App, dialog: Dialog | undefined): void {
    const { request } = transaction
    const timer = lists(request.getAll('Supported'), 'timer')
    if (
      (request.method === 'INVITE' || request.method === 'UPDATE') &&
      isTooBrief(request.get('Session-Expires'), timer, ground.minSe)
    ) {
      reject(transaction, 422, 'Session Interval Too Small', { 'Min-SE': String(ground.minSe) })
      return
    }
    if (dialog && !admit(transaction, dialog)) return
    begin(transaction, app, dialog)
    if (transaction.invite && !dialog) ground.cdr('attempt', ['network'], request)
    app.show(metaOf(transaction, dialog?.id ?? ''), request)
  }

  function begin(transaction: ServerTransaction, app: App, dialog: Dialog | undefined): void {
    const tag = transaction.request.toTag ?? ''
    const pending: Pending = { transaction, app, tag, dialog, cancelled: false }
    open.set(transaction.id, pending)
    transaction.onEnd = () => {
      open.delete(transaction.id)
      if (transaction.invite && pending.dialog && !pending.dialog.confirmed) dialogs.end(pending.dialog)
    }
    if (transaction.invite) transaction.onCancel = cancel => onCancel(pending, cancel)
  }

  // The checks of RFC 3261 section 12.2.2 and 14.2, and RFC 3262 section 3 for PRACK.
  function admit(transaction: ServerTransaction, dialog: Dialog): boolean {
    const { request } = transaction
    if (!inSequence(dialog, request.cseq.number)) {
      reject(transaction, 500, 'Request Out Of Order')
      return false
    }
    if (request.method === 'INVITE') {
      if (dialog.outgoing && !dialog.outgoing.ended && dialog.outgoing.status < 200) {
        reject(transaction, 491)
        return false
      }
      if (dialog.incoming && dialog.incoming.status < 200) {
        reject(transaction, 500, 'Another INVITE Is Pending', {
          'Retry-After': String(1 + Math.floor(Math.random() * 9)),
        })
        return false
      }
      dialog.incoming = transaction
    }
    if (request.method === 'PRACK' && !takePrack(dialog, request)) {
      reject(transaction, 481)
      return false
    }
    noteWay(dialog, transaction.flow, request.getAll('Via').length)
    return true
  }

  // Requests that came before their dialog did: they are its first ones, in the order of their numbers.
  function adopt(dialog: Dialog): void {
    const { app, callId, localTag, remoteTag } = dialog
    const theirs = [...open.values()].filter(({ app: owner, dialog: known, transaction: { request, status } }) => {
      const tags = request.toTag === localTag && request.fromTag === remoteTag
      return known === undefined && owner === app && status < 200 && tags && request.callId === callId
    })
    theirs.sort((a, b) => a.transaction.request.cseq.number - b.transaction.request.cseq.number)
    for (const pending of theirs) if (admit(pending.transaction, dialog)) pending.dialog = dialog
  }

  function takePrack(dialog: Dialog, prack: SipMessage): boolean {
    const [number, sequence] = (prack.get('RAck') ?? '').trim().split(/\s+/, 3)
    const { reliable } = dialog
    if (!reliable || Number(number) !== reliable.number || Number(sequence) !== reliable.sequence) return false
    reliable.stop()
    dialog.reliable = undefined
    return true
  }

  // Section 9.2: 200 to the CANCEL, 487 to the INVITE, both at once; the application only hears of it.
  function onCancel(pending: Pending, cancel: ServerTransaction): void {
    const { transaction, app } = pending
    const ok = createResponse(cancel.request, 200)
    if (ok.toTag === undefined) ok.set('To', `${ok.get('To') ?? ''};tag=${pending.tag || newTag()}`)
    cancel.respond(ok)
    if (transaction.status >= 200) return
    pending.cancelled = true
    if (pending.tag === '') pending.tag = newTag()
    const final = createResponse(transaction.request, 487)
    if (final.toTag === undefined) final.set('To', `${final.get('To') ?? ''};tag=${pending.tag}`)
    finish(pending, 487)
    transaction.respond(final)
    if (!transaction.request.toTag) ground.cdr('stop', ['network', 'call-canceled'], transaction.request)
    const known = pending.dialog ? dialogId(transaction.request.callId, transaction.request.fromTag ?? '') : ''
    app.show({ ...metaOf(cancel, known), transaction: transaction.id }, cancel.request)
  }

  // After a final answer the application has no more say; a failure also ends an early dialog (section 12.3).
  function finish(pending: Pending, status: number): void {
    const { transaction, dialog } = pending
    open.delete(transaction.id)
    if (!dialog) return
    if (dialog.incoming === transaction) dialog.incoming = undefined
    if (status >= 300 && transaction.invite && !dialog.confirmed) dialogs.end(dialog)
  }

  function respond(app: App, id: string, sip: AppMessage): Answer {
    const pending = open.get(id)
    const match = /^SIP\/2\.0 ([1-6]\d\d) ?(.*)$/.exec(sip.startLine)
    if (!pending || pending.app !== app || pending.transaction.status >= 200 || !match)
      return refuse(texts.unknownTransaction)
    const status = Number(match[1])
    const { transaction } = pending
    const { request } = transaction
    const reliable =
      status > 100 &&
      status < 200 &&
      lists(
        sip.headers.filter(isRequire).map(([, v]) => v),
        '100rel',
      )
    if (reliable && !offers100rel(request)) return refuse(texts.no100rel)
    const response = compose(pending, status, match[2] ?? '', sip, reliable)
    if (!response) return refuse(texts.noContentType)
    if (transaction.invite || forming.has(request.method) || pending.dialog) noteDialog(pending, status, response)
    const shownDialog = pending.dialog && !pending.dialog.ended ? pending.dialog.id : ''
    if (status >= 200) settle(pending, status, response)
    transaction.respond(response)
    if (reliable) repeatReliable(pending, response)
    const { flow } = transaction
    const meta: Meta = {
      source: 'application',
      bytes: response.toBuffer().length,
      protocol: flow.protocol,
      address: flow.remote.address,
      port: flow.remote.port,
      transaction: id,
      dialog: shownDialog,
    }
    return { ok: true, kind: 'response', meta, message: response }
  }

  function compose(
    pending: Pending,
    status: number,
    reason: string,
    sip: AppMessage,
    reliable: boolean,
  ): SipMessage | undefined {
    const { transaction, dialog } = pending
    const { request, flow } = transaction
    const response = createResponse(request, status, reason === '' ? undefined : reason)
    if (status > 100 && response.toTag === undefined) {
      if (pending.tag === '') pending.tag = tagOf(headerOf(sip.headers, 'to')) ?? newTag()
      response.set('To', `${response.get('To') ?? ''};tag=${pending.tag}`)
    }
    if (forming.has(request.method) && status < 300) {
      for (const route of request.getAll('Record-Route')) response.append('Record-Route', route)
    }
    copyHeaders(response, sip.headers, flow, answerSkip)
    const contactWanted =
      (refreshing.has(request.method) && (status < 300 ? status >= 200 || reliable : false)) ||
      (transaction.invite && dialog?.confirmed)
    if (contactWanted && status < 300 && !response.has('Contact'))
      response.append('Contact', dialog ? contactIn(dialog, flow) : contactFor(flow))
    if (reliable) response.append('RSeq', String((dialog?.lastReliable ?? 0) + 1))
    if (ground.userAgent !== '' && !response.has('Server') && !response.has('User-Agent'))
      response.append('Server', ground.userAgent)
    if (status >= 200 && status < 300) addSession(pending, sip, response)
    return setBody(response, sip.body) ? response : undefined
  }

  function addSession(pending: Pending, sip: AppMessage, response: SipMessage): void {
    const { request } = pending.transaction
    if (request.method !== 'INVITE' && request.method !== 'UPDATE') return
    const asked = request.get('Session-Expires')
    const knows = lists(request.getAll('Supported'), 'timer')
    const grant = grantSession(knows ? asked : undefined, knows, headerOf(sip.headers, 'session-expires'), ground.minSe)
    if (!grant) return
    response.set('Session-Expires', grant.header)
    if (grant.require && !lists(response.getAll('Require'), 'timer')) response.append('Require', 'timer')
    if (!lists(response.getAll('Supported'), 'timer')) response.append('Supported', 'timer')
  }

  function noteDialog(pending: Pending, status: number, response: SipMessage): void {
    const { transaction, app } = pending
    if (!pending.dialog && status > 100 && status < 300 && forming.has(transaction.request.method) && response.toTag) {
      pending.dialog = dialogAsCallee(transaction, response, app)
      dialogs.add(pending.dialog)
    }
    const { dialog } = pending
    if (!dialog) return
    if (response.has('Contact')) dialog.contact = response.get('Contact') ?? dialog.contact
    if (status < 200 || status >= 300) return
    if (refreshing.has(transaction.request.method)) refreshTarget(dialog, transaction.request)
  }

  function settle(pending: Pending, status: number, response: SipMessage): void {
    const { transaction, dialog } = pending
    const { method, toTag } = transaction.request
    finish(pending, status)
    if (transaction.invite && !toTag) {
      if (status < 300) ground.cdr('start', ['application', 'uas'], response)
      else ground.cdr('stop', ['application', 'call-rejected'], response)
    }
    if (!dialog) return
    // A PRACK that crosses our 2xx is still answered (RFC 3262 section 3).
    dialog.reliable?.stop()
    if (status >= 300) dialog.reliable = undefined
    if (method === 'BYE' && status !== 401 && status !== 407) {
      ground.cdr('stop', ['network', 'normal-release'], transaction.request)
      dialogs.end(dialog)
      return
    }
    if (status >= 300) return
    if (transaction.invite) {
      dialog.confirmed = true
      if (response.body.length > 0) dialog.localSdp = response.body
      repeatSuccess(dialog, transaction, response)
    }
    if (method === 'SUBSCRIBE') dialog.confirmed = true
    if (method === 'INVITE' || method === 'UPDATE') {
      const header = response.get('Session-Expires')
      const refresher = header?.includes('refresher=uac') ? 'remote' : 'local'
      if (header !== undefined) keeper.keep(dialog, { interval: Number.parseInt(header, 10), refresher })
    }
    if (method === 'NOTIFY' && /^\s*terminated/i.test(transaction.request.get('Subscription-State') ?? '')) {
      if (dialog.kind === 'SUBSCRIBE') dialogs.end(dialog)
    }
    if (method === 'SUBSCRIBE')
      keepSubscription(ground, dialog, response.get('Expires') ?? transaction.request.get('Expires'))
  }

  // Section 13.3.1.4: a 2xx is repeated at T1, doubling up to T2, over any transport, until its ACK comes.
  function repeatSuccess(dialog: Dialog, transaction: ServerTransaction, response: SipMessage): void {
    const sequence = transaction.request.cseq.number
    const stop = repeat(
      timers.t1,
      timers.t2,
      timers.timeout,
      () => transaction.respond(response),
      () => {
        dialog.unacknowledged.delete(sequence)
        keeper.hangUp(dialog, 'ACK timeout')
      },
    )
    dialog.unacknowledged.set(sequence, { sequence, transaction: transaction.id, stop })
  }

  // RFC 3262 section 3: repeated with doubling intervals; after 64*T1 without PRACK the INVITE is rejected with a 5xx.
  function repeatReliable(pending: Pending, response: SipMessage): void {
    const { transaction, dialog } = pending
    if (!dialog) return
    dialog.lastReliable++
    dialog.reliable?.stop()
    const stop = repeat(
      timers.t1,
      Number.POSITIVE_INFINITY,
      timers.timeout,
      () => transaction.respond(response),
      () => {
        dialog.reliable = undefined
        if (transaction.status >= 200) return
        finish(pending, 504)
        reject(transaction, 504, 'No PRACK')
      },
    )
    dialog.reliable = { number: dialog.lastReliable, sequence: transaction.request.cseq.number, stop }
  }

  function acknowledge(ack: SipMessage, flow: Flow, bytes: number): boolean {
    const dialog = dialogs.match(ack.callId, ack.toTag ?? '', ack.fromTag ?? '')
    if (!dialog) return false
    const waiting = dialog.unacknowledged.get(ack.cseq.number)
    if (!waiting) return true
    waiting.stop()
    dialog.unacknowledged.delete(ack.cseq.number)
    dialog.app.show(
      {
        source: 'network',
        bytes,
        protocol: flow.protocol,
        address: flow.remote.address,
        port: flow.remote.port,
        transaction: waiting.transaction,
        dialog: dialog.id,
      },
      ack,
    )
    return true
  }

  return {
    accept,
    adopt,
    respond,
    acknowledge,
    takeBack: (app, transaction) => begin(transaction, app, undefined),
    release(app, id) {
      const pending = open.get(id)
      if (!pending || pending.app !== app || pending.transaction.status >= 101) return undefined
      open.delete(id)
      return pending.transaction
    },
    abandon(app) {
      for (const pending of [...open.values()]) {
        if (pending.app !== app) continue
        const { transaction } = pending
        const status = transaction.invite ? 480 : 503
        finish(pending, status)
        if (transaction.status < 200) reject(transaction, status)
      }
    },
    get pending() {
      return open.size
    },
    close: () => open.clear(),
  }
}

const isRequire = ([name]: [string, string]) => name.toLowerCase() === 'require'

function offers100rel(request: SipMessage): boolean {
  return lists(request.getAll('Supported'), '100rel') || lists(request.getAll('Require'), '100rel')
}
