import { randomUUID } from 'node:crypto'
import type Srf from 'drachtio-srf'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Binding } from '../location/store.ts'
import type { Logger } from '../log.ts'
import type { Media } from '../media/media.ts'
import type { CallRecord } from '../records/records.ts'
import { createAnchor } from './anchor.ts'
import { offerFor, otherOffer, reachable } from './anchored.ts'
import { bring } from './bring.ts'
import { Call } from './call.ts'
import { createComeback, type OnBindings } from './comeback.ts'
import type { CallContext, CallView } from './context.ts'
import { flat, fromInvite, identity, mayCallAs, names, notUnderstood, opening, type Party, tagOf } from './headers.ts'
import { createLocalDialogs, type LocalDialog, type LocalDialogs, type LocalOptions } from './local.ts'
import { createPickUp } from './pickup.ts'
import { createCallRecorder } from './recording.ts'
import { createRefer, type Located, type Receiver, type TransferDeps } from './refer.ts'
import { createRinger } from './ring.ts'
import { calledUser, originOf, whereIn } from './route.ts'
import { createServices } from './services.ts'
import { type Headers, type Incoming, type Reply, reply, type SrfPort } from './sip.ts'
import { createSummon } from './summon.ts'
import { atMost, createSurvival, type Others, waitFor } from './survival.ts'
import type { RecordingWish, Tape } from './taping.ts'
import { hasReplaces, mayReplace, type Replaces } from './transfer.ts'

export type { CallView } from './context.ts'

type Request = Srf.SrfRequest & { sessionToken?: string }
type Response = Srf.SrfResponse

type Known = Party & { enabled: boolean; roles?: readonly string[] }

export interface CallsDeps {
  srf: Srf
  config: Config['calls']
  domain: string
  /** True when a host name or address is this server. */
  isOwn(host: string): boolean
  find(user: string): Promise<Known | undefined> | Known | undefined
  bindings(aor: string): Promise<readonly Binding[]> | readonly Binding[]
  /** The bindings that a GRUU of this domain stands for; undefined when it is none (RFC 5627). */
  bindingsOfGruu?(uri: string): Promise<readonly Binding[] | undefined>
  /** Who takes in those that are transferred to a user that is no person: meetings. */
  receiver?(user: string): Promise<Receiver | undefined>
  /** Carries what cannot go directly; without it browsers and phones have no way to each other. */
  media?: Media | undefined
  /** Begins to record a room of the media; without it no call is recorded. */
  record?(wish: RecordingWish): Promise<Tape>
  records: { add(record: CallRecord): void }
  /** Lets calls outlive this node; absent: it is by itself. */
  others?: Others | undefined
  events: Events
  log: Logger
  now?(): number
  uuid?(): string
}

/** What is special about a call. */
export interface Passing {
  /** More headers for the callee. */
  headers?: Headers | undefined
  /** Not kept in the records: a part of something that is. */
  unrecorded?: boolean | undefined
}

export interface Calls {
  /** An INVITE outside dialogs whose sender has proven to be `caller`. Throws Refusal before a call begins (403, 420, 503). */
  invite(req: Request, res: Response, caller: Party, passing?: Passing): Promise<void>
  /** Dialogs whose other end is this server. */
  readonly local: LocalDialogs
  /**
   * Takes the far end out of the call in which `user` has the dialog that Replaces names, and makes it one with ourselves;
   * the call ends. Throws Refusal: 481 none such, 403 somebody else's, 491 in transfer, or what the far end answers.
   */
  takeOut(replaces: Replaces, user: string, options: LocalOptions): Promise<LocalDialog>
  /** Brings here what has the dialog that Replaces names, when its node is dead. Throws Refusal 503 while that lives. */
  recover(replaces: Replaces): Promise<void>
  /** A request for a dialog that this node does not know: carried on with in a call that was another node's, else 481. */
  outOfDialog(req: Request, res: Response): Promise<void>
  list(): CallView[]
  /** Ends a call by an operator's wish; false when there is none of that id. */
  hangUp(id: string): boolean
  /**
   * Begins or ends the recording of a call. Begins after a tone that both hear; resolves when the call's media passes this
   * server. `by` is the user who wants it, undefined the administrator. Refuses `no-such-call` (also where `by` is not in
   * it), `forbidden`, `request-pending` while it rings, is on hold or changes,
   * `not-acceptable-here` when a phone does not follow to this server, `media-unavailable` for two browsers that talk directly
   * when neither comes by an INVITE with Replaces (RFC 3891).
   */
  record(id: string, on: boolean, by?: string): Promise<void>
  /** Brings the media of a direct call to this server, as for a recording. Refuses as `record`. */
  relay(id: string): Promise<void>
  /** Whether `calls.record` lets this user have its own calls recorded. */
  mayRecord(user: string): Promise<boolean>
  /**
   * Takes no new calls from now on (503), gives those that are answered to another node, and waits at most `limitMs` for
   * those that cannot go. Resolves with the number that is left, at once when `undrain` ends it.
   */
  drain(limitMs: number): Promise<number>
  /** Takes new calls again. */
  undrain(): void
  /** Ends all calls and waits for their BYEs, at most 4 seconds. */
  close(): Promise<void>
}

