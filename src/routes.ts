import type Srf from 'drachtio-srf'
import type { Auth, Proven } from './auth/auth.ts'
import { splitCredentials } from './auth/split.ts'
import type { Calls } from './calls/calls.ts'
import { Refusal } from './errors.ts'
import type { Protocol } from './events.ts'
import type { Groups } from './groups/groups.ts'
import type { Logger } from './log.ts'
import type { Messaging } from './messaging/messaging.ts'
import type { RegisterRequest, Registrar } from './registrar/registrar.ts'
import { parseNameAddr } from './sip/engine/message/message.ts'
import { splitList } from './sip/engine/message/syntax.ts'
import { unescapeUser } from './sip/engine/message/uri.ts'

type Request = Srf.SrfRequest & { sessionToken?: string }
type Response = Srf.SrfResponse

/** What may be said to this server (RFC 3261 section 20.5). */
export const allowed =
  'INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, REGISTER, MESSAGE, NOTIFY, SUBSCRIBE'
const supported = 'timer, 100rel, path, outbound, gruu, replaces'

export interface RouteDeps {
  srf: Srf
  auth: Auth
  registrar: Registrar
  calls: Pick<Calls, 'invite' | 'outOfDialog'>
  messaging: Pick<Messaging, 'message'>
  groups: Pick<Groups, 'takes' | 'invite' | 'subscribe' | 'meshHeaders' | 'passed'>
  /** The account behind an authenticated user name. */
  account(user: string, domain: string): Promise<{ user: string; displayName: string } | undefined>
  /** True when a host name or address is this server. */
  isOwn(host: string): boolean
  domain: string
  log: Logger
}

/**
 * The life of a SIP request: each method's way, and the one place where refusals become responses and bugs become 500.
 * Requests inside dialogs that drachtio-srf knows never come here.
 */
export function installRoutes(deps: RouteDeps): void {
  const { srf, auth, registrar, calls, messaging, groups, domain, log } = deps

  on('register', register)
  on('options', options)
  for (const method of ['bye', 'update', 'info', 'notify', 'refer', 'prack'] as const) on(method, inDialogOnly)
  on('message', message)
  on('subscribe', subscribe)
  on('publish', async () => refuse489())
  // The last one: before it the engine asks everybody to come back.
  on('invite', invite)

  async function register(req: Request, res: Response): Promise<void> {
    const who = await prove(req, 'www')
    const request = readRegister(req, `sip:${who.user}@${domain}`)
    // Nobody registers for somebody else (RFC 3261 section 10.3, step 4); any name of this server means its domain.
    const to = parseNameAddr(req.get('To')).uri
    if (to?.user === undefined || unescapeUser(to.user).toLowerCase() !== who.user || !deps.isOwn(to.host)) {
      throw new Refusal('forbidden', 'The address of record is not the sender’s own')
    }
    const answer = await registrar.register(request)
    send(res, answer.status, { ...answer.headers, Contact: answer.contacts })
  }

  async function invite(req: Request, res: Response): Promise<void> {
    if (hasToTag(req)) return calls.outOfDialog(req, res)
    const account = await senderOf(req)
    if (await groups.takes(req)) return groups.invite(req, res, account)
    // Members of a mesh call each other as any two people do; that it is for their meeting, only the server may say.
    const pair = await groups.meshHeaders(req, account.user)
    await calls.invite(req, res, account, pair && { headers: pair, unrecorded: true })
  }

  async function message(req: Request, res: Response): Promise<void> {
    if (hasToTag(req)) return calls.outOfDialog(req, res)
    await messaging.message(req, res, await senderOf(req))
  }

  async function subscribe(req: Request, res: Response): Promise<void> {
    if (hasToTag(req)) throw new Refusal('no-such-call')
    if (!/^\s*conference\s*(;|$)/i.test(req.get('Event') ?? '')) return refuse489()
    await groups.subscribe(req, res, await senderOf(req))
  }

  /** Who has proven to have sent a request outside dialogs: to us, or to the node that has passed it on to us. */
  async function senderOf(req: Request): Promise<{ user: string; displayName: string }> {
    const who = groups.passed(req) ?? (await prove(req, 'proxy'))
    const account = await deps.account(who.user, domain)
    if (account === undefined) throw new Refusal('forbidden')
    return account
  }

  /** Asked of the server it tells what the server can; asked of a person it needs proof, so that names stay private. */
  async function options(req: Request, res: Response): Promise<void> {
    if (hasToTag(req)) throw new Refusal('no-such-call')
    const user = /^sips?:([^@]+)@/i.exec(req.uri)?.[1]
    if (user !== undefined) {
      await prove(req, 'proxy')
      if (await groups.takes(req)) return sendOptions(res)
      const account = await deps.account(decodeURIComponent(user).toLowerCase(), domain)
      if (account === undefined) throw new Refusal('not-found')
      if ((await registrar.bindings(`sip:${account.user}@${domain}`)).length === 0)
        throw new Refusal('temporarily-unavailable')
    }
    sendOptions(res)
  }

  /** A request for a dialog of another life of this server, or for none: calls knows, or answers 481. */
  async function inDialogOnly(req: Request, res: Response): Promise<void> {
    if (hasToTag(req) || req.method === 'REFER' || req.method === 'NOTIFY') return calls.outOfDialog(req, res)
    throw new Refusal('method-not-allowed', undefined, { headers: { Allow: allowed } })
  }

  async function prove(req: Request, kind: 'www' | 'proxy'): Promise<Proven> {
    const value = req.get(kind === 'www' ? 'Authorization' : 'Proxy-Authorization')
    const authorization = value === undefined ? [] : splitCredentials(value)
    const request = {
      method: req.method,
      uri: req.uri,
      authorization,
      body: req.body ?? '',
      source: req.source_address,
    }
    return auth.check({ ...request, callId: callIdOf(req), userAgent: req.get('User-Agent') ?? '' }, kind)
  }

  /** drachtio-srf does not await handlers: what they throw would end the process, so it ends here. */
  function on(method: Lowercase<Srf.SipMethod>, handler: (req: Request, res: Response) => Promise<void>): void {
    const guarded = (req: Request, res: Response) => {
      answer(handler, req, res).catch((error: unknown) => {
        if (res.finalResponseSent)
          return void log.error({ err: error, method, callId: callIdOf(req) }, 'failed after its answer')
        if (error instanceof Refusal) return send(res, error.sipStatus, error.headers, error.reason)
        log.error({ err: error, method, callId: callIdOf(req), source: req.source_address }, 'request failed')
        send(res, 500, {})
      })
    }
    ;(srf as unknown as Record<string, (handler: typeof guarded) => void>)[method]!(guarded)
  }
}

