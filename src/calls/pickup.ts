import { Refusal } from '../errors.ts'
import { End, endOf } from './anchor.ts'
import { enter } from './anchored.ts'
import type { Call } from './call.ts'
import { accepting, asserted, fromAnswer, type Party, reasonHeader, tagOf } from './headers.ts'
import { Leg } from './leg.ts'
import type { TransferDeps } from './refer.ts'
import { towards, waitingAnswer } from './sdp.ts'
import { type Incoming, type Reply, reply, type SrfPort } from './sip.ts'
import { mayReplace, readReplaces } from './transfer.ts'

export type PickUp = (req: Incoming, res: Reply, caller: Party) => Promise<void>

/**
 * An INVITE with Replaces (RFC 3891): another device of an account takes over a call that the account has, or answers
 * one that rings at its other devices. Throws Refusal: 400, 403, 481 for no such dialog, 486 for an answered one that
 * was wanted only while it rings.
 */
export function createPickUp(deps: TransferDeps & { srf: SrfPort }): PickUp {
  const { srf, domain, config, locate } = deps

  return async (req, res, caller) => {
    const replaces = readReplaces(req.get('Replaces') ?? '')
    if (replaces === undefined) throw new Refusal('bad-request', 'Replaces is malformed')
    const found = await locate(replaces)
    if (found === undefined) throw new Refusal('no-such-call')
    const { call, leg, branch } = found
    const owner = leg?.party.user ?? /^sip:([^@]*)@/.exec(branch?.target.aor ?? '')?.[1] ?? ''
    if (!mayReplace(caller.user, owner)) throw new Refusal('forbidden')
    if (branch) return answerRinging(call, req, res, caller)
    // RFC 3891 section 3: an early dialog that we have not begun ourselves cannot be replaced.
    if (!leg?.confirmed || call.state !== 'answered') throw new Refusal('no-such-call')
    if (replaces.earlyOnly) throw new Refusal('busy-here')
    await takeOver(call, leg, req, res, caller)
  }

  async function takeOver(call: Call, leg: Leg, req: Incoming, res: Reply, caller: Party): Promise<void> {
    const stay = call.peerOf(leg)
    if (stay === undefined || call.leaving || call.moving) throw new Refusal('request-pending')
    call.leaving = leg
    let cancelled = false
    req.on('cancel', () => {
      cancelled = true
    })
    const end = endOf(req)
    if (call.anchor.inMidCall(stay.end, end)) return takeOverHere(call, { leg, stay, end }, req, res, caller)
    const before = stay.localSdp
    const answer = await stay.offer(req.body || undefined)
    const back = async () => {
      if (!req.body && answer.status < 300) answer.ack({ body: before })
      else if (answer.status < 300 && !stay.ended) await stay.offer(before)
      if (call.leaving === leg) call.leaving = undefined
      if (leg.ended) call.end({ status: 480, reason: 'hung up while being picked up' })
    }
    if (answer.status >= 300 || answer.response === undefined || cancelled || call.ended) {
      reply(res, answer.status >= 300 ? answer.status : 480)
      return back()
    }
    const headers = { ...fromAnswer(answer.response), ...accepting(req, config), ...asserted(stay.party, domain) }
    reply(res, 200, { headers, body: answer.response.body }, (error, sent) => {
      if (error) return void back()
      stay.end.release()
      const come = arrive(call, req, res, caller, tagOf(sent?.get('To')), end)
      come.localSdp = answer.response?.body ?? ''
      if (!req.body) {
        come.onAck = ack => {
          come.learn(ack)
          stay.localSdp = ack.body ?? ''
          answer.ack(ack.body ? { body: ack.body } : {})
        }
      }
      if (call.ended) return void come.bye()
      call.replace(leg, come)
      void leg.bye()
    })
  }

  /** The same, where the media passes this server: who stays is asked only if its own does not yet. */
  async function takeOverHere(
    call: Call,
    { leg, stay, end }: { leg: Leg; stay: Leg; end: End },
    req: Incoming,
    res: Reply,
    caller: Party,
  ): Promise<void> {
    const { anchor } = call
    const back = () => {
      end.close()
      if (call.leaving === leg) call.leaving = undefined
      if (leg.ended) return call.end({ status: 480, reason: 'hung up while being picked up' })
      anchor.connect(stay.end, leg.end).catch((error: unknown) => call.fail(error))
    }
    try {
      const status = await enter(call, stay, leg.end, asserted(caller, domain))
      if (status >= 300 || call.ended) {
        reply(res, status >= 300 ? status : 480)
        return back()
      }
      const body = await meet(call, end, req, stay.end)
      const headers = { ...accepting(req, config), ...asserted(stay.party, domain), 'Content-Type': 'application/sdp' }
      reply(res, 200, { headers, body }, (error, sent) => {
        if (error) return back()
        const come = arrive(call, req, res, caller, tagOf(sent?.get('To')), end)
        come.localSdp = body
        if (!req.body) come.onAck = ack => void late(call, come, stay, ack)
        if (call.ended) return void come.bye()
        call.replace(leg, come)
        void leg.bye()
      })
      await anchor.connect(stay.end, end)
    } catch (error) {
      back()
      throw error
    }
  }

  /** What who comes is told: the answer to its offer, or an offer. */
  async function meet(call: Call, end: End, req: Incoming, partner: End): Promise<string> {
    if (req.body) return call.anchor.answer(end, req.body, partner)
    return call.anchor.offer(end, { streams: towards(call.anchor.streams(partner)) })
  }

  async function late(call: Call, come: Leg, stay: Leg, ack: Incoming): Promise<void> {
    try {
      come.learn(ack)
      await call.anchor.accept(come.end, ack.body)
      await call.anchor.connect(stay.end, come.end)
    } catch (error) {
      call.fail(error)
    }
  }

  /** The caller's offer waits for an answer, so who picks up is told to wait, and is then shown that offer. */
  async function answerRinging(call: Call, req: Incoming, res: Reply, caller: Party): Promise<void> {
    const end = endOf(req)
    if (call.anchor.inMidCall(call.callerEnd, end)) return answerRingingHere(call, req, res, caller, end)
    const body = req.body ? waitingAnswer(req.body) : call.offered
    const headers = accepting(req, config)
    reply(res, 200, { headers, body }, (error, sent) => {
      if (error) return
      const come = arrive(call, req, res, caller, tagOf(sent?.get('To')), end)
      come.localSdp = body ?? ''
      if (call.ended || call.answered) return void come.bye()
      call.coming = come
      for (const fork of call.forks) fork.cancel(reasonHeader(200, 'Call completed elsewhere'))
      come.onAck = () => void show(call, come)
    })
  }

  /** Both ends have made offers, and this server answers both. */
  async function answerRingingHere(call: Call, req: Incoming, res: Reply, caller: Party, end: End): Promise<void> {
    if (!req.body || !call.offered) throw new Refusal('not-acceptable-here', 'An offer is needed')
    const body = await call.anchor.answer(end, req.body, new End('plain', ''))
    const headers = { ...accepting(req, config), 'Content-Type': 'application/sdp' }
    reply(res, 200, { headers, body }, (error, sent) => {
      if (error) return end.close()
      const come = arrive(call, req, res, caller, tagOf(sent?.get('To')), end)
      come.localSdp = body
      if (call.ended || call.answered) return void come.bye()
      for (const fork of call.forks) fork.cancel(reasonHeader(200, 'Call completed elsewhere'))
      call.connect(come, req, () => undefined)
    })
  }

  async function show(call: Call, come: Leg): Promise<void> {
    const answer = await come.offer(call.offered)
    if (answer.status < 300 && answer.response && !call.ended) {
      return call.connect(come, answer.response, call.offered ? () => undefined : answer.ack)
    }
    call.end({ status: answer.status >= 300 ? answer.status : 480, reason: 'could not be picked up' })
  }

  function arrive(call: Call, req: Incoming, res: Reply, caller: Party, toTag: string, end: End): Leg {
    const leg = new Leg(srf, call, caller, res.stackDialogId ?? '', end)
    leg.learn(req)
    leg.toTag = toTag
    leg.confirmed = true
    return leg
  }
}