// How long close() waits for the phones to answer its BYEs.
const closeMs = 4000
// So many calls are given to another node at once.
const mostGoing = 50

/** The back-to-back user agent: each call is a dialog with its caller and one with whoever answers. */
export function createCalls(deps: CallsDeps): Calls {
  const { config, domain, isOwn, media, events, log, records, now = Date.now, uuid = randomUUID } = deps
  const srf = deps.srf as unknown as SrfPort
  const calls = new Map<string, Call>()
  let closing = false
  let draining = false
  const survival = createSurvival({ ...deps, others: deps.others, recordOn: call => recorder.goOn(call) })
  const context: CallContext<Call> = {
    srf,
    domain,
    config,
    events,
    log,
    now,
    records,
    anchor: call => createAnchor({ media, config, log }, call),
    onRefer: (call, leg, req, res) => refer(call, leg, req, res),
    onDigit: (call, leg, digit) => recorder.press(call, leg, digit),
    onRecordingWish: (call, leg, on) => recorder.ask(call, leg, on),
    stopRecording: call => recorder.stop(call),
    onEnd(call) {
      calls.delete(call.id)
      survival.forget(call)
    },
    onStray: (req, res) => void stray(req, res),
    keeping: survival.keeping,
  }
  const { others, bindings } = deps
  const where = whereIn(others?.members)
  const onBindings: OnBindings = listener =>
    others?.onBindings?.(listener) ?? events.on('registered', ({ aor }) => listener(aor))
  const comeback = others && createComeback({ ...others, bindings, where, onBindings, log })
  const ringer = createRinger({ ...deps, srf, where, comeback })
  const summon = createSummon({ srf, ringer, config, domain })
  const recorder = createCallRecorder({ ...deps, rule: config.record, now, summon })
  const adopt: TransferDeps['adopt'] = (leg, options) => local.adopt(leg, leg.end, options)
  const taking = { ...deps, srf, ringer, domain, isOwn, config, locate, adopt }
  survival.start(context, calls)
  const refer = createRefer(taking)
  const pickUp = createPickUp(taking)

  async function locate(replaces: Replaces): Promise<Located | undefined> {
    for (const call of calls.values()) {
      const found = call.locate(replaces)
      if (found) return { call, ...found }
    }
    return survival.locate(replaces)
  }

  /** A request inside a dialog that was ours a moment ago. */
  async function stray(req: Incoming, res: Reply): Promise<void> {
    try {
      await survival.onStray(req, res)
    } catch (error) {
      if (!(error instanceof Refusal)) log.error({ err: error }, 'a request inside a dialog failed by a bug')
      const refusal = error instanceof Refusal ? error : new Refusal('server-error')
      reply(res, refusal.sipStatus, { headers: flat(refusal.headers) })
    }
  }

  const local = createLocalDialogs({ ...deps, srf, media, ringer, onStray: (req, res) => void stray(req, res) })
  const services = createServices({ local, media, domain, events, records, now })

  async function invite(request: Request, response: Response, caller: Party, passing: Passing = {}): Promise<void> {
    const req = request as unknown as Incoming
    const res = response as unknown as Reply
    if (closing || draining || calls.size + services.list().length >= config.most)
      throw new Refusal('too-busy', undefined, { headers: { 'Retry-After': '10' } })
    const unknown = notUnderstood(req)
    if (unknown.length > 0)
      throw new Refusal('bad-extension', undefined, { headers: { Unsupported: unknown.join(', ') } })
    const hops = req.get('Max-Forwards')
    if (hops !== undefined && Number.parseInt(hops, 10) <= 0) throw new Refusal('too-many-hops')
    const as = mayCallAs(req, caller.user, isOwn)
    if (as === 'forbidden') throw new Refusal('forbidden', 'A caller may only call as itself')
    const party = { ...caller, hidden: as === 'hidden' }
    if (hasReplaces(req)) return pickUp(req, res, party)
    const to = calledUser(req.uri, isOwn)
    if (services.has(to)) return services.answer(to, req, res, party)
    const about = { id: uuid(), caller: party, to: `sip:${to}@${domain}`, unrecorded: passing.unrecorded === true }
    const call = Call.open(context, about, req, res)
    calls.set(call.id, call)
    try {
      await ring(call, req, party, to, passing.headers)
    } catch (error) {
      call.fail(error)
    }
  }

  async function ring(call: Call, req: Incoming, caller: Party, user: string, more: Headers = {}): Promise<void> {
    const { callee, targets } = await ringer.find(user, originOf(req), req.uri)
    // The caller may have cancelled while the store was asked.
    if (call.state === 'ended') return
    const within = reachable(call, targets)
    // What a callee acknowledges reliably with an SDP of its own cannot be translated any more.
    const direct = within.length === 1 && !call.anchor.between(call.callerEnd, within[0]!)
    const reliable = direct && (names(req, 'Supported', '100rel') || names(req, 'Require', '100rel'))
    const headers = {
      ...fromInvite(req),
      ...opening(config, reliable),
      ...identity(caller, domain),
      To: `<${call.to}>`,
      'Max-Forwards': hopsLeft(req),
      ...more,
    }
    ringer.ring(
      call,
      within,
      { headers, body: branch => offerFor(call, branch) },
      {
        onUnfit: branch => otherOffer(call, branch),
        onProgress: (...progress) => call.onProgress(...progress),
        onAnswer: (branch, answer, ack) => call.onAnswer(branch, answer, ack, callee),
        onLate: (...late) => call.onLate(...late),
        onFailure: (status, answer) => call.onFailure(status, answer),
      },
    )
  }

  async function takeOut(replaces: Replaces, user: string, options: LocalOptions): Promise<LocalDialog> {
    const found = await locate(replaces)
    if (!found?.leg?.confirmed || found.call.state !== 'answered') throw new Refusal('no-such-call')
    const { call, leg } = found
    if (!mayReplace(user, leg.party.user)) throw new Refusal('forbidden')
    const far = call.peerOf(leg)
    if (far === undefined || call.leaving || call.moving) throw new Refusal('request-pending')
    call.leaving = leg
    try {
      const dialog = await local.adopt(far, far.end, options)
      far.end.release()
      call.release(far)
      call.end({ status: 200, reason: 'taken into a meeting' })
      return dialog
    } catch (error) {
      call.leaving = undefined
      if (leg.ended) call.end({ status: 480, reason: 'hung up while being taken into a meeting' })
      throw error
    }
  }

  return {
    invite,
    local,
    takeOut,
    recover: async replaces => void (await survival.locate(replaces)),
    async outOfDialog(request, response) {
      // A REFER outside a call would make this server call whomever a stranger names.
      const stray = request.method === 'REFER' && tagOf(request.get('To')) === ''
      if (stray) throw new Refusal('forbidden', 'Transfers are asked for inside a call')
      await survival.onStray(request as unknown as Incoming, response as unknown as Reply)
    },
    list: () => [...[...calls.values()].map(call => call.view()), ...services.list()],
    hangUp(id) {
      const call = calls.get(id)
      call?.end({ status: 480, reason: 'ended by an operator', result: 'cancelled' })
      return call !== undefined || services.hangUp(id)
    },
    async record(id, on, by) {
      const call = calls.get(id)
      if (call === undefined) throw new Refusal('no-such-call', 'there is no such call')
      await (on ? recorder.start(call, by) : recorder.end(call, by))
    },
    async relay(id) {
      const call = calls.get(id)
      if (call === undefined) throw new Refusal('no-such-call', 'there is no such call')
      await bring({ summon, domain }, call)
    },
    mayRecord: recorder.may,
    async drain(limitMs) {
      draining = true
      const tried = new Set<Call>()
      let going = 0
      const isGone = () => {
        if (!draining) return true
        for (const call of calls.values()) {
          if (going >= mostGoing) break
          if (call.state !== 'answered' || call.leaving || call.moving || tried.has(call)) continue
          tried.add(call)
          going++
          survival
            .giveAway(call)
            .catch((error: unknown) => call.fail(error))
            .finally(() => going--)
        }
        return calls.size + services.list().length === 0
      }
      await waitFor(isGone, limitMs)
      return calls.size + services.list().length
    },
    undrain() {
      draining = false
    },
    async close() {
      closing = true
      survival.close()
      comeback?.close()
      const open = [...calls.values()]
      for (const call of open) call.end({ status: 503, reason: 'the server stops', result: 'failed' })
      await atMost(closeMs, Promise.all([local.close(), recorder.close(), ...open.map(call => call.done)]))
    },
  }
}

/** One less than the caller's, so that a loop through several servers ends (RFC 3261 section 16.6). */
function hopsLeft(req: Incoming): string {
  const hops = Number.parseInt(req.get('Max-Forwards') ?? '', 10)
  return String(hops > 0 ? Math.min(70, hops - 1) : 70)
}
