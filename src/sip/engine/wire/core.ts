import type { Logger } from '../../../log.ts'
import type { Answer, App, AppMessage } from '../dialog/app.ts'
import { createDialogs } from '../dialog/dialogs.ts'
import type { Ground } from '../dialog/ground.ts'
import { createInDialog } from '../dialog/in-dialog.ts'
import { createKeeper } from '../dialog/keeper.ts'
import { createMoving } from '../dialog/moving.ts'
import { receivedMeta } from '../dialog/report.ts'
import { createUac } from '../dialog/uac.ts'
import { createUas, reject } from '../dialog/uas.ts'
import type { SipMessage } from '../message/message.ts'
import type { ServerTransaction, TransactionUser } from '../transaction/transaction.ts'
import type { Flow } from '../transport/transport.ts'
import type { AdminServer, ProxyReport, WireUser } from './server.ts'
import type { ProxyFields } from './verbs.ts'

// Where requests of the network and frames of applications meet: each is given to the part that knows what to do.

/** What the core needs of the proxy. */
export interface Forwarder {
  start(
    transaction: ServerTransaction,
    options: {
      targets: string[]
      recordRoute: boolean
      forking: 'serial' | 'simultaneous'
      followRedirects: boolean
      provisionalTimeoutMs: number | undefined
      finalTimeoutMs: number | undefined
      headers: [string, string][]
      onFinal?(response: SipMessage, flow: Flow, bytes: number, target: string): void
      onDone(error?: string): void
      onUnheard?(): void
    },
  ): void
  isForUs(message: SipMessage): boolean
  forward(transaction: ServerTransaction, unheard: () => void): void
  followAck(ack: SipMessage): boolean
  forwardAck(ack: SipMessage, flow: Flow): void
}

export interface CoreDeps extends Omit<Ground, 'dialogs' | 'cdr'> {
  proxy: Forwarder
  /** The admin listener; it is opened after the core is made. */
  wire: () => Pick<AdminServer, 'routes' | 'connected' | 'cdr'>
  log: Logger
}

export interface Core {
  transactionUser: TransactionUser
  wireUser: WireUser
  /** While true new calls are answered 503. */
  draining: boolean
  stats(): { dialogs: number; pendingServer: number; pendingClient: number }
  close(): void
}

// Methods that somebody may ask for; anything else is 501 when no application wants it.
const methods = new Set(
  'INVITE ACK BYE CANCEL OPTIONS REGISTER PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER MESSAGE UPDATE'.split(' '),
)

