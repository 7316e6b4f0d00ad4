import { createRequest, parseNameAddr, type SipMessage } from '../message/message.ts'
import { parseUri, type Uri } from '../message/uri.ts'
import type { ClientTransaction, ServerTransaction } from '../transaction/transaction.ts'
import type { Flow } from '../transport/transport.ts'
import type { App } from './app.ts'
import { contactFor, contactOver, hostPort } from './fill.ts'
import { lists, type Session } from './session-timer.ts'

/** A 2xx of ours that waits for its ACK. */
export interface Unacknowledged {
  sequence: number
  transaction: string
  stop(): void
}

/** A 2xx to an INVITE of ours: the ACK once it was sent, so that repeats are answered with it. */
export interface Answered {
  request: SipMessage
  sequence: number
  ack?: SipMessage
  /** The application had cancelled before this answer came. */
  cancelled: boolean
  deadline?: NodeJS.Timeout
}

/** A reliable provisional of ours that waits for its PRACK (RFC 3262). */
export interface Reliable {
  number: number
  sequence: number
  stop(): void
}

interface Birth {
  id: string
  app: App
  kind: string
  caller: boolean
  callId: string
  local: string
  remote: string
  localTag: string
  remoteTag: string
  localSequence: number
  remoteSequence: number | undefined
  routes: string[]
  target: string
  contact: string
  flow: Flow
  direct: boolean
}

/** One dialog (RFC 3261 section 12): what both sides agreed on, and the few things under way in it. */
export class Dialog {
  /** The admin protocol's id: Call-ID and From tag of the request that made it. */
  readonly id: string
  readonly app: App
  readonly kind: string
  /** True when we sent the request that made it. */
  readonly caller: boolean
  readonly callId: string
  readonly local: string
  readonly remote: string
  readonly localTag: string
  readonly remoteTag: string
  localSequence: number
  remoteSequence: number | undefined
  readonly routes: string[]
  target: string
  /** Our Contact value. */
  contact: string
  flow: Flow
  /** The peer talks to us without a proxy between, as far as can be seen. */
  direct: boolean
  /** The next hop that an application chose when it installed the dialog; it goes before route set and target. */
  via: Uri | undefined
  /** The Contact names another node, or another way to this one: its host is replaced when the way to the peer is known. */
  foreignContact = false
  /** False in an installed dialog until the peer has said anything in it here: the way to it may not exist yet. */
  reached = true
  /** The peer's newest request may be one that a dead node has not answered, so the same number is taken once more. */
  repeatable = false
  confirmed = false
  ended = false
  localSdp: Buffer | undefined
  peerTakesUpdate = false
  peerKnowsTimer = false
  /** Our INVITE in this dialog that has no final answer yet. */
  outgoing: ClientTransaction | undefined
  /** The peer's INVITE in this dialog that we have not answered finally yet. */
  incoming: ServerTransaction | undefined
  readonly unacknowledged = new Map<number, Unacknowledged>()
  answered: Answered | undefined
  /** Dialogs of other forks that answered our INVITE too late and were hung up, by their tag. */
  declined: Map<string, Dialog> | undefined
  reliable: Reliable | undefined
  lastReliable = 0
  session: Session | undefined
  refreshTimer: NodeJS.Timeout | undefined
  expiryTimer: NodeJS.Timeout | undefined

  constructor(birth: Birth) {
    this.id = birth.id
    this.app = birth.app
    this.kind = birth.kind
    this.caller = birth.caller
    this.callId = birth.callId
    this.local = birth.local
    this.remote = birth.remote
    this.localTag = birth.localTag
    this.remoteTag = birth.remoteTag
    this.localSequence = birth.localSequence
    this.remoteSequence = birth.remoteSequence
    this.routes = birth.routes
    this.target = birth.target
    this.contact = birth.contact
    this.flow = birth.flow
    this.direct = birth.direct
  }

  get key(): string {
    return dialogKey(this.callId, this.localTag, this.remoteTag)
  }
}

export function dialogKey(callId: string, localTag: string, remoteTag: string): string {
  return `${callId}\n${localTag}\n${remoteTag}`
}

export function dialogId(callId: string, fromTag: string): string {
  return `${callId};from-tag=${fromTag}`
}

function contactOf(message: SipMessage): string | undefined {
  const contacts = message.contacts
  return contacts === '*' ? undefined : contacts[0]?.uriText
}

/** The dialog that our answer to `transaction` makes (section 12.1.1). */
export function dialogAsCallee(
  transaction: Pick<ServerTransaction, 'request' | 'flow'>,
  response: SipMessage,
  app: App,
): Dialog {
  const { request, flow } = transaction
  const dialog = new Dialog({
    id: dialogId(request.callId, request.fromTag ?? ''),
    app,
    kind: request.method,
    caller: false,
    callId: request.callId,
    local: response.get('To') ?? '',
    remote: request.get('From') ?? '',
    localTag: response.toTag ?? '',
    remoteTag: request.fromTag ?? '',
    localSequence: 0,
    remoteSequence: request.cseq.number,
    routes: request.getAll('Record-Route'),
    target: contactOf(request) ?? request.from.uriText,
    contact: response.get('Contact') ?? '',
    flow,
    direct: request.getAll('Via').length === 1,
  })
  learn(dialog, request)
  return dialog
}

