import { randomBytes } from 'node:crypto'
import type { Protocol } from '../../../events.ts'
import type { Logger } from '../../../log.ts'
import type { SipMessage } from '../message/message.ts'
import { parseUri, type Uri } from '../message/uri.ts'
import { type NextHop, NextHopError, type NextHopFailure } from '../next-hop.ts'
import { answer } from '../transaction/build.ts'
import type { Timers } from '../transaction/timers.ts'
import type { ServerTransaction, TransactionLayer } from '../transaction/transaction.ts'
import type { Flow } from '../transport/transport.ts'
import { type Departure, type ProxyTarget, ResponseContext } from './context.ts'
import * as copies from './copy.ts'
import type { PeerTokens } from './peer-token.ts'
import { createProxied } from './proxied.ts'
import type { ProxyLayer, ProxyOptions } from './proxy-layer.ts'
import { createRouteTokens, type RouteToken } from './route-token.ts'

export interface ProxyDeps {
  transactions: TransactionLayer
  nextHop: NextHop
  timers: Timers
  isOwn: (host: string, port: number, protocol?: Protocol) => boolean
  log: Logger
  /** Signs our Record-Routes; those of a former run are known only with the former run's key. */
  key?: Buffer
  /** Knows the Routes that our other nodes write for flows of this one. */
  peers?: PeerTokens | undefined
}

// Requests that begin a dialog (RFC 3261 section 12, RFC 6665), so that a Record-Route means something.
const forming = new Set(['INVITE', 'SUBSCRIBE', 'REFER'])
// What Via and Record-Route add to a request, about.
const addedBytes = 300

const statusOf: Record<NextHopFailure, number> = {
  'flow-failed': 430,
  'own-address': 482,
  'unsupported-uri-scheme': 416,
  'unsupported-transport': 416,
  'no-address': 503,
  unreachable: 503,
}

/** A copy that goes by its Route, without what was ours of it. */
interface Routed {
  copy: SipMessage
  token: RouteToken | undefined
}

