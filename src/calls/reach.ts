import { Refusal } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Binding } from '../location/store.ts'
import type { DialogState, EngineDialogs } from '../sip/dialogs.ts'
import { reoffer } from './anchored.ts'
import type { Call } from './call.ts'
import { allow } from './headers.ts'
import type { Answer, Leg } from './leg.ts'
import { isHeld } from './outcome.ts'
import type { Whereabouts } from './route.ts'
import { isSecure, likeOffer, sameMedia, towards } from './sdp.ts'
import type { CallSnapshot, LegSnapshot } from './snapshot.ts'
import { findWay, type Way } from './ways.ts'

// A call that came here from another node: each of its phones is told where the call lives now, as soon as there is a way
// to it. Media that goes directly is not touched by that; media that passed the other node comes to this one.

export interface ReachDeps {
  dialogs: EngineDialogs
  bindings(aor: string): Promise<readonly Binding[]> | readonly Binding[]
  where: Whereabouts
  domain: string
  events: Events
  config: { sessionExpires: number }
}

export interface Reach {
  /** Looks for both phones; resolves when those to whom there is a way were asked. A phone without one is waited for. */
  bring(call: Call, snapshot: CallSnapshot): Promise<void>
  /** Looks for one phone of a call that was here all the time, since the node that had its connection is gone. */
  seek(call: Call, leg: Leg, was: LegSnapshot): Promise<void>
  /** Waits no longer for the phones of a call. */
  forget(call: Call): void
  close(): void
}

interface Sought {
  call: Call
  leg: Leg
  was: LegSnapshot
  trying: boolean
  /** The phone has registered meanwhile. */
  again: boolean
  timer: NodeJS.Timeout
}

// So many phones are asked at once; the others wait for their turn.
const width = 100

export function createReach(deps: ReachDeps): Reach {
  const { dialogs, domain, events, config } = deps
  const sought = new Map<string, Set<Sought>>()
  const queue: (() => void)[] = []
  let asking = 0

  const onRegistered = events.on('registered', ({ aor }) => {
    for (const one of sought.get(aor) ?? []) void seek(one)
  })

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (asking >= width) await new Promise<void>(resolve => queue.push(resolve))
    asking++
    try {
      return await work()
    } finally {
      asking--
      queue.shift()?.()
    }
  }

  function drop(one: Sought): void {
    clearTimeout(one.timer)
    const aor = aorOf(one.leg)
    const all = sought.get(aor)
    all?.delete(one)
    if (all?.size === 0) sought.delete(aor)
  }

  const aorOf = (leg: Leg) => `sip:${leg.party.user}@${domain}`

  function look(call: Call, leg: Leg, was: LegSnapshot): Sought {
    const seconds = was.dialog.session?.interval ?? config.sessionExpires
    const timer = setTimeout(() => {
      drop(one)
      call.end({ status: 480, reason: `${leg.party.user} did not come back` })
    }, seconds * 1000).unref()
    const one: Sought = { call, leg, was, trying: false, again: false, timer }
    const aor = aorOf(leg)
    sought.set(aor, (sought.get(aor) ?? new Set()).add(one))
    return one
  }

  async function seek(one: Sought): Promise<void> {
    const { call, leg, was } = one
    one.again = one.trying
    if (one.trying) return
    one.trying = true
    try {
      const way = findWay(was.dialog, was.device, await deps.bindings(aorOf(leg)), deps.where)
      if (call.ended || leg.ended) return drop(one)
      if (way === undefined || !(await inTurn(() => go(one, way)))) return
      drop(one)
    } catch (error) {
      if (!(error instanceof Refusal))
        call.log.error({ err: error }, 'a phone of a call that came here was not reached')
      else
        call.log.warn({ why: error.message, who: leg.party.user }, 'a phone of a call that came here was not reached')
    } finally {
      one.trying = false
      if (one.again && sought.get(aorOf(leg))?.has(one)) void seek(one)
    }
  }

  /** True when the phone was reached, or its leg is over. */
  async function go({ call, leg, was }: Sought, way: Way): Promise<boolean> {
    const state = await dialogs.read(leg.id)
    if (state === undefined || leg.ended || call.ended) return true
    if (state.target !== way.uri) await dialogs.forget(leg.id)
    await dialogs.install({ ...state, target: way.uri }, way.proxy)
    const status = was.anchored ? await bringMedia(call, leg) : await tell(call, leg, state)
    call.touch()
    if (leg.ended || call.ended) return true
    const gone = status === 481 || (status === 408 && way.sure)
    if (gone) {
      leg.drop()
      call.end({ status: 480, reason: `the connection of ${leg.party.user} was lost` })
      return true
    }
    const answered = status !== 408 && status !== 430 && status < 500
    call.log.info({ who: leg.party.user, status, sure: way.sure }, answered ? 'phone reached' : 'phone not reached yet')
    return answered
  }

  return {
    async bring(call, snapshot) {
      const all = snapshot.legs.flatMap((was, at) => {
        const leg = call.legs[at]
        return leg === undefined ? [] : [look(call, leg, was)]
      })
      await Promise.all(all.map(seek))
    },
    seek: (call, leg, was) => seek(look(call, leg, was)),
    forget(call) {
      for (const leg of call.legs) {
        for (const one of sought.get(aorOf(leg)) ?? []) if (one.call === call) drop(one)
      }
    },
    close() {
      onRegistered()
      for (const all of sought.values()) for (const { timer } of all) clearTimeout(timer)
      sought.clear()
    },
  }
}

/** Tells a phone our Contact. Its media stays what it is, and only a phone that changes it makes the other one hear of it. */
async function tell(call: Call, leg: Leg, state: DialogState): Promise<number> {
  const headers = { Allow: allow, Supported: 'timer, replaces' }
  if (state.peerTakesUpdate || leg.localSdp === '') return (await leg.send('UPDATE', { headers })).status
  const before = leg.remoteSdp
  const answer: Answer = await leg.offer(leg.localSdp, { 'Content-Type': 'application/sdp' })
  const peer = call.peerOf(leg)
  if (answer.status < 300 && before !== '' && peer !== undefined && !sameMedia(before, leg.remoteSdp)) {
    await peer.offer(leg.remoteSdp, { 'Content-Type': 'application/sdp' })
  }
  return answer.status
}

/** The media that passed the other node passes this one: new ports, a new offer, the directions as they were. */
async function bringMedia(call: Call, leg: Leg): Promise<number> {
  const { anchor } = call
  const peer = call.peerOf(leg)
  if (peer === undefined) return 481
  const { remoteSdp: after } = leg
  const streams = towards(likeOffer(after, peer.end.profile))
  const secure = leg.end.profile === 'plain' && isSecure(after)
  const offer = () => anchor.offer(leg.end, { streams, after, secure })
  const answer = await leg.offer(offer, { 'Content-Type': 'application/sdp' })
  if (answer.status >= 300) {
    leg.end.release()
    return answer.status
  }
  await anchor.accept(leg.end, answer.response?.body)
  // A browser is told where we are when it knows who we are.
  const status = leg.end.profile === 'webrtc' ? await reoffer(call, leg) : answer.status
  await anchor.connect(leg.end, peer.end)
  if (isHeld(peer.remoteSdp)) await anchor.hold(leg.end, true)
  return status
}
