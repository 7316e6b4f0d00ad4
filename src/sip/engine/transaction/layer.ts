import type { Logger } from '../../../log.ts'
import type { SipMessage } from '../message/message.ts'
import { checkMessage } from '../message/parser.ts'
import type { Flow, TransportUser } from '../transport/transport.ts'
import { createAnswered } from './answered.ts'
import { answer, refusal, viaFor } from './build.ts'
import { NonInviteClient } from './client.ts'
import { InviteClient } from './invite-client.ts'
import { InviteServer } from './invite-server.ts'
import { clientKey, mergeKey, newBranch, ownCookie, serverKey } from './key.ts'
import type { Ground } from './machine.ts'
import { NonInviteServer } from './server.ts'
import type { Timers } from './timers.ts'
import type { ClientTransactionUser, OpenFlow, TransactionLayer, TransactionUser } from './transaction.ts'

export interface TransactionLayerDeps {
  timers: Timers
  user: TransactionUser
  openFlow: OpenFlow
  log: Logger
  /** How long an INVITE may go without a final answer or a new provisional, in milliseconds; longer than any phone rings. */
  unansweredMs?: number
  /** How many bytes of answers are kept to be repeated; above it the oldest are forgotten. */
  mostAnsweredBytes?: number
  /** Milliseconds of a clock that only goes forward. */
  now?: () => number
}

const silent: ClientTransactionUser = { onResponse() {}, onTimeout() {}, onTransportError() {} }