export function createCore(deps: CoreDeps): Core {
  const dialogs = createDialogs()
  const ground: Ground = { ...deps, dialogs, cdr: (event, fields, message) => deps.wire().cdr(event, fields, message) }
  const keeper = createKeeper(ground)
  const uas = createUas(ground, keeper)
  const uac = createUac(ground, keeper)
  const inDialog = createInDialog(ground, keeper)

  function ownRoute(message: SipMessage): boolean {
    if (!message.has('Route')) return false
    const uri = message.routes[0]?.uri
    return uri !== undefined && deps.isOwn(uri.host, uri.port ?? (uri.scheme === 'sips' ? 5061 : 5060))
  }

  function onRequest(transaction: ServerTransaction): void {
    const { request } = transaction
    const dialog =
      request.toTag === undefined ? undefined : dialogs.match(request.callId, request.toTag, request.fromTag ?? '')
    if (dialog && !dialog.app.closed) {
      while (ownRoute(request)) request.removeFirst('Route')
      uas.accept(transaction, dialog.app, dialog)
      return
    }
    // A dialog between two others, in which the proxy stayed; a phone's outbound proxy setting is no such Route.
    if (deps.proxy.isForUs(request)) {
      deps.proxy.forward(transaction, () => toApplication(transaction))
      return
    }
    toApplication(transaction)
  }

  function toApplication(transaction: ServerTransaction): void {
    const { request } = transaction
    while (ownRoute(request)) request.removeFirst('Route')
    const app = deps.wire().routes.next(request.method.toLowerCase())
    if (!app) {
      refuseUnrouted(transaction)
      return
    }
    if (core.draining && transaction.invite) {
      reject(transaction, 503, undefined, { 'Retry-After': '10' })
      return
    }
    uas.accept(transaction, app, undefined)
  }

  function refuseUnrouted(transaction: ServerTransaction): void {
    const { method, toTag } = transaction.request
    const wire = deps.wire()
    const verbs = wire.routes.verbs()
    // One that takes no calls yet is still being started: whoever asks now is to ask another server, or to come back.
    if (!wire.connected() || !verbs.includes('invite')) {
      reject(transaction, 503)
      return
    }
    if (toTag !== undefined) {
      reject(transaction, 481)
      return
    }
    if (!methods.has(method)) {
      reject(transaction, 501)
      return
    }
    const allow = verbs.filter(verb => !verb.startsWith('cdr:'))
    reject(transaction, 405, undefined, {
      Allow: [...allow.map(verb => verb.toUpperCase()), 'ACK', 'CANCEL'].join(', '),
    })
  }

  const transactionUser: TransactionUser = {
    onRequest,
    onAck(ack, flow, bytes) {
      if (uas.acknowledge(ack, flow, bytes) || deps.proxy.followAck(ack)) return
      if (deps.proxy.isForUs(ack)) deps.proxy.forwardAck(ack, flow)
    },
    onStrayResponse(response, flow) {
      if (!uac.repeated(response, flow)) deps.log.debug({ callId: response.callId }, 'stray response dropped')
    },
  }

  // The order of WIRE-PROTOCOL section 4: response, in-dialog request, CANCEL, new request.
  function onSip(
    app: App,
    frame: { transaction: string; dialog: string; nextHop: string; sip: AppMessage },
  ): Answer | Promise<Answer> {
    const { sip, transaction } = frame
    if (sip.startLine.startsWith('SIP/')) return uas.respond(app, transaction, sip)
    if (frame.dialog !== '') return inDialog.request(app, frame.dialog, sip)
    if (transaction !== '') return uac.cancel(app, transaction, sip)
    return uac.request(app, sip, frame.nextHop)
  }

  function onProxy(app: App, id: string, options: ProxyFields, sip: AppMessage, report: ProxyReport): void {
    const transaction = uas.release(app, id)
    if (!transaction) {
      report.done(`Unknown transaction id: ${id}`)
      return
    }
    const { request } = transaction
    if (request.method === 'INVITE') ground.cdr('start', ['network', 'proxy-uas'], request)
    // What another node of ours did not even hear is still the application's to answer.
    const toNode = options.targets.every(target => target.includes(';node='))
    deps.proxy.start(transaction, {
      ...(toNode && { onUnheard: () => uas.takeBack(app, transaction) }),
      targets: options.targets,
      recordRoute: options.recordRoute,
      forking: options.forking,
      followRedirects: options.followRedirects,
      provisionalTimeoutMs: options.provisionalTimeoutMs,
      finalTimeoutMs: options.finalTimeoutMs,
      headers: sip.headers.filter(([name]) => !proxySkip.has(name.toLowerCase())),
      onFinal: (response, flow, bytes) => report.final(response, receivedMeta('', '', flow, bytes)),
      onDone: error => report.done(error),
    })
  }

  const core: Core = {
    transactionUser,
    draining: false,
    wireUser: {
      onSip,
      onProxy,
      dialogs: createMoving(ground, keeper, uas),
      onGone(app) {
        uas.abandon(app)
        uac.abandon(app)
        for (const dialog of dialogs.ofApp(app)) dialogs.end(dialog)
      },
    },
    stats: () => ({ dialogs: dialogs.size, pendingServer: uas.pending, pendingClient: uac.pending }),
    close() {
      uas.close()
      uac.close()
      dialogs.close()
    },
  }
  return core
}

const proxySkip = new Set([
  'via',
  'route',
  'record-route',
  'content-length',
  'call-id',
  'cseq',
  'from',
  'to',
  'max-forwards',
])
