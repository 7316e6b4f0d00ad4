import { Refusal } from '../errors.ts'
import { reasonPhrase } from '../sip/engine/message/message.ts'
import { enter, likeLeg } from './anchored.ts'
import type { Call } from './call.ts'
import type { Branch } from './fork.ts'
import { asserted, bodyOf, identity, nameAddr, opening, type Party } from './headers.ts'
import type { Leg } from './leg.ts'
import type { LocalDialog, LocalOptions } from './local.ts'
import type { Ringer } from './ring.ts'
import { originOf } from './route.ts'
import { sameMedia, unheld } from './sdp.ts'
import { type Ack, type Incoming, type Reply, type Response, reply } from './sip.ts'
import { takeBack } from './take-back.ts'
import { mayReplace, type Replaces, readRefer, referAnswer, type Wish } from './transfer.ts'

// Transfer by REFER (RFC 3515, RFC 5589) carried out here: phones are never asked to call somebody else. Who stays is
// the far end of the referrer's dialog; who comes is rung for it, or is the far end of the dialog that Replaces names.

/** A call and what a Replaces header means in it. */
export interface Located {
  call: Call
  leg?: Leg
  branch?: Branch
}

/**
 * Takes somebody in who is transferred to an address that this server itself is, such as a meeting; `adopt` makes that
 * one's dialog one with ourselves. Throws Refusal.
 */
export type Receiver = (who: Party, adopt: (options: LocalOptions) => Promise<LocalDialog>) => Promise<void>

export interface TransferDeps {
  ringer: Ringer
  domain: string
  isOwn(host: string): boolean
  config: { sessionExpires: number; minSe: number }
  locate(replaces: Replaces): Promise<Located | undefined>
  adopt(leg: Leg, options: LocalOptions): Promise<LocalDialog>
  /** Who takes in those that are transferred to this user; undefined: it is a person. */
  receiver?(user: string): Promise<Receiver | undefined>
}

// What a call remembers of its transfers must not grow for ever.
const mostTransfers = 50

/** One REFER under way. */
interface Transfer {
  call: Call
  referrer: Leg
  stay: Leg
  /** Tells the referrer a status by NOTIFY; resolves when all that was told has been answered. */
  tell(status: number): Promise<void>
}

