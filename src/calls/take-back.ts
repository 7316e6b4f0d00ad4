import type { Stream } from '../media/media.ts'
import { type Anchored, enter, reoffer } from './anchored.ts'
import type { Leg } from './leg.ts'
import { sameMedia } from './sdp.ts'

// What a transfer takes from who stays, and gives back when who was to come has hung up meanwhile: who refers has been
// told of no success yet, and goes on talking with who stays (RFC 5589 section 6.1).

/** Notes what `stay` has with `referrer` now; the returned function gives it back, with the status of doing that. */
export function takeBack(call: Anchored, stay: Leg, referrer: Leg): () => Promise<number> {
  const { anchor } = call
  const { localSdp, remoteSdp } = stay
  const { waits } = stay.end
  const streams: Stream[] | undefined = stay.end.leg === undefined ? undefined : anchor.streams(stay.end)

  return async () => {
    if (streams !== undefined) {
      const status = await reoffer(call, stay, streams)
      if (status < 300) await anchor.hold(stay.end, waits)
      return status
    }
    if (anchor.inMidCall(stay.end, referrer.end)) return meet()
    stay.end.release()
    const { status } = await stay.offer(localSdp)
    if (status < 300 && !sameMedia(stay.remoteSdp, remoteSdp)) await referrer.offer(stay.remoteSdp)
    return status
  }

  /** Two browsers cannot take up their old descriptions again, and meet on this server. */
  async function meet(): Promise<number> {
    const first = await enter(call, stay, referrer.end, {})
    const status = first < 300 ? await enter(call, referrer, stay.end, {}) : first
    if (status < 300) await anchor.connect(stay.end, referrer.end)
    return status
  }
}
