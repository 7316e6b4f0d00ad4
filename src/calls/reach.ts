import type { DialogState } from '../sip/dialogs.ts'
import { reoffer } from './anchored.ts'
import type { Call } from './call.ts'
import { allow } from './headers.ts'
import type { Answer, Leg } from './leg.ts'
import { isHeld } from './outcome.ts'
import { isSecure, likeOffer, sameMedia, towards } from './sdp.ts'
import type { Seek } from './seek.ts'
import type { CallSnapshot, LegSnapshot } from './snapshot.ts'

// A call that came here from another node: each of its phones is told where the call lives now, as soon as there is a way
// to it. Media that goes directly is not touched by that; media that passed the other node comes to this one.

export interface ReachDeps {
  seek: Seek
  config: { sessionExpires: number }
  /** The sound of both phones of a call that was recorded passes this server now. */
  recordOn(call: Call): void
}

export interface Reach {
  /** Looks for both phones; resolves when those to whom there is a way were asked. A phone without one is waited for. */
  bring(call: Call, snapshot: CallSnapshot): Promise<void>
  /** Looks for one phone of a call that was here all the time, since the node that had its connection is gone. */
  seek(call: Call, leg: Leg, was: LegSnapshot): Promise<void>
  /** The life of another node over whose connection this phone was reached last, as a Route says it. */
  wayOf(leg: Leg): string | undefined
  /** Waits no longer for the phones of a call. */
  forget(call: Call): void
}

export function createReach({ seek, config, recordOn }: ReachDeps): Reach {
  const ways = new WeakMap<Leg, string | undefined>()
  const look = (call: Call, leg: Leg, was: LegSnapshot, reached?: () => void) =>
    seek.seek({
      leg,
      was,
      log: call.log,
      seconds: was.dialog.session?.interval ?? config.sessionExpires,
      ended: () => call.ended,
      async ask(state, way) {
        ways.set(leg, /;node=([^;]+)/.exec(way.proxy ?? '')?.[1])
        const status = was.anchored ? await bringMedia(call, leg) : await tell(call, leg, state)
        call.touch()
        if (status < 300) reached?.()
        return status
      },
      lost: reason => call.end({ status: 480, reason }),
    })

  return {
    async bring(call, snapshot) {
      const reached = new Set<Leg>()
      const legs = snapshot.legs.map((was, at) => {
        const leg = call.legs[at]
        if (leg === undefined) return undefined
        return look(call, leg, was, () => {
          if (snapshot.recording === true && reached.add(leg).size === snapshot.legs.length) recordOn(call)
        })
      })
      await Promise.all(legs)
    },
    seek: (call, leg, was) => look(call, leg, was),
    wayOf: leg => ways.get(leg),
    forget(call) {
      for (const leg of call.legs) seek.forget(leg)
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
  leg.unplaced = false
  // A browser is told where we are when it knows who we are.
  const status = leg.end.profile === 'webrtc' ? await reoffer(call, leg) : answer.status
  await anchor.connect(leg.end, peer.end)
  if (isHeld(peer.remoteSdp)) await anchor.hold(leg.end, true)
  return status
}