export function createRefer(deps: TransferDeps): (call: Call, leg: Leg, req: Incoming, res: Reply) => void {
  const { ringer, domain, isOwn, config, locate } = deps

  return (call, referrer, req, res) => {
    const stay = call.peerOf(referrer)
    if (call.state !== 'answered' || stay === undefined || stay.ended) return reply(res, 480)
    if (call.leaving || call.moving) return reply(res, 491)
    if (call.transfers >= mostTransfers) return reply(res, 403)
    let wish: Wish
    try {
      wish = readRefer(req, isOwn)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return reply(res, error.sipStatus)
    }
    call.leaving = referrer
    call.transfers++
    reply(res, 202, { headers: referAnswer(wish, req) })
    const transfer = { call, referrer, stay, tell: createTeller(referrer, req, wish.silent) }
    void transfer.tell(100)
    const { replaces } = wish
    const done = replaces ? attended(transfer, replaces) : blind(transfer, wish.user ?? '', req)
    done.catch((error: unknown) => gaveUp(transfer, error))
  }

  function gaveUp(transfer: Transfer, error: unknown): void {
    if (!(error instanceof Refusal)) transfer.call.log.error({ err: error }, 'transfer failed by a bug')
    failed(transfer, error instanceof Refusal ? error.sipStatus : 500)
  }

  async function blind(transfer: Transfer, user: string, req: Incoming): Promise<void> {
    const { call, referrer, stay, tell } = transfer
    const receive = await deps.receiver?.(user)
    if (receive) return letGo(transfer, receive)
    const { callee, targets } = await ringer.find(user, originOf(req))
    if (call.ended) return
    const direct = unheld(stay.remoteSdp) || undefined
    const body = (branch: Branch) =>
      call.anchor.inMidCall(stay.end, branch.end)
        ? call.anchor.offer(branch.end, { streams: likeLeg(call, stay, branch.end) })
        : direct
    const headers = {
      ...opening(config, false),
      ...identity(stay.party, domain),
      ...(direct ? { 'Content-Type': 'application/sdp' } : {}),
      ...(referrer.party.hidden ? {} : { 'Referred-By': nameAddr('', referrer.party.user, domain) }),
      To: `<sip:${callee.user}@${domain}>`,
    }
    ringer.ring(
      call,
      targets,
      { headers, body },
      {
        onProgress(_branch, response, ack) {
          if (response.has('RSeq')) ack()
          if (response.status > 100) void tell(response.status)
        },
        onAnswer(branch, response, ack) {
          const come = call.calleeLeg(branch, response, callee)
          come.localSdp = branch.body ?? ''
          call.coming = come
          answered(transfer, come, response, branch.body === undefined, ack).catch((error: unknown) => {
            void come.bye()
            gaveUp(transfer, error)
          })
        },
        onLate: (...late) => call.onLate(...late),
        onFailure: status => failed(transfer, status),
      },
    )
  }

  /** Who stays goes on with this server, and the call is over. */
  async function letGo({ call, referrer, stay, tell }: Transfer, receive: Receiver): Promise<void> {
    await receive(stay.party, async options => {
      const dialog = await deps.adopt(stay, options)
      stay.end.release()
      call.release(stay)
      call.leaving = referrer
      return dialog
    })
    await tell(200)
    call.end({ status: 200, reason: 'transferred' })
  }

  async function answered(transfer: Transfer, come: Leg, response: Response, late: boolean, ack: Ack): Promise<void> {
    const { call, stay } = transfer
    const back = takeBack(call, stay, transfer.referrer)
    if (come.end.leg !== undefined) return answeredHere(transfer, come, response, ack, back)
    if (!late) ack()
    const changed = await stay.offer(response.body || undefined, asserted(come.party, domain))
    if (late) ack(changed.response ? bodyOf(changed.response) : {})
    if (changed.status >= 300) {
      call.coming = undefined
      void come.bye()
      if (changed.status === 481 || changed.status === 408) return gone(call, stay)
      return failed(transfer, changed.status)
    }
    if (!late) await settleMedia(stay, come)
    if (come.ended) return hungUp(transfer, back)
    stay.end.release()
    complete(transfer, come)
  }

  /** The new call's media passes this server: who stays is asked only if its own does not yet, or is held. */
  async function answeredHere(
    transfer: Transfer,
    come: Leg,
    response: Response,
    ack: Ack,
    back: () => Promise<number>,
  ): Promise<void> {
    const { call, stay } = transfer
    ack()
    const status = await accepted(call, come, response)
    const entered = status < 300 ? await enter(call, stay, come.end, asserted(come.party, domain)) : status
    if (entered >= 300 || call.ended) {
      call.coming = undefined
      void come.bye()
      if (entered === 481 || entered === 408) return gone(call, stay)
      return failed(transfer, entered)
    }
    if (come.ended) return hungUp(transfer, back)
    await call.anchor.connect(stay.end, come.end)
    complete(transfer, come)
  }

  /** Who was to come has hung up when who stays had left the referrer for it already. */
  async function hungUp(transfer: Transfer, back: () => Promise<number>): Promise<void> {
    const { call, referrer, stay } = transfer
    if (call.ended) return
    const status = referrer.ended ? 200 : await back()
    if (status === 481 || status === 408) return gone(call, stay)
    failed(transfer, 487)
  }

  async function attended(transfer: Transfer, replaces: Replaces): Promise<void> {
    const { call, referrer, stay, tell } = transfer
    const found = await locate(replaces)
    const other = found?.call
    if (!found?.leg || !other || other === call) return failed(transfer, 481)
    const own = found.leg
    if (!mayReplace(referrer.party.user, own.party.user)) return failed(transfer, 403)
    if (!other.answered) {
      // The referrer lets go while the other still rings: it is connected first, so that both phones understand it.
      void tell(180)
      await other.settled
    }
    const come = other.peerOf(own)
    if (call.ended) return
    if (other.ended || come === undefined) return failed(transfer, 487)
    if (other.leaving || other.moving) return failed(transfer, 491)
    other.leaving = own
    const back = takeBack(call, stay, referrer)
    const status = await bridge(call, stay, come, own)
    if (status < 300 && !call.ended && !other.ended) {
      other.release(come)
      complete(transfer, come)
      return other.end({ status: 200, reason: 'transferred' })
    }
    other.leaving = undefined
    if (own.ended && !come.ended) other.end({ status: 480, reason: 'transfer failed' })
    if (call.ended) return
    if (stay.ended) return gone(call, stay)
    if (come.ended) return hungUp(transfer, back)
    failed(transfer, status < 300 ? 480 : status)
  }

  /** Connects two answered phones; when the second refuses, the first gets back what it had from `own`. */
  async function bridge(call: Call, stay: Leg, come: Leg, own: Leg): Promise<number> {
    if (call.anchor.inMidCall(stay.end, come.end)) return bridgeHere(call, stay, come)
    const before = come.localSdp
    const first = await come.offer(unheld(stay.remoteSdp), asserted(stay.party, domain))
    if (first.status >= 300) return first.status
    if (come.ended) return 487
    const second = await stay.offer(come.remoteSdp, asserted(come.party, domain))
    if (second.status < 300) {
      await settleMedia(stay, come)
      if (come.ended) return 487
      stay.end.release()
      come.end.release()
      return 200
    }
    if (second.status === 481 || second.status === 408) stay.drop()
    if (!come.ended && !own.ended) await come.offer(before, asserted(own.party, domain))
    return second.status
  }

  async function bridgeHere(call: Call, stay: Leg, come: Leg): Promise<number> {
    const first = await enter(call, come, stay.end, asserted(stay.party, domain))
    if (first >= 300) return first
    const second = await enter(call, stay, come.end, asserted(come.party, domain))
    if (second >= 300) {
      if (second === 481 || second === 408) stay.drop()
      return second
    }
    await call.anchor.connect(stay.end, come.end)
    return 200
  }

  function complete(transfer: Transfer, come: Leg): void {
    const { call, referrer, tell } = transfer
    if (call.ended) return void come.bye()
    call.replace(referrer, come)
    // Phones that hang up by themselves do so when they have heard of the success; the others wait for our BYE.
    void tell(200).then(() => referrer.bye())
  }

  /** The call goes on with the referrer, if it is still there. */
  function failed(transfer: Transfer, status: number): void {
    const { call, referrer, tell } = transfer
    if (call.leaving === referrer) call.leaving = undefined
    call.coming = undefined
    call.log.info({ status }, 'transfer failed')
    void tell(status)
    if (referrer.ended) call.end({ status, reason: `transfer failed (${status})` })
  }

  function gone(call: Call, leg: Leg): void {
    leg.drop()
    call.end({ status: 480, reason: `the connection of ${leg.party.user} was lost` })
  }
}