/** The dialog that an answer to our request makes (section 12.1.2). */
export function dialogAsCaller(
  request: SipMessage,
  response: SipMessage,
  flow: Flow,
  app: App,
  direct: boolean,
): Dialog {
  const dialog = new Dialog({
    id: dialogId(request.callId, request.fromTag ?? ''),
    app,
    kind: request.method,
    caller: true,
    callId: request.callId,
    local: request.get('From') ?? '',
    remote: response.get('To') ?? '',
    localTag: request.fromTag ?? '',
    remoteTag: response.toTag ?? '',
    localSequence: request.cseq.number,
    remoteSequence: undefined,
    routes: response.getAll('Record-Route').reverse(),
    target: contactOf(response) ?? request.uri,
    contact: request.get('Contact') ?? '',
    flow,
    direct,
  })
  dialog.localSdp = request.body.length > 0 ? request.body : undefined
  learn(dialog, response)
  return dialog
}

/** Takes from a message of the peer what it says about itself. */
export function learn(dialog: Dialog, message: SipMessage): void {
  if (message.has('Allow')) dialog.peerTakesUpdate = lists(message.getAll('Allow'), 'update')
  if (message.has('Supported') || message.has('Session-Expires')) {
    dialog.peerKnowsTimer = lists(message.getAll('Supported'), 'timer') || message.has('Session-Expires')
  }
}

/** Target refresh (section 12.2): the Contact of an INVITE, UPDATE, SUBSCRIBE or NOTIFY, or of a 2xx to one. */
export function refreshTarget(dialog: Dialog, message: SipMessage): void {
  const target = message.has('Contact') ? contactOf(message) : undefined
  if (target !== undefined) dialog.target = target
  learn(dialog, message)
}

/**
 * True when a request comes in order (section 12.2.2); the number is then the newest. One with the newest number is no
 * retransmission, which its transaction would have absorbed, unless that transaction died with another node.
 */
export function inSequence(dialog: Dialog, number: number): boolean {
  const { remoteSequence, repeatable } = dialog
  if (remoteSequence !== undefined && (number < remoteSequence || (number === remoteSequence && !repeatable)))
    return false
  dialog.remoteSequence = number
  dialog.repeatable = false
  return true
}

/**
 * Notes the way that a request of the peer came by: its answers and our requests take the newest one. A peer that has
 * moved and now comes straight to us has left the proxies of its route set behind, dead nodes of ours among them.
 */
export function noteWay(dialog: Dialog, flow: Flow, vias: number): void {
  const { reached, via, routes } = dialog
  dialog.reached = true
  // Another node of ours may have passed on what came to it; the phone's own flow is still the way back.
  if (vias > 1 && dialog.direct) return
  dialog.flow = flow
  if (vias > 1) return
  dialog.direct = true
  const left = routes[0] !== undefined && (!reached || peerRoute.test(routes[0]))
  if (!via && !left) return
  if (via?.params.get('fl') !== flow.id) dialog.foreignContact = true
  dialog.via = wayOver(flow)
}

/**
 * Notes the way by which the peer of an installed dialog was first reached here. A phone with nobody before it that
 * names its GRUU as Contact (RFC 5627) gives no address to send the ACK to.
 */
export function noteAnswer(dialog: Dialog, flow: Flow): void {
  if (!dialog.reached && dialog.via === undefined && dialog.routes.length === 0) {
    dialog.flow = flow
    dialog.direct = true
  }
  dialog.reached = true
}

// What the proxy layer of another node of ours writes into a dialog (route-token.ts).
const peerRoute = /^<sips?:m\.[\w-]{16}\./

function wayOver({ id, protocol, remote }: Flow): Uri | undefined {
  return parseUri(`sip:${hostPort({ host: remote.address, port: remote.port })};transport=${protocol};fl=${id}`)
}

/** Our Contact for a message over `flow`. */
export function contactIn(dialog: Dialog, flow: Flow): string {
  if (dialog.foreignContact) {
    dialog.contact = contactOver(dialog.contact, flow)
    dialog.foreignContact = false
  }
  return dialog.contact || contactFor(flow)
}

/** A request inside the dialog (section 12.2.1.1), with loose or strict routing; complete but for Via, Contact and body. */
export function requestInDialog(dialog: Dialog, method: string, sequence: number, uri = dialog.target): SipMessage {
  // Over its own flow a phone has no proxy before it.
  const set = dialog.via?.params.has('fl') ? [] : dialog.routes
  const first = set[0]
  const firstUri = first === undefined ? undefined : parseNameAddr(first)
  const loose = firstUri?.uri?.params.has('lr') ?? true
  const message = createRequest(method, loose ? uri : firstUri!.uriText)
  const routes = loose ? set : [...set.slice(1), `<${uri}>`]
  for (const route of routes) message.append('Route', route)
  message.append('Max-Forwards', '70')
  message.append('From', dialog.local)
  message.append('To', dialog.remote)
  message.append('Call-ID', dialog.callId)
  message.append('CSeq', `${sequence} ${method}`)
  return message
}

/** Where a request inside the dialog goes: the peer's flow, or a URI to resolve. */
export function hopOf(dialog: Dialog): Flow | Uri | undefined {
  if (dialog.via) return dialog.via
  const first = dialog.routes[0]
  if (first !== undefined) return parseNameAddr(first).uri
  const uri = parseUri(dialog.target)
  const { flow } = dialog
  if (!dialog.direct || flow.closed || uri === undefined) return uri
  if (flow.reliable) return flow
  // Over UDP: a Contact with another host than the packets came from is behind a NAT; the way back is where they came from.
  const samePeer = uri.host === flow.remote.address && (uri.params.get('transport') ?? 'udp') === 'udp'
  const samePort = (uri.port ?? 5060) === flow.remote.port
  return uri.host === flow.remote.address && !(samePeer && samePort) ? uri : flow
}