export function createProxyLayer(deps: ProxyDeps): ProxyLayer {
  const { transactions, nextHop, timers, log, peers, key = randomBytes(32) } = deps
  const tokens = createRouteTokens(key)
  const contexts = new Set<ResponseContext>()
  const proxied = createProxied(timers.timeout)

  const isOwnUri = (uri: Uri) => deps.isOwn(uri.host, uri.port ?? (uri.scheme === 'sips' ? 5061 : 5060))

  function readToken(user: string | undefined, message: SipMessage): RouteToken | undefined {
    const peer = peers?.read(user, message)
    return peer ? { flow: peer.flow, peer } : tokens.read(user, message)
  }

  function isForUs(message: SipMessage): boolean {
    const uri = message.requestUri
    if (uri?.user !== undefined && readToken(uri.user, message)) return true
    if (!message.has('Route')) return false
    for (const route of message.routes) {
      if (route.uri === undefined) return false
      if (readToken(route.uri.user, message)) return true
      // A phone may put us as its outbound proxy before what we recorded.
      if (!isOwnUri(route.uri)) return false
    }
    return false
  }

  // Section 16.4. Of several that are ours the last one knows the way on.
  function takeOwnRoutes(request: SipMessage): Routed {
    const copy = request.clone()
    let token: RouteToken | undefined
    copies.undoStrictRouting(copy, uri => {
      token = readToken(uri.user, request)
      return token !== undefined
    })
    for (let uri = copy.routes[0]?.uri; uri !== undefined; uri = copy.routes[0]?.uri) {
      const read = readToken(uri.user, request)
      if (read === undefined && !isOwnUri(uri)) break
      token = read ?? token
      copy.removeFirst('Route')
    }
    return { copy, token }
  }

  /** The answer of section 16.3 to what must not be forwarded; undefined when it may. */
  function refusal(request: SipMessage, mark: string): SipMessage | undefined {
    if (request.maxForwards === 0) return answer(request, 483)
    if (copies.hasLooped(request, mark)) return answer(request, 482)
    const required = request.getAll('Proxy-Require')
    if (required.length === 0) return undefined
    const response = answer(request, 420)
    response.set('Unsupported', required)
    return response
  }

  function run(
    transaction: ServerTransaction,
    targets: ProxyTarget[],
    options: Pick<ProxyOptions, 'onDone'> & Partial<ProxyOptions>,
    depart: (target: ProxyTarget) => Departure | undefined,
  ): void {
    const { request } = transaction
    const mark = copies.loopMark(request)
    const refused = refusal(request, mark)
    if (refused) {
      transaction.respond(refused)
      options.onDone(`Rejected with ${refused.status} ${refused.reason}`)
      return
    }
    const context = new ResponseContext(
      { transactions, timers, mark, depart, failureStatus, ended: () => contexts.delete(context) },
      transaction,
      targets,
      {
        forking: options.forking ?? 'serial',
        followRedirects: options.followRedirects ?? false,
        provisionalTimeoutMs: options.provisionalTimeoutMs,
        finalTimeoutMs: options.finalTimeoutMs,
        ...(options.onFinal && { onFinal: options.onFinal }),
        ...(options.onUnheard && { onUnheard: options.onUnheard }),
        onDone: options.onDone,
      },
    )
    contexts.add(context)
    context.start()
  }

  function failureStatus(error: unknown): number {
    if (error instanceof NextHopError) return statusOf[error.code]
    log.error({ err: error }, 'finding the next hop failed')
    return 500
  }

  function record(copy: SipMessage, transaction: ServerTransaction, to: Flow, { params }: Uri, pinned: boolean): void {
    const { request, flow } = transaction
    if (copy.method === 'REGISTER') copies.recordPath(copy, to, tokens.forPath(flow.id))
    else if (forming.has(copy.method) && request.toTag === undefined) {
      const peer = params.has('node') ? 'callee' : undefined
      const user = tokens.forDialog(request, copies.callerFlow(request, flow), pinned ? to.id : '', peer)
      copies.recordRoute(copy, flow, to, user)
    }
  }

  // Section 16.6 steps 1 to 7 for a target that the application, or a redirect, has named.
  function departTo(transaction: ServerTransaction, options: ProxyOptions, target: ProxyTarget): Departure | undefined {
    const { request, bytes } = transaction
    const uri = parseUri(target.uri)
    if (uri === undefined) return undefined
    const { copy } = takeOwnRoutes(request)
    const asked = copy.requestUri
    // Like drachtio-server: a request-URI that is not ours stays, and the target is only the next hop.
    if (target.redirected || (asked && isOwnUri(asked))) copy.uri = copies.withoutPin(uri)
    copies.countHop(copy)
    copies.addHeaders(copy, options.headers)
    const pinned = !target.redirected && uri.params.has('fl')
    const again = request.method === 'INVITE' && request.toTag !== undefined
    return {
      copy,
      flow: nextHop.flowFor(uri, bytes + addedBytes, pinned),
      complete(flow) {
        if (options.recordRoute) record(copy, transaction, flow, uri, pinned)
        if (again) proxied.remember(request, flow)
      },
    }
  }

  // A request that another node began by a flow of ours: what follows in its dialog has to come this way too.
  function recordForPeer(copy: SipMessage, { request, flow }: ServerTransaction, to: Flow): void {
    if (!forming.has(copy.method) || request.toTag !== undefined) return
    copies.recordRoute(copy, flow, to, tokens.forDialog(request, flow.id, to.id, 'caller'))
  }

  // The same for a request that goes by its Route.
  function departByRoute({ copy, token }: Routed, bytes: number): Departure | undefined {
    copies.countHop(copy)
    const known = token?.flow === undefined ? undefined : nextHop.flow(token.flow)
    const uri = copies.nextUri(copy)
    if (uri === undefined) return undefined
    copies.obeyStrictRouter(copy)
    if (known) return { copy, flow: known, only: true, complete() {} }
    const gone = (cause?: unknown) => new NextHopError('flow-failed', 'the flow to this phone is gone', cause)
    // Another node has nothing but the flow in mind; the phone's address it may try by itself.
    if (token?.peer) return { copy, flow: Promise.reject(gone()), complete() {} }
    const found = nextHop.flowFor(uri, bytes + addedBytes)
    const lost = (cause: unknown) => {
      // RFC 5626 section 5.3: the one way to this phone is gone, and its address alone does not lead there.
      throw token?.flow === undefined ? cause : gone(cause)
    }
    return { copy, flow: found instanceof Promise ? found.catch(lost) : found, complete() {} }
  }

  return {
    start(transaction, options) {
      if (transaction.ended || transaction.status >= 200) {
        options.onDone(`Unknown transaction id: ${transaction.id}`)
        return
      }
      const targets = [...new Set(options.targets)].map(uri => ({ uri, redirected: false }))
      run(transaction, targets, options, target => departTo(transaction, options, target))
    },
    isForUs,
    forward(transaction, unheard) {
      const { request, bytes } = transaction
      if (!isForUs(request)) {
        transaction.respond(answer(request, 481))
        return
      }
      const routed = takeOwnRoutes(request)
      const { peer, toPeer } = routed.token ?? {}
      if (peer && !peers?.claim(peer)) {
        log.warn(
          { callId: request.callId, from: transaction.flow.remote.address },
          'a node’s request came twice or late',
        )
        transaction.respond(answer(request, 403))
        return
      }
      const onDone = (error?: string) => {
        if (error) log.debug({ callId: request.callId, error }, 'request not forwarded')
      }
      // A node answers or says 100 at once; one that is paused should not take the phone's patience with it.
      const toNode = toPeer && unheard && { onUnheard: unheard, provisionalTimeoutMs: 8 * timers.t1 }
      const options = { onDone, ...toNode }
      run(transaction, [{ uri: '', redirected: false }], options, () => {
        const departure = departByRoute(routed, bytes)
        return departure && peer
          ? { ...departure, complete: to => recordForPeer(departure.copy, transaction, to) }
          : departure
      })
    },
    followAck(ack) {
      const flow = ack.maxForwards === 0 ? undefined : proxied.flowOf(ack)
      if (flow === undefined) return false
      const { copy } = takeOwnRoutes(ack)
      copies.countHop(copy)
      transactions.sendStateless(copy, flow)
      return true
    },
    forwardAck(ack, flow) {
      if (!isForUs(ack) || ack.maxForwards === 0) return
      const routed = takeOwnRoutes(ack)
      if (routed.token?.peer && !peers?.claim(routed.token.peer)) return
      const departure = departByRoute(routed, 0)
      const dropped = (error: unknown) =>
        log.info({ err: error, callId: ack.callId, flow: flow.id }, 'ACK not forwarded')
      if (departure === undefined) return
      if (departure.flow instanceof Promise) {
        departure.flow.then(found => transactions.sendStateless(departure.copy, found), dropped)
      } else transactions.sendStateless(departure.copy, departure.flow)
    },
    stats: () => ({ contexts: contexts.size }),
    close() {
      for (const context of [...contexts]) context.close()
      proxied.close()
    },
  }
}