/** The status of taking an answer: the phone's 200, or why it is of no use. */
async function accepted(call: Call, come: Leg, response: Response): Promise<number> {
  try {
    await call.anchor.accept(come.end, response.body)
    return 200
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return error.sipStatus
  }
}

/** The answer of who stays may name another port than its last one; then who comes must hear of it (RFC 3725 section 4.4). */
async function settleMedia(stay: Leg, come: Leg): Promise<void> {
  if (!sameMedia(stay.remoteSdp, come.localSdp)) await come.offer(stay.remoteSdp)
}

/** The subscription that a REFER makes (RFC 3515 section 2.4.4): sipfrag bodies, one NOTIFY after the other. */
export function createTeller(leg: Leg, req: Incoming, silent: boolean): (status: number) => Promise<void> {
  const event = `refer;id=${Number.parseInt(req.get('CSeq') ?? '', 10)}`
  let told = 0
  let queue = Promise.resolve()
  return status => {
    if (silent || told >= 200 || told === status) return queue
    told = status
    const headers = {
      Event: event,
      'Subscription-State': status >= 200 ? 'terminated;reason=noresource' : 'active;expires=300',
      'Content-Type': 'message/sipfrag;version=2.0',
    }
    const body = `SIP/2.0 ${status} ${reasonPhrase(status)}\r\n`
    queue = queue.then(async () => {
      if (!leg.ended) await leg.send('NOTIFY', { headers, body })
    })
    return queue
  }
}
