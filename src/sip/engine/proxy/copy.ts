import { hash } from 'node:crypto'
import { isList, keyOf } from '../message/headers.ts'
import type { SipMessage } from '../message/message.ts'
import { formatHost, formatUri, parseUri, type Uri } from '../message/uri.ts'
import { ownCookie } from '../transaction/key.ts'
import type { Flow } from '../transport/transport.ts'

// What happens to a request on its way through (RFC 3261 section 16.4 and 16.6), without any I/O.

/** What sets apart one pass of a request through this process from another (section 16.6 step 8, RFC 5393 section 4.2). */
export function loopMark(request: SipMessage): string {
  const { uri, callId, fromTag, cseq } = request
  const text = `${uri} ${callId} ${fromTag ?? ''} ${cseq.number} ${request.getAll('Route').join()}`
  return hash('sha1', text, 'base64url').slice(0, 12)
}

/** Whether the request has passed here before, just as it is now (section 16.3 step 4). */
export function hasLooped(request: SipMessage, mark: string): boolean {
  for (const via of request.getAll('Via')) {
    if (via.includes(ownCookie) && via.includes(`.${mark}`)) return true
  }
  return false
}

/** Counts the hop (section 16.6 step 3). */
export function countHop(copy: SipMessage): void {
  copy.set('Max-Forwards', String((copy.maxForwards ?? 71) - 1))
}

/** Puts an application's headers on: added where the header is a list, else in the place of what is there. */
export function addHeaders(copy: SipMessage, headers: readonly [name: string, value: string][]): void {
  for (const [name, value] of headers) {
    if (isList(keyOf(name))) copy.append(name, value)
    else copy.set(name, value)
  }
}

/** Takes the last Route value off and returns its URI. */
function takeLastRoute(copy: SipMessage): string | undefined {
  const uri = copy.routes.at(-1)?.uriText
  if (uri === undefined) return undefined
  setRoutes(copy, copy.getAll('Route').slice(0, -1))
  return uri
}

function setRoutes(copy: SipMessage, routes: string[]): void {
  if (routes.length === 0) copy.remove('Route')
  else copy.set('Route', routes)
}

/**
 * Section 16.4: a strict router before us has put our Record-Route into the request-URI and the real one at the end of
 * the routes. Undone when `isOurs` knows the request-URI.
 */
export function undoStrictRouting(copy: SipMessage, isOurs: (uri: Uri) => boolean): void {
  const uri = copy.requestUri
  if (uri === undefined || !isOurs(uri)) return
  const real = takeLastRoute(copy)
  if (real !== undefined) copy.uri = real
}

/** Section 16.6 step 6: a next hop without `lr` expects itself in the request-URI. */
export function obeyStrictRouter(copy: SipMessage): void {
  const next = copy.routes[0]
  if (next?.uri === undefined || next.uri.params.has('lr')) return
  const routes = copy.getAll('Route').slice(1)
  setRoutes(copy, [...routes, `<${copy.uri}>`])
  copy.uri = next.uriText
}

/** A URI as it may stand in a request: `fl` and `node` are between an application and us. */
export function withoutPin(uri: Uri): string {
  if (!uri.params.has('fl') && !uri.params.has('node')) return formatUri(uri)
  const params = new Map(uri.params)
  params.delete('fl')
  params.delete('node')
  return formatUri({ ...uri, params })
}

/** Where the request goes when nothing else is said: the first Route, else the request-URI (section 16.6 step 7). */
export function nextUri(copy: SipMessage): Uri | undefined {
  return copy.routes[0]?.uri ?? parseUri(copy.uri)
}

/** One of our routes as peers on this flow should see it. */
export function routeFor(flow: Flow, user: string, secure: boolean): string {
  const { host, port } = flow.advertised
  const transport = flow.protocol === 'udp' ? '' : `;transport=${flow.protocol}`
  return `<${secure ? 'sips' : 'sip'}:${user}@${formatHost(host)}:${port}${transport};lr>`
}

/** The Route to another node that may read this user part. */
export function routeTo({ scheme, host, port, params: given }: Uri, user: string): string {
  const transport = given.get('transport')
  const params = new Map([...(transport === undefined ? [] : [['transport', transport] as const]), ['lr', undefined]])
  return `<${formatUri({ scheme, user, password: undefined, host, port, params, headers: '', opaque: '' })}>`
}

/**
 * Writes us into the path of the dialog (section 16.6 step 4): once, or twice when either side has to reach us by
 * another address or transport (RFC 5658).
 */
export function recordRoute(copy: SipMessage, from: Flow, to: Flow, user: string): void {
  const secure = copy.uri.startsWith('sips:')
  const inward = routeFor(from, user, secure)
  const outward = routeFor(to, user, secure)
  copy.prepend('Record-Route', inward)
  if (outward !== inward) copy.prepend('Record-Route', outward)
}

/** Writes us into the path of a registration (RFC 3327 section 5.2). */
export function recordPath(copy: SipMessage, to: Flow, user: string): void {
  copy.prepend('Path', routeFor(to, user, copy.uri.startsWith('sips:')))
  if (!copy.getAll('Require').includes('path')) copy.append('Require', 'path')
}

/**
 * The flow that later requests towards the caller need: a connection is the only way to most phones, and so is a
 * datagram's source when the Contact names another address. '' when the Contact says all.
 */
export function callerFlow(request: SipMessage, flow: Flow): string {
  if (request.has('Record-Route') || request.getAll('Via').length > 1) return ''
  if (flow.reliable) return flow.id
  const contacts = request.contacts
  const host = contacts === '*' ? undefined : contacts[0]?.uri?.host
  return host === undefined || host === flow.remote.address ? '' : flow.id
}