/** A REGISTER as the registrar takes it. Throws Refusal('bad-request') when a header makes no sense. */
function readRegister(req: Request, aor: string): RegisterRequest {
  const values = (name: string) => splitList(req.get(name) ?? '').filter(value => value !== '')
  const tags = (name: string) => values(name).map(tag => tag.toLowerCase())
  const expires = req.get('Expires')?.trim()
  return {
    aor,
    contacts: req.get('Contact')?.trim() === '*' ? '*' : values('Contact').map(readContact),
    expires: expires !== undefined && /^\d{1,10}$/.test(expires) ? Number(expires) : undefined,
    callId: callIdOf(req),
    cseq: Number.parseInt(req.get('CSeq'), 10),
    path: values('Path'),
    supported: tags('Supported'),
    require: tags('Require'),
    vias: values('Via').length,
    flow: req.sessionToken ?? '',
    protocol: protocolOf(req),
    source: { address: req.source_address, port: Number(req.source_port) },
    userAgent: (req.get('User-Agent') ?? '').slice(0, 256),
  }
}

function readContact(value: string): {
  uri: string
  q?: number
  expires?: number
  params: ReadonlyMap<string, string | undefined>
} {
  const { uriText, uri, params } = parseNameAddr(value)
  if (uri === undefined) throw new Refusal('bad-request', 'A Contact is no URI')
  const [q, expires] = [params.get('q'), params.get('expires')]
  if (q !== undefined && !/^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(q))
    throw new Refusal('bad-request', 'A q-value is not between 0 and 1')
  return {
    uri: uriText,
    params,
    ...(q === undefined ? {} : { q: Number(q) }),
    // RFC 3261 section 10.3: a malformed expires counts as absent.
    ...(expires !== undefined && /^\d{1,10}$/.test(expires) ? { expires: Number(expires) } : {}),
  }
}

// drachtio-srf's types have a `callId` on requests, its code has none.
function callIdOf(req: Request): string {
  return req.get('Call-ID') ?? ''
}

/** RFC 3261 section 16.3: the scheme comes before everything else, also before asking who it is. */
async function answer(
  handler: (req: Request, res: Response) => Promise<void>,
  req: Request,
  res: Response,
): Promise<void> {
  if (!/^(sips?|tel):/i.test(req.uri)) throw new Refusal('unsupported-uri-scheme')
  return handler(req, res)
}

function sendOptions(res: Response): void {
  send(res, 200, { Allow: allowed, Supported: supported, Accept: 'application/sdp', 'Accept-Language': 'en' })
}

function hasToTag(req: Request): boolean {
  return /;\s*tag\s*=/i.test(req.get('To') ?? '')
}

function refuse489(): never {
  throw new Refusal('bad-event', undefined, { headers: { 'Allow-Events': 'conference, refer' } })
}

/** The protocol that a request came over; an external drachtio-server says `tcp` for WebSockets (its Via knows better). */
export function protocolOf(req: { protocol: string; get(name: string): string | undefined }): Protocol {
  const via = /^SIP\s*\/\s*2\.0\s*\/\s*(wss?)\b/i.exec(req.get('Via') ?? '')?.[1]
  return (via ?? req.protocol).toLowerCase() as Protocol
}

function send(
  res: Response,
  status: number,
  headers: Record<string, string | readonly string[]>,
  reason?: string,
): void {
  const lines: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    // drachtio-srf joins values with commas, which challenges must not be (RFC 3261 section 7.3.1): one line for each.
    const text = typeof value === 'string' ? value : value.join(`\r\n${name}: `)
    if (text !== '') lines[name] = text
  }
  res.send(status, { headers: lines, ...(reason === undefined ? {} : { reason }) })
}