/** Matches messages to transactions and starts new ones (RFC 3261 section 17). */
export function createTransactionLayer(deps: TransactionLayerDeps): TransactionLayer & TransportUser {
  const {
    timers,
    user,
    openFlow,
    log,
    unansweredMs = 660_000,
    mostAnsweredBytes = 32 << 20,
    now = () => performance.now(),
  } = deps
  const ground: Ground = { timers, unansweredMs, openFlow, log }
  const servers = new Map<string, InviteServer | NonInviteServer>()
  const serversById = new Map<string, InviteServer | NonInviteServer>()
  const merges = new Map<string, string>()
  const clients = new Map<string, InviteClient | NonInviteClient>()
  const clientsById = new Map<string, InviteClient | NonInviteClient>()
  const clientsByFlow = new Map<string, Set<InviteClient | NonInviteClient>>()
  const answered = createAnswered(timers.timeout, mostAnsweredBytes, forgetMerge, now)
  let closed = false

  function forgetMerge(merge: string, key: string): void {
    if (merges.get(merge) === key) merges.delete(merge)
  }

  function startServer(request: SipMessage, flow: Flow, bytes: number, key: string): InviteServer | NonInviteServer {
    const merge = mergeKey(request)
    const ended = (repeatable?: Buffer) => {
      servers.delete(key)
      serversById.delete(transaction.id)
      if (repeatable && !closed) answered.add(key, repeatable, flow, merge)
      else if (merge !== undefined) forgetMerge(merge, key)
    }
    const Machine = request.method === 'INVITE' ? InviteServer : NonInviteServer
    const transaction = new Machine(ground, request, flow, bytes, ended)
    servers.set(key, transaction)
    serversById.set(transaction.id, transaction)
    if (merge !== undefined && !merges.has(merge)) merges.set(merge, key)
    return transaction
  }

  function onRequest(request: SipMessage, flow: Flow, bytes: number): void {
    const key = serverKey(request)
    const known = servers.get(key)
    if (request.method === 'ACK') {
      if (known === undefined || (known instanceof InviteServer && known.acknowledge()))
        user.onAck(request, flow, bytes)
      return
    }
    if (known) return known.repeated()
    if (answered.repeat(key)) return
    if (request.method === 'CANCEL') return onCancel(request, flow, bytes, key)
    const merge = mergeKey(request)
    // A request that passed here before is a spiral, which a proxy must let through (RFC 3261 section 16.3 step 4).
    const merged = merge !== undefined && merges.has(merge) && !isSpiral(request)
    const transaction = startServer(request, flow, bytes, key)
    if (merged) return transaction.respond(answer(request, 482))
    try {
      user.onRequest(transaction)
    } catch (error) {
      log.error({ err: error, method: request.method }, 'request handler failed')
      transaction.respond(answer(request, 500))
    }
  }

  function isSpiral(request: SipMessage): boolean {
    return request.getAll('Via').some(via => via.includes(ownCookie))
  }

  function onCancel(request: SipMessage, flow: Flow, bytes: number, key: string): void {
    const invite = servers.get(serverKey(request, 'INVITE'))
    const cancel = startServer(request, flow, bytes, key)
    if (!(invite instanceof InviteServer)) return cancel.respond(answer(request, 481))
    // Section 9.2: after a final response a CANCEL changes nothing, and is answered 200 all the same.
    if (invite.status >= 200) return cancel.respond(answer(request, 200))
    if (invite.onCancel) return invite.onCancel(cancel)
    cancel.respond(answer(request, 200))
    invite.respond(answer(invite.request, 487))
  }

  function onResponse(response: SipMessage, flow: Flow, bytes: number): void {
    const client = clients.get(clientKey(response.via.branch ?? '', response.cseq.method))
    if (client) client.receive(response, flow, bytes)
    else user.onStrayResponse(response, flow)
  }

  function startClient(request: SipMessage, flow: Flow, to: ClientTransactionUser, branch: string) {
    const key = clientKey(branch, request.method)
    const ended = () => {
      clients.delete(key)
      clientsById.delete(client.id)
      const others = clientsByFlow.get(flow.id)
      others?.delete(client)
      if (others?.size === 0) clientsByFlow.delete(flow.id)
    }
    const sendCancel = (cancel: SipMessage) => void startClient(cancel, flow, silent, branch)
    const client =
      request.method === 'INVITE'
        ? new InviteClient(ground, request, flow, to, { sendCancel, ended })
        : new NonInviteClient(ground, request, flow, to, ended)
    clients.set(key, client)
    clientsById.set(client.id, client)
    if (flow.reliable) {
      const others = clientsByFlow.get(flow.id)
      if (others) others.add(client)
      else clientsByFlow.set(flow.id, new Set([client]))
    }
    return client
  }

  /** Answers what is too broken for a transaction, at the address that it came from. */
  function refuse(message: SipMessage, flow: Flow, status: number, reason: string): void {
    if (message.isRequest && message.method !== 'ACK' && message.has('Via')) {
      flow.send(refusal(message, status, reason).toBuffer())
    }
  }

  return {
    onMessage(message, flow, bytes) {
      if (closed) return
      try {
        const bad = checkMessage(message)
        if (bad) refuse(message, flow, bad.status, bad.reason)
        else if (message.isRequest) onRequest(message, flow, bytes)
        else onResponse(message, flow, bytes)
      } catch (error) {
        log.error({ err: error, method: message.method }, 'message handler failed')
      }
    },
    onMalformed(failure, flow) {
      if (!closed && failure.partial) refuse(failure.partial, flow, 400, 'Bad Request')
    },
    onFlowClosed(flow) {
      const broken = clientsByFlow.get(flow.id)
      if (broken) for (const client of [...broken]) client.broken(new Error('connection closed'))
    },
    send(request, flow, to, tail) {
      const branch = newBranch(tail)
      request.prepend('Via', viaFor(flow, branch))
      return startClient(request, flow, to, branch)
    },
    sendStateless(message, flow) {
      message.prepend('Via', viaFor(flow, newBranch()))
      flow.send(message.toBuffer())
    },
    serverTransaction: id => serversById.get(id),
    clientTransaction: id => clientsById.get(id),
    stats: () => ({ server: servers.size + answered.size, client: clients.size }),
    close() {
      closed = true
      for (const transaction of [...servers.values(), ...clients.values()]) transaction.terminate()
      answered.close()
    },
  }
}
